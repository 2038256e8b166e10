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

NULL: Neutral = (None,)
FLAG: Neutral = (None, False)
LIST: Neutral = (None, [])
OBJECT: Neutral = (None, {})
"""By the type of a field: what is empty in another way has the wrong type, and does not pass."""

_BOTH: dict[str, Neutral] = {
    "watermarking": FLAG,
    "media_io_kwargs": OBJECT,
    "mm_processor_kwargs": OBJECT,
    "mm_payload": (None, "tensors", "none"),
    "return_mm_kwargs": FLAG,
    "return_weight_versions": FLAG,
    "routed_experts_prompt_start": (None, 0),
    "return_token_offsets": FLAG,
    "kv_transfer_params": OBJECT,
    "ec_transfer_params": OBJECT,
    "vllm_xargs": OBJECT,
}

CHAT: dict[str, Neutral] = _BOTH | {
    "prompt_embeds": LIST,
    "modalities": (None, ["text"]),
    "audio": NULL,
    "prediction": NULL,
    "web_search_options": NULL,
    "moderation": NULL,
    "prompt_cache_options": OBJECT,
    "suffix": (None, ""),
}

COMPLETIONS: dict[str, Neutral] = _BOTH | {
    "store": FLAG,
}

TOKENIZE: dict[str, Neutral] = {
    "media_io_kwargs": OBJECT,
    "mm_processor_kwargs": OBJECT,
}

ANTHROPIC: dict[str, Neutral] = {
    "container": NULL,
    "context_management": OBJECT,
    "mcp_servers": LIST,
    "inference_geo": NULL,
    "mm_payload": (None, "tensors", "none"),
    "return_mm_kwargs": FLAG,
    "watermarking": FLAG,
    "kv_transfer_params": OBJECT,
    "ec_transfer_params": OBJECT,
    "vllm_xargs": OBJECT,
}

GENERATE: dict[str, Neutral] = {
    "features": OBJECT,
    "content_parts": LIST,
    "kv_transfer_params": OBJECT,
    "ec_transfer_params": OBJECT,
}

GENERATE_SAMPLING: dict[str, Neutral] = {
    "output_kind": (None, 0, 1, 2),
    "detokenize": (None, True, False),
    "skip_clone": (None, True, False),
    "flat_logprobs": (None, False),
    "extra_args": OBJECT,
    "logits_processors": LIST,
    "watermarking": FLAG,
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
