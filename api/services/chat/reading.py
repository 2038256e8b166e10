"""How a request's answer is read: formats of the model, tools of the request, its prompt."""

from __future__ import annotations

import dataclasses
import secrets
import string
from collections.abc import Sequence
from functools import partial

from api.context import ServerContext
from api.model.formats import ModelFormats
from api.parsers.pipeline import Pipeline
from api.parsers.tool_spec import ToolSpec
from api.protocol.chat import ChatCompletionRequest
from api.protocol.tools import FunctionTool, GrammarFormat, Tool
from api.services.generation.output import OutputSettings
from api.services.generation.reading import Reading
from api.services.generation.thoughts import ThoughtMarks
from api.services.guidance.tool_plan import ToolPlan
from api.services.requests import stream_interval
from engine.errors import InvalidParameterError
from engine.text.tokenizer import Tokenizer


def formats_of(context: ServerContext, plan: ToolPlan) -> ModelFormats:
    """The formats that matter to a request.

    Raises:
        InvalidParameterError: its calls cannot be made on this server.
    """
    formats = context.formats
    if plan.mode == "none":
        return ModelFormats(reasoning=formats.reasoning)
    if formats.tools is None:
        raise _unsupported(
            plan, "this model's format of tool calls is not known; see --tool-call-parser"
        )
    if plan.mode == "auto" and not context.settings.enable_auto_tool_choice:
        raise _unsupported(plan, "'auto' is turned off here (--no-enable-auto-tool-choice)")
    return formats


def make_reading(
    formats: ModelFormats, request: ChatCompletionRequest, plan: ToolPlan, *, is_open: bool
) -> Reading:
    """How each choice is read. Arguments: is_open: it begins within the model's thoughts."""
    if formats.reasoning is None and formats.tools is None:
        return Reading()
    make_parser = partial(
        Pipeline,
        formats.reasoning,
        formats.tools,
        tool_specs(plan.tools),
        is_open=is_open,
        max_calls=None if plan.is_parallel and plan.mode != "named" else 1,
    )
    name = formats.tools.name if formats.tools is not None else ""
    return Reading(
        make_parser=make_parser,
        shows_reasoning=request.include_reasoning is not False,
        custom_names=frozenset(t.custom.name for t in plan.tools if t.type == "custom"),
        make_call_id=_CALL_IDS.get(name, _call_id),
    )


def output_settings(
    context: ServerContext,
    formats: ModelFormats,
    request: ChatCompletionRequest,
    *,
    is_open: bool,
) -> OutputSettings:
    """How tokens become the text that is read: marks that are special tokens stay in it."""
    reasoning, tokenizer = formats.reasoning, context.tokenizer
    thoughts = None if reasoning is None else ThoughtMarks.of(reasoning, is_open)
    return dataclasses.replace(
        OutputSettings.of(request, stream_interval(context, request)),
        shown_special_ids=frozenset(special_marks(formats, tokenizer).values()),
        thoughts=thoughts,
    )


def opens_thoughts(formats: ModelFormats, request: ChatCompletionRequest, prompt_text: str) -> bool:
    """Whether the answer begins within the model's thoughts."""
    reasoning = formats.reasoning
    if reasoning is None:
        return False
    start = _answer_start(request, prompt_text)
    return reasoning.is_open_at_start(start, is_continued=request.continue_final_message)


def special_marks(formats: ModelFormats, tokenizer: Tokenizer) -> dict[str, int]:
    """The texts that parsers look for and the tokenizer has as special tokens, with their ids."""
    texts = [mark for row in (formats.reasoning, formats.tools) if row for mark in row.markers]
    ids = {text: tokenizer.token_id(text) for text in texts}
    return {text: index for text, index in ids.items() if index in tokenizer.special_ids}


def _answer_start(request: ChatCompletionRequest, prompt_text: str) -> str:
    """What the answer goes on with: the prompt, or the message it continues."""
    if not request.continue_final_message:
        return prompt_text
    content = request.messages[-1].content
    if isinstance(content, list):
        return "".join(part.plain_text for part in content)
    return content or ""


def tool_specs(tools: Sequence[Tool]) -> list[ToolSpec]:
    """The tools as parsers and grammars need them."""
    return [_spec(tool) for tool in tools]


def _spec(tool: Tool) -> ToolSpec:
    if isinstance(tool, FunctionTool):
        return ToolSpec(name=tool.function.name, parameters=tool.function.parameters)
    custom = tool.custom
    grammar = custom.format.grammar if isinstance(custom.format, GrammarFormat) else None
    text = None if grammar is None else grammar.definition
    is_regex = grammar is not None and grammar.syntax == "regex"
    return ToolSpec(
        name=custom.name,
        is_custom=True,
        input_lark=None if is_regex else text,
        input_regex=text if is_regex else None,
    )


def _unsupported(plan: ToolPlan, reason: str) -> InvalidParameterError:
    message = f"Unsupported parameter: '{plan.source}': {reason}."
    return InvalidParameterError(message, param=plan.source, code="unsupported_parameter")


def _call_id() -> str:
    return f"call_{secrets.token_hex(12)}"


def _mistral_id() -> str:
    """Mistral's templates take ids of nine letters and digits alone."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(9))


_CALL_IDS = {"mistral": _mistral_id}
