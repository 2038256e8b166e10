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
from api.protocol.chat import ChatCompletionRequest
from api.services.chat.tool_schemas import asked_specs, enforceable
from api.services.guidance.answer_grammar import Enforced, combined
from api.services.guidance.structured import default_options, find_wanted, verified, verify_wanted
from api.services.guidance.thinking import thought_ends
from api.services.guidance.tool_plan import ToolPlan
from api.services.prompts.rendering import choose_template
from api.services.prompts.template_variables import may_think
from engine.errors import InvalidParameterError
from engine.request import Grammar


@dataclasses.dataclass(frozen=True, slots=True)
class ChatGrammar:
    """What a request's answers are held to.

    Attributes:
        grammar: None when any text will do.
        unenforced: the places in the request of what its tools' schemas have besides.
    """

    grammar: Grammar | None
    unenforced: tuple[str, ...] = ()


async def build_chat_grammar(
    context: ServerContext,
    request: ChatCompletionRequest,
    formats: ModelFormats,
    plan: ToolPlan,
    *,
    is_open: bool,
    prompt_text: str,
) -> ChatGrammar:
    """The grammar of a request, verified.

    Raises:
        InvalidParameterError: what is asked for cannot be enforced, or not together.
    """
    wanted, reasoning = find_wanted(request, default_options(context)), formats.reasoning
    enforced = Enforced(formats=formats, plan=plan, wanted=wanted, may_think=False)
    if wanted is None and not enforced.holds_calls:
        return ChatGrammar(None)
    if wanted is not None and plan.is_forced:
        message = f"Invalid '{wanted.param}': not allowed with a choice that forces a call."
        raise InvalidParameterError(message, param=wanted.param)
    if not is_open and _can_open(reasoning, prompt_text):
        is_allowed = await asyncio.to_thread(_may_think, context, request)
        enforced = dataclasses.replace(enforced, may_think=is_allowed)
    held = await _verified(context, request, enforced)
    if not is_open or held.grammar is None:
        return held
    ends = thought_ends(context, formats)
    grammar = msgspec.structs.replace(held.grammar, begins_after=ends)
    return dataclasses.replace(held, grammar=grammar)


def _may_think(context: ServerContext, request: ChatCompletionRequest) -> bool:
    return may_think(context, request, choose_template(context, request.chat_template))


def _can_open(reasoning: ReasoningFormat | None, prompt_text: str) -> bool:
    """Not where the prompt has ended the thoughts; formats with a script write them otherwise."""
    if reasoning is None or reasoning.script is not None:
        return False
    return not prompt_text.rstrip().endswith(reasoning.end.strip())


async def _verified(
    context: ServerContext, request: ChatCompletionRequest, enforced: Enforced
) -> ChatGrammar:
    """With every schema if it can be; else without what need not be enforced."""
    specs, wanted = asked_specs(enforced.plan), enforced.wanted
    if wanted is not None:  # alone: behind thoughts or beside calls its faults show too late
        await verify_wanted(context, wanted)
    try:
        return ChatGrammar(await verified(context, partial(combined, enforced, specs)))
    except InvalidParameterError:
        held = await enforceable(context, request, enforced)
        unenforced = tuple(place for tool in held for place in tool.unenforced)
        if not unenforced:
            raise
    specs = [tool.spec for tool in held]
    return ChatGrammar(await verified(context, partial(combined, enforced, specs)), unenforced)
