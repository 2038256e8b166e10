"""gpt-oss' messages: a header with channel and recipient, then a body.

    <|channel|>analysis<|message|>…<|end|>                                    thoughts
    <|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{…}<|call|>
    <|start|>assistant<|channel|>final<|message|>…<|return|>                  the answer

The prompt ends with `<|start|>assistant`. Source: OpenAI's page on the harmony response format.
"""

from __future__ import annotations

import re

from api.parsers.answer import Answer
from api.parsers.reader import Markers, Reader, Take, Waiting
from api.parsers.script import Script

START, CHANNEL, MESSAGE, END = "<|start|>", "<|channel|>", "<|message|>", "<|end|>"
CALL, RETURN, CONSTRAIN = "<|call|>", "<|return|>", "<|constrain|>"
MARKERS = (START, CHANNEL, MESSAGE, END, CALL, RETURN, CONSTRAIN)
_BEGIN = Markers([START, CHANNEL])
_HEADER_END = Markers([MESSAGE, END, CALL, RETURN])
_BODY_END = Markers([END, CALL, RETURN, START])
_NAMED = r"(?:\s*to=functions\.(?P<{}>[\w.\-]+))?"
_HEADER = re.compile(
    rf"(?:<\|start\|>\s*(?:assistant)?{_NAMED.format('by_role')})?"
    rf"\s*(?:<\|channel\|>\s*(?P<channel>analysis|commentary|final)?{_NAMED.format('name')})?"
    r"\s*(?:<\|constrain\|>)?(?:json|code|text)?\s*"
)
_MAX_HEADER = 512


def harmony(*, has_calls: bool) -> Script:
    """A script: thoughts, content and, if `has_calls`, calls; else they are content."""

    def script(reader: Reader, answer: Answer) -> Waiting[None]:
        marker = ""
        while marker or (marker := (yield from reader.until(_BEGIN, answer.content))):
            reader.commit()
            marker = yield from _message(reader, answer, marker, has_calls)

    return script


def _message(reader: Reader, answer: Answer, marker: str, has_calls: bool) -> Waiting[str]:
    """Read a message; `<|start|>` if it ended with the next one's, else an empty text."""
    pieces = [marker]
    found = yield from reader.until(_HEADER_END, pieces.append)
    text = "".join(pieces)
    reader.commit()
    header = _HEADER.fullmatch(text) if len(text) <= _MAX_HEADER else None
    if found != MESSAGE or header is None:
        answer.content(text + found)
        return ""
    found = yield from reader.until(_BODY_END, _reader_of(header, answer, has_calls))
    reader.commit()
    return START if found == START else ""


def _reader_of(header: re.Match[str], answer: Answer, has_calls: bool) -> Take:
    name = header["name"] or header["by_role"]
    if name and has_calls:
        answer.start_call(name)
        return answer.arguments
    is_thought = header["channel"] == "analysis" and not name
    return answer.reasoning if is_thought else answer.content
