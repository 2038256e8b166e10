"""What a chat template is told besides the messages: the operator's variables, the request's."""

from __future__ import annotations

import functools
from typing import Any

from api.context import ServerContext
from api.protocol.base import THINKING_SWITCHES
from api.protocol.chat import ChatCompletionRequest
from api.protocol.tokenize import TokenizeRequest
from engine.errors import InvalidParameterError
from engine.text.chat_template import RESERVED_NAMES, ChatTemplate, TemplateError

_QUESTION: list[dict[str, Any]] = [{"role": "user", "content": "?"}]


def template_variables(
    context: ServerContext,
    request: ChatCompletionRequest | TokenizeRequest,
    template: ChatTemplate,
) -> dict[str, Any]:
    """Variables for the template: the operator's, overruled by the request's.

    Raises:
        InvalidParameterError: a name is not the client's to set, or the template does not know
            what a field asks for.
    """
    given = request.chat_template_kwargs or {}
    reserved = sorted(RESERVED_NAMES & set(given))
    if reserved:
        path = f"chat_template_kwargs.{reserved[0]}"
        message = f"Invalid '{path}': this name belongs to the server."
        raise InvalidParameterError(message, param=path)
    variables = dict(context.settings.default_chat_template_kwargs)
    if isinstance(request, ChatCompletionRequest):
        variables |= _of_fields(context, request, template)
    return variables | given


def verify_template_knows(template: ChatTemplate, name: str) -> None:
    """Raise InvalidParameterError for a field that the template would not see."""
    if name not in template.variables:
        raise InvalidParameterError(
            f"Unsupported parameter: '{name}' is not supported with this model.",
            param=name,
            code="unsupported_parameter",
        )


def may_think(
    context: ServerContext, request: ChatCompletionRequest, template: ChatTemplate
) -> bool:
    """Whether the model was told to think, or nobody said that it is not to.

    A template whose switch is off by default says so where nothing else does.
    """
    given = context.settings.default_chat_template_kwargs | (request.chat_template_kwargs or {})
    switches = [given[name] for name in THINKING_SWITCHES if given.get(name) is not None]
    if False in switches or request.reasoning_effort == "none":
        return False
    return bool(switches) or request.reasoning_effort is not None or thinks_by_default(template)


@functools.lru_cache(maxsize=8)
def thinks_by_default(template: ChatTemplate) -> bool:
    """False where the template makes the prompt that it makes with its switch off, and another
    with it on."""
    switches = [name for name in THINKING_SWITCHES if name in template.variables]
    try:
        untold, on, off = (
            template.render(_QUESTION, variables=dict.fromkeys(switches, is_on) if told else {})
            for told, is_on in ((False, False), (True, True), (True, False))
        )
    except TemplateError:
        return True
    return untold != off or untold == on


def _of_fields(
    context: ServerContext, request: ChatCompletionRequest, template: ChatTemplate
) -> dict[str, Any]:
    variables: dict[str, Any] = {}
    if request.reasoning_effort is not None:
        mapped = context.settings.reasoning_effort_map.get(request.reasoning_effort)
        variables |= mapped if isinstance(mapped, dict) else _effort(request, mapped, template)
    if request.verbosity is not None and request.verbosity != "medium":
        verify_template_knows(template, "verbosity")
    if request.verbosity is not None:
        variables["verbosity"] = request.verbosity
    if request.documents:
        verify_template_knows(template, "documents")
    return variables


def _effort(
    request: ChatCompletionRequest, mapped: str | None, template: ChatTemplate
) -> dict[str, Any]:
    """Templates that know no efforts but a switch think at every effort but `none`."""
    effort = mapped or request.reasoning_effort
    switches = [name for name in THINKING_SWITCHES if name in template.variables]
    if "reasoning_effort" in template.variables:
        off = switches if effort == "none" else []
        return {"reasoning_effort": effort} | dict.fromkeys(off, False)
    if not switches:
        verify_template_knows(template, "reasoning_effort")
    return dict.fromkeys(switches, effort != "none")
