"""The verified grammar of a chat request.

Thoughts that the prompt has opened end before the grammar begins (`Grammar.begins_after`); those
that the model may open are part of it.
"""

from __future__ import annotations

import asyncio
import dataclasses
from functools import partial

import msgspec

from api.context import ServerContext
from api.model.formats import ModelFormats
from api.parsers.reasoning import ReasoningFormat
from api.parsers.tool_spec import ToolSpec
from api.parsers.tools import ToolFormat
from api.protocol.chat import ChatCompletionRequest
from api.services.chat.reading import tool_specs
from api.services.guidance.answer_grammar import Enforced, combined
from api.services.guidance.structured import default_options, find_wanted, verified, verify_wanted
from api.services.guidance.thinking import thought_ends
from api.services.guidance.tool_plan import ToolPlan, is_strict, tool_name
from api.services.prompts.rendering import choose_template
from api.services.prompts.template_variables import may_think
from engine.errors import InvalidParameterError
from engine.grammar.vocabulary import Vocabulary
from engine.request import Grammar


async def build_chat_grammar(
    context: ServerContext,
    request: ChatCompletionRequest,
    formats: ModelFormats,
    plan: ToolPlan,
    *,
    is_open: bool,
    prompt_text: str,
) -> Grammar | None:
    """The grammar of a request, verified; None when any text will do.

    Raises:
        InvalidParameterError: what is asked for cannot be enforced, or not together.
    """
    wanted, reasoning = find_wanted(request, default_options(context)), formats.reasoning
    enforced = Enforced(formats=formats, plan=plan, wanted=wanted, may_think=False)
    if wanted is None and not enforced.holds_calls:
        return None
    if wanted is not None and plan.is_forced:
        message = f"Invalid '{wanted.param}': not allowed with a choice that forces a call."
        raise InvalidParameterError(message, param=wanted.param)
    if not is_open and _can_open(reasoning, prompt_text):
        is_allowed = await asyncio.to_thread(_may_think, context, request)
        enforced = dataclasses.replace(enforced, may_think=is_allowed)
    grammar = await _verified(context, request, enforced)
    if not is_open:
        return grammar
    return msgspec.structs.replace(grammar, begins_after=thought_ends(context, formats))


def _may_think(context: ServerContext, request: ChatCompletionRequest) -> bool:
    return may_think(context, request, choose_template(context, request.chat_template))


def _can_open(reasoning: ReasoningFormat | None, prompt_text: str) -> bool:
    """Not where the prompt has ended the thoughts; formats with a script write them otherwise."""
    if reasoning is None or reasoning.script is not None:
        return False
    return not prompt_text.rstrip().endswith(reasoning.end.strip())


async def _verified(
    context: ServerContext, request: ChatCompletionRequest, enforced: Enforced
) -> Grammar:
    """With every schema if it can be; else without those that need not be enforced."""
    specs, wanted = _specs(enforced.plan), enforced.wanted
    if wanted is not None:  # alone: behind thoughts or beside calls its faults show too late
        await verify_wanted(context, wanted)
    try:
        return await verified(context, partial(combined, enforced, specs))
    except InvalidParameterError:
        loosened = await _loosened(context, request, enforced, specs)
        if loosened == specs:
            raise
    return await verified(context, partial(combined, enforced, loosened))


def _specs(plan: ToolPlan) -> list[ToolSpec]:
    """Tools that need not be called are held to a schema only where they are strict."""
    tools = plan.callable_tools
    return [
        spec if plan.is_forced or is_strict(tool) else dataclasses.replace(spec, parameters=None)
        for tool, spec in zip(tools, tool_specs(tools), strict=True)
    ]


async def _loosened(
    context: ServerContext,
    request: ChatCompletionRequest,
    enforced: Enforced,
    specs: list[ToolSpec],
) -> list[ToolSpec]:
    """`specs` without the schemas that cannot be enforced and need not be.

    Raises:
        InvalidParameterError: one must be; `param` is its place.
    """
    form = enforced.formats.tools
    if form is None or not enforced.holds_calls:
        return specs
    kept: list[ToolSpec] = []
    for tool, spec in zip(enforced.plan.callable_tools, specs, strict=True):
        place = _place(request, spec.name)
        try:
            await verified(context, partial(_alone, form, spec, place))
        except InvalidParameterError as error:
            if is_strict(tool):
                raise InvalidParameterError(
                    error.message, param=place, code="invalid_grammar"
                ) from None
            kept.append(dataclasses.replace(spec, parameters=None))
        else:
            kept.append(spec)
    return kept


def _alone(form: ToolFormat, spec: ToolSpec, place: str, vocabulary: Vocabulary) -> Grammar:
    source = form.grammar([spec], special_tokens=vocabulary.special_ids)
    return Grammar(source=source, param=place)


def _place(request: ChatCompletionRequest, name: str) -> str:
    """Where the request says what a tool takes."""
    for index, tool in enumerate(request.tools or ()):
        if tool_name(tool) == name:
            member = "parameters" if tool.type == "function" else "format"
            return f"tools[{index}].{tool.type}.{member}"
    names = [function.name for function in request.functions or ()]
    return f"functions[{names.index(name)}].parameters"
