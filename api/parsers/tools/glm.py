"""`<tool_call>NAME<arg_key>KEY</arg_key><arg_value>value</arg_value></tool_call>`.

Source: the chat templates of GLM-4.5 (tags on lines of their own) and GLM-4.7 (all on one line).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from api.parsers.answer import Answer
from api.parsers.arguments import ArgumentKinds, ArgumentWriter
from api.parsers.reader import Markers, Mismatch, Reader, Waiting
from api.parsers.script import Script, calls_after
from api.parsers.tool_spec import CUSTOM_INPUT, ToolSpec
from api.parsers.tools.format import ToolFormat
from api.parsers.tools.grammar import CallGrammar, GrammarWriter
from api.parsers.tools.values import arguments_of, members_of, raw_value

OPENING, CLOSING = "<tool_call>", "</tool_call>"
_KEY, _KEY_END = "<arg_key>", "</arg_key>"
_VALUE, _VALUE_END = "<arg_value>", "</arg_value>"
_NAME = re.compile(r"[\w.\-]*")
_KEY_TEXT = re.compile(r"[^<]*")
_VALUE_ENDS = Markers([_VALUE_END, CLOSING])


def _script(tools: Sequence[ToolSpec]) -> Script:
    argument_kinds = ArgumentKinds(tools)

    def call(reader: Reader, answer: Answer, marker: str) -> Waiting[None]:
        yield from reader.spaces()
        name = yield from reader.run(_NAME)
        yield from reader.spaces()
        found = yield from reader.expect(_KEY, CLOSING)
        if not name:
            raise Mismatch
        answer.start_call(name)
        reader.commit()
        writer = ArgumentWriter(answer, argument_kinds.of(name), trims=False)
        while found == _KEY:
            yield from _argument(reader, writer)
            yield from reader.spaces()
            found = yield from reader.one_of(_KEY, CLOSING)
        if found or (yield from reader.peek()):
            writer.end()
        if not found:
            raise Mismatch

    return calls_after([OPENING], [CLOSING], call)


def _argument(reader: Reader, writer: ArgumentWriter) -> Waiting[None]:
    key = (yield from reader.run(_KEY_TEXT)).strip()
    is_key = bool(key) and bool((yield from reader.one_of(_KEY_END)))
    yield from reader.spaces()
    if not is_key or not (yield from reader.one_of(_VALUE)):
        if (yield from reader.peek()):
            writer.end()
        raise Mismatch
    reader.commit()
    writer.key(key)
    found = yield from reader.until(_VALUE_ENDS, writer.text)
    if not found:
        writer.abandon()
        raise Mismatch
    writer.end_value()
    reader.commit()
    if found == CLOSING:
        writer.end()
        raise Mismatch


def _grammar(newline: str) -> CallGrammar:
    def call(writer: GrammarWriter, tool: ToolSpec) -> str:
        named, required = arguments_of(writer, tool)
        head = writer.literal(tool.name + newline)
        if tool.input_lark is not None:
            opening = _opening(writer, CUSTOM_INPUT, newline)
            end = writer.literal(_VALUE_END + newline)
            return f"{head} {opening} {writer.lark(tool.input_lark)} {end}"
        members = {key: _member(writer, tool, key, one, newline) for key, one in named.items()}
        return f"{head} {members_of(writer, members, required, '')}"

    return CallGrammar(trigger=OPENING, open=OPENING, call=call, close=CLOSING, between="\n")


def _opening(writer: GrammarWriter, key: str, newline: str) -> str:
    return writer.literal(_KEY + key + _KEY_END + newline + _VALUE)


def _member(writer: GrammarWriter, tool: ToolSpec, key: str, schema: Any, newline: str) -> str:
    value = raw_value(writer, tool, schema, _VALUE_END + newline)
    return f"{_opening(writer, key, newline)} {value}"


_MARKERS = (OPENING, CLOSING, _KEY, _KEY_END, _VALUE, _VALUE_END)

GLM45 = ToolFormat(
    name="glm45",
    models="GLM-4.5, GLM-4.6",
    sample="<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n"
    "</tool_call>",
    script=_script,
    call_grammar=_grammar("\n"),
    markers=_MARKERS,
    partner="glm45",
    model_types=frozenset({"glm4_moe", "glm4v_moe"}),
    template_marks=(("<arg_key>", "</arg_key>\n<arg_value>"), ("<arg_key>", "</arg_key>\\n<arg")),
)

GLM47 = ToolFormat(
    name="glm47",
    models="GLM-4.7, GLM-5",
    sample="<tool_call>get_weather<arg_key>city</arg_key><arg_value>Paris</arg_value></tool_call>",
    script=_script,
    call_grammar=_grammar(""),
    markers=_MARKERS,
    partner="glm45",
    model_types=frozenset({"glm4_moe_lite", "glm_moe_dsa"}),
    template_marks=(("<arg_key>",),),
)
