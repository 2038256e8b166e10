"""Calls in tags: `<function=NAME><parameter=KEY>value</parameter></function>` and its relatives.

Sources: the chat templates of Qwen3-Coder, Seed-OSS, MiniMax-M2 and Step-3, and DeepSeek-V3.2's
`encoding` folder.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from api.parsers.answer import Answer
from api.parsers.arguments import ArgumentKinds, ArgumentWriter
from api.parsers.reader import Markers, Mismatch, Reader, Waiting
from api.parsers.schema import ALL_KINDS
from api.parsers.script import Script, calls_after
from api.parsers.tool_spec import ToolSpec

_NAME = re.compile(r'[^<>"\n]*')
_STRING = frozenset({"string"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tags:
    """The texts of one such format.

    Attributes:
        section: around all calls or around each.
        before_call: what may stand before a call's tag, besides white space.
        call, key: what a call's or argument's tag begins with, up to its name.
        name_end: what comes after either name.
        call_end, value_end: closing tags.
        newline: between tags, as the model's template has it.
        trims: values stand on lines of their own.
        is_string: what may come after an argument's name: whether its value is text or JSON.
    """

    section: tuple[str, str]
    call: str
    key: str
    name_end: str
    call_end: str
    value_end: str
    before_call: tuple[str, ...] = ()
    after_call: tuple[str, ...] = ()
    newline: str = "\n"
    trims: bool = True
    is_string: tuple[tuple[str, bool], ...] = ()


def tagged_calls(tags: Tags, tools: Sequence[ToolSpec]) -> Script:
    """The script of such a format. A call's tag alone begins a call as well."""
    argument_kinds = ArgumentKinds(tools)
    section, section_end = tags.section

    def call(reader: Reader, answer: Answer, marker: str) -> Waiting[None]:
        if marker != tags.call:
            yield from reader.spaces()
            while tags.before_call and (yield from reader.one_of(*tags.before_call)):
                yield from reader.spaces()
            yield from reader.expect(tags.call)
        name = (yield from reader.run(_NAME)).strip()
        if not name:
            raise Mismatch
        yield from reader.expect(tags.name_end)
        answer.start_call(name)
        reader.commit()
        writer = ArgumentWriter(answer, argument_kinds.of(name), trims=tags.trims)
        yield from _arguments(reader, writer, tags)

    openings = [section, tags.call, *tags.before_call[:1]]
    return calls_after(openings, [section_end, *tags.after_call], call)


def _arguments(reader: Reader, writer: ArgumentWriter, tags: Tags) -> Waiting[None]:
    value_ends = Markers([tags.value_end, tags.call_end])
    is_going_on = True
    while is_going_on:
        yield from reader.spaces()
        found = yield from reader.one_of(tags.key, tags.call_end, tags.section[1])
        if found == tags.key:
            is_going_on = yield from _value(reader, writer, tags, value_ends)
        elif found or (yield from reader.peek()):
            is_going_on = False
            writer.end()
            if not found:
                raise Mismatch
        else:
            return
        reader.commit()


def _value(
    reader: Reader, writer: ArgumentWriter, tags: Tags, value_ends: Markers
) -> Waiting[bool]:
    """Read an argument; whether the call goes on. A value may end with its call."""
    key = (yield from reader.run(_NAME)).strip()
    if not key:
        writer.end()
        raise Mismatch
    expected = None
    for text, is_string in tags.is_string:
        if (yield from reader.one_of(text)):
            expected = _STRING if is_string else ALL_KINDS - _STRING
            break
    else:
        yield from reader.expect(tags.name_end)
    reader.commit()
    writer.key(key, expected)
    found = yield from reader.until(value_ends, writer.text)
    if not found:
        writer.abandon()
        raise Mismatch
    writer.end_value()
    if found == tags.call_end:
        writer.end()
    return found == tags.value_end
