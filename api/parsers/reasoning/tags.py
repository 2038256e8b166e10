"""Thoughts between two texts, then the answer. Newlines beside the texts belong to them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from api.parsers.answer import Answer
from api.parsers.reader import Markers, Reader, Take, Waiting
from api.parsers.script import Script, rest_is_content

_NEWLINES = re.compile(r"\n*")


def tagged(
    start: str, ends: Sequence[str], *, is_open: bool, is_content_too: bool = False
) -> Script:
    """A script: `start` thoughts `ends[0]` content.

    Arguments:
        ends: the first is the format's own; the others are content that ends the thoughts.
        is_open: the thoughts began in the prompt; `start` may be repeated.
        is_content_too: everything is content, the marks as well.
    """
    markers = Markers(ends)

    def script(reader: Reader, answer: Answer) -> Waiting[None]:
        if is_content_too:
            answer.content(start if is_open else "")
            return
        yield from reader.spaces()
        if not (yield from reader.one_of(start)) and not is_open:
            return
        reader.commit()
        thoughts = WithoutOuterNewlines(answer.reasoning)
        end = yield from reader.until(markers, thoughts.take)
        if end == ends[0]:
            yield from reader.run(_NEWLINES)
            reader.commit()
        answer.content(reader.rejected())
        yield from rest_is_content(reader, answer)

    return script


class WithoutOuterNewlines:
    """Passes text on, but not the newlines at its beginning and end."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._num_held = 0
        self._is_begun = False

    def take(self, text: str) -> None:
        """More of the text."""
        body = text.strip("\n")
        if not body:
            self._num_held += len(text)
            return
        num_leading = len(text) - len(text.lstrip("\n"))
        if self._is_begun:
            body = "\n" * (self._num_held + num_leading) + body
        self._is_begun = True
        self._num_held = len(text) - len(text.rstrip("\n"))
        self._take(body)
