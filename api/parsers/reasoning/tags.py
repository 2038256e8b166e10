"""Thoughts between two texts, then the answer. Newlines beside the texts belong to them."""

from __future__ import annotations

import dataclasses
import re

from api.parsers.answer import Answer
from api.parsers.reader import Markers, Reader, Take, Waiting
from api.parsers.script import Script, rest_is_content

_NEWLINES = re.compile(r"\n*")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tags:
    """The texts of one format.

    Attributes:
        starts, ends: around the thoughts; any of them.
        ends_before: texts that end the thoughts as well, and belong to what follows.
        around_answer: texts around the content after the thoughts, if the format has them.
    """

    starts: tuple[str, ...]
    ends: tuple[str, ...]
    ends_before: tuple[str, ...] = ()
    around_answer: tuple[str, str] | None = None


def tagged(tags: Tags, *, is_open: bool) -> Script:
    """A script: start, thoughts, end, content.

    Arguments:
        is_open: the thoughts began in the prompt; the start may be repeated.
    """
    markers = Markers([*tags.ends, *tags.ends_before])

    def script(reader: Reader, answer: Answer) -> Waiting[None]:
        yield from reader.spaces()
        if (yield from reader.one_of(*tags.starts)) or is_open:
            reader.commit()
            thoughts = WithoutOuterNewlines(answer.reasoning)
            end = yield from reader.until(markers, thoughts.take)
            if end in tags.ends:
                yield from reader.run(_NEWLINES)
                reader.commit()
        yield from _answer(reader, answer, tags)

    return script


def _answer(reader: Reader, answer: Answer, tags: Tags) -> Waiting[None]:
    if tags.around_answer is not None:
        begin, end = tags.around_answer
        if (yield from reader.one_of(begin)):
            reader.commit()
            content = WithoutOuterNewlines(answer.content)
            yield from reader.until(Markers([end]), content.take)
            reader.commit()
    answer.content(reader.rejected())
    yield from rest_is_content(reader, answer)


def all_content(start: str, *, is_open: bool) -> Script:
    """A script: the thoughts with their marks are content, also a start in the prompt."""

    def script(reader: Reader, answer: Answer) -> Waiting[None]:
        answer.content(start if is_open else "")
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
