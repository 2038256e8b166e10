"""What is said of a field at fault, in OpenAI's words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic_core import ErrorDetails

from engine.errors import InvalidParameterError

MAX_SHOWN = 100
_MAX_REASON = 400
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1


def told(error: ErrorDetails) -> InvalidParameterError:
    """One fault; its place names fields only."""
    if error["type"] in EXPECTED:
        return wrong_type([error])
    return _WORDING.get(error["type"], _invalid)(error)


def _param(error: ErrorDetails) -> str:
    text = ""
    for part in error["loc"]:
        text += f"[{part}]" if isinstance(part, int) else f".{part[:MAX_SHOWN]}" if text else part
    return text[:MAX_SHOWN] or "body"


EXPECTED = {
    "string_type": "a string",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "int_parsing": "an integer",
    "float_parsing": "a decimal",
    "bool_parsing": "a boolean",
    "float_type": "a decimal",
    "bool_type": "a boolean",
    "list_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "none_required": "null",
}

_NAMES: tuple[tuple[type, str], ...] = (
    (bool, "a boolean"),
    (int, "an integer"),
    (float, "a decimal"),
    (str, "a string"),
    (list, "an array"),
    (dict, "an object"),
)


def _kind_of(value: object) -> str:
    return next((name for kind, name in _NAMES if isinstance(value, kind)), "null")


def wrong_type(errors: list[ErrorDetails]) -> InvalidParameterError:
    """Faults at one place, each of which says which type it might have had."""
    if any(map(_is_huge_integer, errors)):
        return _huge_integer(errors[0])
    param = _param(errors[0])
    expected = list(dict.fromkeys(EXPECTED[error["type"]] for error in errors))
    wanted = expected[0] if len(expected) == 1 else f"one of {' or '.join(expected)}"
    got = _kind_of(errors[0]["input"])
    return InvalidParameterError(
        f"Invalid type for '{param}': expected {wanted}, but got {got} instead.",
        param=param,
        code="invalid_type",
    )


def _is_huge_integer(error: ErrorDetails) -> bool:
    """Whether a field of integers got a number beyond 64 bits, which the JSON parser gives as a
    decimal."""
    value = error["input"]
    is_number_field = error["type"] in {"int_type", "int_from_float"}
    return is_number_field and isinstance(value, float) and abs(value) > _INT64_MAX


def _huge_integer(error: ErrorDetails) -> InvalidParameterError:
    is_above = error["input"] > 0
    side = "above maximum" if is_above else "below minimum"
    bound = f"<= {_INT64_MAX}" if is_above else f">= {_INT64_MIN}"
    param = _param(error)
    return InvalidParameterError(
        f"Invalid '{param}': integer {side} value. "
        f"Expected a value {bound}, but got about {error['input']:g} instead.",
        param=param,
        code=f"integer_{side.replace('imum', '').replace(' ', '_')}_value",
    )


def _missing(error: ErrorDetails) -> InvalidParameterError:
    param = _param(error)
    return InvalidParameterError(
        f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter"
    )


def _not_supported_value(error: ErrorDetails) -> InvalidParameterError:
    param, given = _param(error), error["input"]
    expected = error.get("ctx", {}).get("expected", "")
    if not isinstance(given, str | int | float):
        return InvalidParameterError(
            f"Invalid type for '{param}': expected {expected}, but got {_kind_of(given)} instead.",
            param=param,
            code="invalid_type",
        )
    return InvalidParameterError(
        f"Invalid value: '{str(given)[:MAX_SHOWN]}'. Supported values are: {expected}.", param=param
    )


def _limit(kind: str, field: str, side: str, comparison: str) -> Callable[..., Any]:
    def make(error: ErrorDetails) -> InvalidParameterError:
        param, bound = _param(error), error.get("ctx", {}).get(field)
        return InvalidParameterError(
            f"Invalid '{param}': {kind} {side}imum value. "
            f"Expected a value {comparison} {bound}, but got {error['input']} instead.",
            param=param,
            code=f"{kind}_{side.replace(' ', '_')}_value",
        )

    return make


def _length(kind: str, field: str, wording: str, code: str) -> Callable[..., Any]:
    def make(error: ErrorDetails) -> InvalidParameterError:
        param, bound = _param(error), error.get("ctx", {}).get(field)
        limit = "minimum" if field.startswith("min") else "maximum"
        return InvalidParameterError(
            f"Invalid '{param}': {wording}. Expected {kind} with {limit} length {bound}, "
            f"but got {kind} with length {len(error['input'])} instead.",
            param=param,
            code=code,
        )

    return make


def _too_many_members(error: ErrorDetails) -> InvalidParameterError:
    param, bound = _param(error), error.get("ctx", {}).get("max_length")
    return InvalidParameterError(
        f"Invalid '{param}': too many properties. Expected an object with at most {bound} "
        f"properties, but got an object with {len(error['input'])} properties instead.",
        param=param,
        code="object_above_max_properties",
    )


def _name_too_long(error: ErrorDetails) -> InvalidParameterError:
    name, bound = error["input"], error.get("ctx", {}).get("max_length")
    holder = error.copy()
    holder["loc"] = error["loc"][:-1]
    where = f"'{_param(holder)}': '{name[:MAX_SHOWN]}'"
    return InvalidParameterError(
        f"Invalid property name in {where} is too long. Expected a string with maximum length "
        f"{bound}, but got a string with length {len(name)} instead.",
        param=_param(error),
        code="property_name_above_max_length",
    )


def _invalid(error: ErrorDetails) -> InvalidParameterError:
    param = _param(error)
    reason = error["msg"].removeprefix("Value error, ")[:_MAX_REASON]
    return InvalidParameterError(f"Invalid value for '{param}': {reason}.", param=param)


_WORDING: dict[str, Callable[[ErrorDetails], InvalidParameterError]] = {
    "missing": _missing,
    "literal_error": _not_supported_value,
    "enum": _not_supported_value,
    "greater_than_equal": _limit("integer", "ge", "below min", ">="),
    "less_than_equal": _limit("integer", "le", "above max", "<="),
    "string_too_long": _length(
        "a string", "max_length", "string too long", "string_above_max_length"
    ),
    "string_too_short": _length(
        "a string", "min_length", "string too short", "string_below_min_length"
    ),
    "too_long": _length("an array", "max_length", "array too long", "array_above_max_length"),
    "too_many_members": _too_many_members,
    "name_too_long": _name_too_long,
    "too_short": _length("an array", "min_length", "array too short", "empty_array"),
}
