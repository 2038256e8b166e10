"""What a chat template is told besides the messages: the operator's variables, the request's."""

from __future__ import annotations

from typing import Any

from api.context import ServerContext
from api.protocol.base import THINKING_SWITCHES
from api.protocol.chat import ChatCompletionRequest
from api.protocol.tokenize import TokenizeRequest
from engine.errors import InvalidParameterError
from engine.text.chat_template import RESERVED_NAMES, ChatTemplate


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


def is_thinking_off(context: ServerContext, request: ChatCompletionRequest) -> bool:
    """Whether the template was told that the model is not to think."""
    given = context.settings.default_chat_template_kwargs | (request.chat_template_kwargs or {})
    is_off = any(given.get(name) is False for name in THINKING_SWITCHES)
    return is_off or request.reasoning_effort == "none"


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
