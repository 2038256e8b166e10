"""`--responses-compatibility-mode`: what only vLLM or servax has is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.protocol.responses.later import RESPONSES
from api.protocol.responses.request import OF_VLLM, OWN
from api.services.responses.exchange import Exchange
from engine.errors import InvalidParameterError

_LATER_OF_OPENAI = frozenset(
    {"prompt", "moderation", "context_management", "prompt_cache_options"}
    | {"access_programs", "background_options", "image"}
)
FOREIGN = (OF_VLLM | OWN | (frozenset(RESPONSES) - _LATER_OF_OPENAI)) - {"request_id"}


def verify_official(body: Mapping[str, Any], exchange: Exchange) -> None:
    """Raise InvalidParameterError for a field that OpenAI's API does not have, and for a
    `request_id` that is not the header's."""
    for name in body:
        if name in FOREIGN:
            raise InvalidParameterError(
                f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter"
            )
    given = body.get("request_id")
    if given is not None and given != exchange.request_id:
        raise InvalidParameterError(
            "Invalid 'request_id': it must equal the header X-Request-Id.", param="request_id"
        )
