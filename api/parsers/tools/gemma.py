"""`call:NAME{key:value,…}` between two tokens; strings stand between two tokens of their own.

Sources: Google's pages on FunctionGemma's and Gemma 4's prompt formats.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from api.parsers.answer import Answer
from api.parsers.literals import Dialect, delimited_string, literal_value
from api.parsers.reader import Mismatch, Reader, Waiting
from api.parsers.schema import Schema
from api.parsers.script import Script, calls_after
from api.parsers.tool_spec import ToolSpec
from api.parsers.tools.format import ToolFormat
from api.parsers.tools.grammar import CallGrammar, GrammarWriter
from api.parsers.tools.values import (
    LiteralGrammar,
    LiteralStyle,
    arguments_of,
    members_of,
    raw_string,
)

_NAME = re.compile(r"[\w.\-]*")
_KEY = re.compile(r"[^:{}\[\],<]*")


def _script(opening: str, closing: str, quote: str) -> Script:
    dialect = Dialect(quotes=(quote,), string=delimited_string, bare_key=_KEY)

    def call(reader: Reader, answer: Answer, marker: str) -> Waiting[None]:
        yield from reader.spaces()
        yield from reader.expect("call:")
        name = yield from reader.run(_NAME)
        if not name or (yield from reader.peek()) != "{":
            raise Mismatch
        answer.start_call(name)
        reader.commit()
        yield from literal_value(reader, answer.arguments, dialect)

    return calls_after([opening], [closing], call)


def _grammar(opening: str, closing: str, quote: str) -> CallGrammar:
    def string(writer: GrammarWriter, schema: Schema) -> str:
        return f"{writer.literal(quote)} {raw_string(writer, schema, quote)}"

    style = LiteralStyle(
        string, {True: "true", False: "false", None: "null"}, lambda key: f"{key}:", ","
    )

    def call(writer: GrammarWriter, tool: ToolSpec) -> str:
        named, required = arguments_of(writer, tool)
        values = LiteralGrammar(style, writer, tool)
        for key in named:
            if not _KEY.fullmatch(key):
                raise writer.refuse(tool, f"'{key}' has a character that keys cannot have")
        if tool.input_lark is not None:
            delimiter = writer.literal(quote)
            value = f'"input:" {delimiter} {writer.lark(tool.input_lark)} {delimiter}'
            return f'{writer.literal(tool.name + "{")} {value} "}}"'
        members = {
            key: f"{writer.literal(key + ':')} {values.value(one)}" for key, one in named.items()
        }
        return (
            f'{writer.literal(tool.name + "{")} {members_of(writer, members, required, ",")} "}}"'
        )

    return CallGrammar(trigger=opening, open=opening + "call:", call=call, close=closing)


def _row(
    name: str, models: str, texts: Sequence[str], model_types: frozenset[str] = frozenset()
) -> ToolFormat:
    opening, closing, quote = texts
    script = _script(opening, closing, quote)
    return ToolFormat(
        name=name,
        models=models,
        sample=f"{opening}call:get_weather{{city:{quote}Paris{quote}}}{closing}",
        script=lambda tools: script,
        call_grammar=_grammar(opening, closing, quote),
        markers=tuple(texts),
        partner="gemma4" if name == "gemma4" else None,
        model_types=model_types,
        template_marks=((opening,),),
    )


GEMMA4 = _row(
    "gemma4",
    "Gemma 4",
    ("<|tool_call>", "<tool_call|>", '<|"|>'),
    frozenset({"gemma4", "gemma4_text"}),
)
FUNCTIONGEMMA = _row(
    "functiongemma",
    "FunctionGemma",
    ("<start_function_call>", "<end_function_call>", "<escape>"),
)
