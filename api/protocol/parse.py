"""From a JSON object to a model, or to the one error OpenAI would give for it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Generic, TypeVar

import pydantic
from pydantic_core import ErrorDetails

from api.protocol.unknown import unknown_inside
from engine.errors import InvalidParameterError

Model = TypeVar("Model", bound=pydantic.BaseModel)

# Places in pydantic's error paths that name a branch of a union rather than a field.
_BRANCH = re.compile(
    r"(str|int|float|bool|none|dict|list|literal|constrained-(str|int|float))(\[.*\])?|[A-Z].*|.*[\[\]{}()].*"
)
_MAX_SHOWN = 100
_MAX_REASON = 400
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1


@dataclasses.dataclass(frozen=True, slots=True)
class Parsed(Generic[Model]):
    """A valid body.

    Attributes:
        unknown: names of fields nobody knows: the body's own in the client's order, then the
            paths of those further inside.
    """

    request: Model
    unknown: tuple[str, ...]


def parse_body(
    model: type[Model],
    body: Mapping[str, Any],
    *,
    strict_fields: bool,
    known: Collection[str] = (),
) -> Parsed[Model]:
    """Check shapes and types.

    Arguments:
        known: names that are no fields of `model` and are known all the same.

    Raises:
        InvalidParameterError: `param` is the path as OpenAI writes it, e.g. ``messages[0].role``.
    """
    unknown = tuple(name for name in body if name not in model.model_fields and name not in known)
    if strict_fields:
        refuse_unknown(unknown)
    try:
        request = model.model_validate(dict(body))
    except pydantic.ValidationError as error:
        raise _told(error.errors(include_url=False)) from None
    inside = unknown_inside(request, body)
    if strict_fields:
        refuse_unknown(inside)
    return Parsed(request, unknown + inside)


def refuse_unknown(unknown: Sequence[str]) -> None:
    """Raise InvalidParameterError for the first of these names."""
    if unknown:
        name = unknown[0][:_MAX_SHOWN]
        raise InvalidParameterError(
            f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter"
        )


def _told(errors: list[ErrorDetails]) -> InvalidParameterError:
    """One error for many: the first field at fault; within it the deepest branch of a union."""
    first = errors[0]["loc"][:1]
    of_field = [error for error in errors if error["loc"][:1] == first]
    depth = max(len(_path(error["loc"])) for error in of_field)
    deepest = [error for error in of_field if len(_path(error["loc"])) == depth]
    same_place = [error for error in deepest if _path(error["loc"]) == _path(deepest[0]["loc"])]
    kinds = [error for error in same_place if error["type"] in _EXPECTED]
    if len(kinds) > 1 and len(kinds) == len(same_place):
        return _wrong_type(kinds)
    chosen = next((error for error in same_place if error["type"] not in _EXPECTED), same_place[0])
    make = _WORDING.get(chosen["type"])
    if make is not None:
        return make(chosen)
    return _wrong_type([chosen]) if chosen["type"] in _EXPECTED else _invalid(chosen)


def _path(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    return tuple(part for part in location if isinstance(part, int) or not _BRANCH.fullmatch(part))


def _param(error: ErrorDetails) -> str:
    text = ""
    for part in _path(error["loc"]):
        text += f"[{part}]" if isinstance(part, int) else f".{part[:_MAX_SHOWN]}" if text else part
    return text[:_MAX_SHOWN] or "body"


_EXPECTED = {
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


def _wrong_type(errors: list[ErrorDetails]) -> InvalidParameterError:
    if any(map(_is_huge_integer, errors)):
        return _huge_integer(errors[0])
    param = _param(errors[0])
    expected = list(dict.fromkeys(_EXPECTED[error["type"]] for error in errors))
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
    param, got = _param(error), str(error["input"])[:_MAX_SHOWN]
    expected = error.get("ctx", {}).get("expected", "")
    return InvalidParameterError(
        f"Invalid value: '{got}'. Supported values are: {expected}.", param=param
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
    "too_short": _length("an array", "min_length", "array too short", "empty_array"),
}
