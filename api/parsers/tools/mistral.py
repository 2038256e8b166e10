"""`[TOOL_CALLS]` with a JSON list (up to tokenizer v7), or with each call as name and arguments.

Source: mistral-common's instruct tokenizers; v11 adds `[CALL_ID]`, v13 drops it, both `[ARGS]`.
"""

from __future__ import annotations

import dataclasses
import re

from api.parsers.answer import Answer
from api.parsers.json_text import json_value
from api.parsers.reader import Mismatch, Reader, Waiting
from api.parsers.script import calls_after
from api.parsers.tool_spec import ToolSpec
from api.parsers.tools.format import ToolFormat
from api.parsers.tools.grammar import CallGrammar, GrammarWriter
from api.parsers.tools.hermes import json_object
from api.parsers.tools.json_list import json_list

TOOL_CALLS, ARGS, CALL_ID = "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"
_NAME = re.compile(r"[\w.\-]*")


def _call(reader: Reader, answer: Answer, marker: str) -> Waiting[None]:
    yield from reader.spaces()
    if (yield from reader.peek()) == "[":
        yield from json_list(reader, answer)
        return
    name = yield from reader.run(_NAME)
    call_id = None
    if (yield from reader.one_of(CALL_ID)):
        call_id = yield from reader.run(_NAME)
    yield from reader.one_of(ARGS)
    yield from reader.spaces()
    if not name or (yield from reader.peek()) != "{":
        raise Mismatch
    answer.start_call(name, call_id)
    reader.commit()
    yield from json_value(reader, answer.arguments)


def _written(writer: GrammarWriter, tool: ToolSpec) -> str:
    call_id = f"({writer.literal(CALL_ID)} /[A-Za-z0-9]{{9}}/)?"
    args = writer.literal(ARGS)
    return f"{writer.literal(tool.name)} {call_id} {args} {writer.json_arguments(tool)}"


_LISTED = CallGrammar(
    trigger=TOOL_CALLS, begin=f"{TOOL_CALLS} [", call=json_object(), between=", ", end="]"
)
_NAMED = CallGrammar(trigger=TOOL_CALLS, open=TOOL_CALLS, call=_written)

MISTRAL = ToolFormat(
    name="mistral",
    models="Mistral and Mixtral with tools, Ministral, Magistral, Devstral",
    sample='[TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}',
    script=lambda tools: calls_after([TOOL_CALLS], [], _call),
    call_grammar=dataclasses.replace(_LISTED, newer=(ARGS, _NAMED)),
    markers=(TOOL_CALLS, ARGS, CALL_ID),
    partner="mistral",
    model_types=frozenset({"mistral", "mixtral", "mistral3", "ministral3", "pixtral"}),
    template_marks=((TOOL_CALLS,),),
)
