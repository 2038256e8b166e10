"""What the Responses API documents and this version cannot do: refused by name, never ignored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from api.protocol.later_fields import CHAT, FLAG, LIST, NULL, OBJECT, Neutral, refuse_later_fields
from api.protocol.responses.mcp import LATER
from engine.errors import InvalidParameterError

RESPONSES: dict[str, Neutral] = {
    "prompt": NULL,
    "moderation": NULL,
    "context_management": LIST,
    "prompt_cache_options": OBJECT,
    "access_programs": OBJECT,
    "background_options": OBJECT,
    "image": OBJECT,
    "personality": NULL,
    "watermarking": FLAG,
    "media_io_kwargs": OBJECT,
    "mm_processor_kwargs": OBJECT,
    "mm_payload": CHAT["mm_payload"],
    "return_mm_kwargs": FLAG,
    "kv_transfer_params": OBJECT,
    "ec_transfer_params": OBJECT,
    "vllm_xargs": OBJECT,
}

REASONING: dict[str, Neutral] = {
    "context": (None, "auto"),
    "mode": (None, "standard"),
}

TOOLS = frozenset(
    """apply_patch code_interpreter computer computer_use computer_use_preview file_search
    image_generation local_shell namespace programmatic_tool_calling shell tool_search
    web_search web_search_2025_08_26 web_search_preview web_search_preview_2025_03_11""".split()
)
"""Tools that would run here or that only OpenAI's models know."""

ITEMS = frozenset(
    """additional_tools apply_patch_call apply_patch_call_output code_interpreter_call
    compaction_trigger computer_call computer_call_output configuration_update file_search_call
    image_generation_call local_shell_call local_shell_call_output
    program program_output shell_call
    shell_call_output tool_search_call tool_search_output web_search_call""".split()
)
"""Items of such tools."""

PARTS = frozenset({"input_image", "input_file", "input_audio", "input_video", "image_url"})


def refuse_later(body: Mapping[str, Any]) -> None:
    """Raise InvalidParameterError for the first thing in a body that asks for what is not here."""
    refuse_later_fields(body, RESPONSES)
    reasoning = body.get("reasoning")
    if isinstance(reasoning, dict):
        _refuse_members(cast(dict[str, Any], reasoning), REASONING, "reasoning")
    for index, tool in _objects(body.get("tools")):
        _refuse_kind(tool, TOOLS, f"tools[{index}].type")
        if tool.get("type") == "mcp":
            _refuse_members(tool, LATER, f"tools[{index}]")
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        _refuse_kind(cast(dict[str, Any], choice), TOOLS, "tool_choice.type")
    refuse_later_items(body.get("input"), "input")


def refuse_later_items(items: Any, path: str) -> None:
    """The same for a list of items."""
    for index, item in _objects(items):
        _refuse_kind(item, ITEMS, f"{path}[{index}].type")
        for field in ("content", "output"):
            for part_index, part in _objects(item.get(field)):
                _refuse_kind(part, PARTS, f"{path}[{index}].{field}[{part_index}].type")


def _refuse_members(value: Mapping[str, Any], table: Mapping[str, Neutral], path: str) -> None:
    try:
        refuse_later_fields(value, table)
    except InvalidParameterError as error:
        raise _unsupported(f"{path}.{error.param}") from None


def _objects(value: Any) -> list[tuple[int, dict[str, Any]]]:
    items = cast(list[Any], value) if isinstance(value, list) else []
    return [
        (index, cast(dict[str, Any], item))
        for index, item in enumerate(items)
        if isinstance(item, dict)
    ]


def _refuse_kind(item: Mapping[str, Any], kinds: frozenset[str], path: str) -> None:
    kind = item.get("type")
    if isinstance(kind, str) and kind in kinds:
        raise InvalidParameterError(
            f"Unsupported value: '{path}' is '{kind}', which this version of the server does "
            "not have.",
            param=path,
            code="unsupported_parameter",
        )


def _unsupported(name: str) -> InvalidParameterError:
    return InvalidParameterError(
        f"Unsupported parameter: '{name}' is not supported by this version of the server.",
        param=name,
        code="unsupported_parameter",
    )
