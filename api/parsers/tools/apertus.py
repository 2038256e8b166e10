"""`<|tools_prefix|>[{"NAME": {…}}, …]<|tools_suffix|>`: a name is the key of its arguments.

Source: the chat template of Apertus.
"""

from __future__ import annotations

import json

from api.parsers.answer import Answer
from api.parsers.json_text import json_name, json_value
from api.parsers.reader import Reader, Waiting
from api.parsers.script import calls_after
from api.parsers.tool_spec import ToolSpec
from api.parsers.tools.format import ToolFormat
from api.parsers.tools.grammar import CallGrammar, GrammarWriter

PREFIX, SUFFIX = "<|tools_prefix|>", "<|tools_suffix|>"


def _calls(reader: Reader, answer: Answer, marker: str) -> Waiting[None]:
    yield from reader.spaces()
    yield from reader.expect("[")
    end = ","
    while end == ",":
        yield from reader.spaces()
        yield from _call(reader, answer)
        yield from reader.spaces()
        end = yield from reader.expect(",", "]")


def _call(reader: Reader, answer: Answer) -> Waiting[None]:
    yield from reader.expect("{")
    yield from reader.spaces()
    name = yield from json_name(reader)
    yield from reader.spaces()
    yield from reader.expect(":")
    yield from reader.spaces()
    answer.start_call(name)
    reader.commit()
    yield from json_value(reader, answer.arguments)
    yield from reader.spaces()
    yield from reader.expect("}")


def _written(writer: GrammarWriter, tool: ToolSpec) -> str:
    head = writer.literal(f"{{{json.dumps(tool.name)}: ")
    return f'{head} {writer.json_arguments(tool)} "}}"'


APERTUS = ToolFormat(
    name="apertus",
    models="Apertus",
    sample='<|tools_prefix|>[{"get_weather": {"city": "Paris"}}]<|tools_suffix|>',
    script=lambda tools: calls_after([PREFIX], [SUFFIX], _calls),
    call_grammar=CallGrammar(
        trigger=PREFIX, begin=f"{PREFIX}[", call=_written, between=", ", end=f"]{SUFFIX}"
    ),
    markers=(PREFIX, SUFFIX),
    model_types=frozenset({"apertus"}),
    template_marks=((PREFIX,),),
)
