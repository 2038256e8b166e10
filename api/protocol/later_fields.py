"""Documented fields that this version cannot honour: refused by name, never ignored.

Each table gives, by field, the values that ask for nothing beyond what happens anyway. These
pass; any other value is 400 `unsupported_parameter` with the field's name. A field leaves its
table in the version that honours it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from engine.errors import InvalidParameterError

Neutral = tuple[Any, ...]
"""Values of a field that ask for nothing beyond what happens anyway."""

_OFF: Neutral = (None, False, [], {}, "")
_NULL: Neutral = (None,)

_BOTH: dict[str, Neutral] = {
    "watermarking": _OFF,
    "media_io_kwargs": _OFF,
    "mm_processor_kwargs": _OFF,
    "mm_payload": (None, "tensors", "none"),
    "return_mm_kwargs": _OFF,
    "return_weight_versions": _OFF,
    "routed_experts_prompt_start": (None, 0),
    "return_token_offsets": _OFF,
    "kv_transfer_params": _OFF,
    "ec_transfer_params": _OFF,
    "vllm_xargs": _OFF,
}

CHAT: dict[str, Neutral] = _BOTH | {
    "prompt_embeds": _OFF,
    "modalities": (None, ["text"]),
    "audio": _NULL,
    "prediction": _NULL,
    "web_search_options": _NULL,
    "moderation": _NULL,
    "prompt_cache_options": _OFF,
    "suffix": _OFF,
}

COMPLETIONS: dict[str, Neutral] = _BOTH | {
    "store": _OFF,
}

TOKENIZE: dict[str, Neutral] = {
    "media_io_kwargs": _OFF,
    "mm_processor_kwargs": _OFF,
}

ANTHROPIC: dict[str, Neutral] = {
    "container": _OFF,
    "context_management": _OFF,
    "mcp_servers": _OFF,
    "inference_geo": _OFF,
    "mm_payload": (None, "tensors", "none"),
    "return_mm_kwargs": _OFF,
    "watermarking": _OFF,
    "kv_transfer_params": _OFF,
    "ec_transfer_params": _OFF,
    "vllm_xargs": _OFF,
}

GENERATE: dict[str, Neutral] = {
    "features": _OFF,
    "content_parts": _OFF,
    "kv_transfer_params": _OFF,
    "ec_transfer_params": _OFF,
}

GENERATE_SAMPLING: dict[str, Neutral] = {
    "output_kind": (None, 0, 1, 2),
    "detokenize": (None, True, False),
    "skip_clone": (None, True, False),
    "flat_logprobs": (None, False),
    "extra_args": _OFF,
    "logits_processors": _OFF,
    "watermarking": _OFF,
}

_NOT_YET = "is not supported by this version of the server"
_TEXT_PARTS = ("text", "input_text", "output_text", "refusal")


def refuse_later_fields(body: Mapping[str, Any], table: Mapping[str, Neutral]) -> None:
    """Raise InvalidParameterError for the first field of `table` that asks for something."""
    refuse_fields(body, table, _NOT_YET)


def refuse_fields(body: Mapping[str, Any], table: Mapping[str, Neutral], reason: str) -> None:
    """The same with another reason, the rest of a sentence that begins with the field."""
    for name, neutral in table.items():
        if name in body and not _is_neutral(body[name], neutral):
            raise _unsupported(name, reason)


def refuse_media(body: Mapping[str, Any]) -> None:
    """Raise InvalidParameterError for a message part that is not text, and for audio."""
    messages: Any = body.get("messages")
    for index, message in enumerate(_objects(messages)):
        if message.get("audio") is not None:
            raise _unsupported(f"messages[{index}].audio")
        for part_index, part in enumerate(_objects(message.get("content"))):
            kind = part.get("type")
            if isinstance(kind, str) and kind not in _TEXT_PARTS:
                path = f"messages[{index}].content[{part_index}].type"
                raise InvalidParameterError(
                    f"Unsupported value: '{path}' is '{kind[:64]}'. This model takes text only.",
                    param=path,
                    code="unsupported_parameter",
                )


def _objects(value: Any) -> list[dict[str, Any]]:
    """The items of a list, an empty object standing for what is none."""
    if not isinstance(value, list):
        return []
    items = cast(list[Any], value)
    return [cast(dict[str, Any], item) if isinstance(item, dict) else {} for item in items]


def _is_neutral(value: Any, neutral: Neutral) -> bool:
    """Equality that keeps true apart from 1."""
    return any(type(value) is type(item) and value == item for item in neutral)


def _unsupported(name: str, reason: str = _NOT_YET) -> InvalidParameterError:
    return InvalidParameterError(
        f"Unsupported parameter: '{name}' {reason}.",
        param=name,
        code="unsupported_parameter",
    )
