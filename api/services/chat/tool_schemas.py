"""The schemas that calls are held to: those of strict tools whole, others as far as can be."""

from __future__ import annotations

import dataclasses

from api.context import ServerContext
from api.parsers.loosening import attempts
from api.parsers.tool_spec import ToolSpec
from api.parsers.tools import ToolFormat
from api.protocol.chat import ChatCompletionRequest
from api.services.chat.reading import tool_specs
from api.services.guidance.answer_grammar import Enforced
from api.services.guidance.structured import verified
from api.services.guidance.tool_plan import ToolPlan, is_strict, tool_name
from engine.errors import InvalidParameterError
from engine.grammar.vocabulary import Vocabulary
from engine.request import Grammar


@dataclasses.dataclass(frozen=True, slots=True)
class Held:
    """A tool as calls of it are held to it.

    Attributes:
        unenforced: the places in the request of what its schema has besides.
    """

    spec: ToolSpec
    unenforced: tuple[str, ...] = ()


def asked_specs(plan: ToolPlan) -> list[ToolSpec]:
    """Tools that need not be called are held to a schema only where they are strict."""
    tools = plan.callable_tools
    return [
        spec if plan.is_forced or is_strict(tool) else dataclasses.replace(spec, parameters=None)
        for tool, spec in zip(tools, tool_specs(tools), strict=True)
    ]


async def enforceable(
    context: ServerContext, request: ChatCompletionRequest, enforced: Enforced
) -> list[Held]:
    """The tools of `asked_specs` without what cannot be enforced and need not be.

    Raises:
        InvalidParameterError: it must be, or nothing of it can; `param` is its place.
    """
    form, specs = enforced.formats.tools, asked_specs(enforced.plan)
    if form is None or not enforced.holds_calls:
        return list(map(Held, specs))
    held: list[Held] = []
    for tool, spec in zip(enforced.plan.callable_tools, specs, strict=True):
        place = _place(request, spec.name)
        try:
            await _verify_alone(context, form, spec, place)
            held.append(Held(spec))
        except InvalidParameterError as error:
            error = InvalidParameterError(error.message, param=place, code="invalid_grammar")
            if is_strict(tool):
                raise error from None
            held.append(await _loosened(context, form, spec, place, error))
    return held


async def _loosened(
    context: ServerContext,
    form: ToolFormat,
    spec: ToolSpec,
    place: str,
    refusal: InvalidParameterError,
) -> Held:
    """Never without a schema: an output that looks valid and is not is worse than a refusal."""
    for parameters, places in attempts(spec.parameters or {}):
        less = dataclasses.replace(spec, parameters=parameters)
        try:
            await _verify_alone(context, form, less, place)
        except InvalidParameterError:
            continue
        return Held(less, tuple(place + within for within in places))
    raise refusal


async def _verify_alone(
    context: ServerContext, form: ToolFormat, spec: ToolSpec, place: str
) -> None:
    def alone(vocabulary: Vocabulary) -> Grammar:
        source = form.grammar([spec], special_tokens=vocabulary.special_ids)
        return Grammar(source=source, param=place)

    await verified(context, alone)


def _place(request: ChatCompletionRequest, name: str) -> str:
    """Where the request says what a tool takes."""
    for index, tool in enumerate(request.tools or ()):
        if tool_name(tool) == name:
            member = "parameters" if tool.type == "function" else "format"
            return f"tools[{index}].{tool.type}.{member}"
    names = [function.name for function in request.functions or ()]
    return f"functions[{names.index(name)}].parameters"
