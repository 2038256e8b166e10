"""From a JSON object to a model, or to the one error OpenAI would give for it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Generic, TypeVar

import pydantic
from pydantic_core import ErrorDetails

from api.protocol.faults import EXPECTED, MAX_SHOWN, told, wrong_type
from api.protocol.unknown import unknown_inside
from engine.errors import InvalidParameterError

Model = TypeVar("Model", bound=pydantic.BaseModel)

# Places in pydantic's error paths that name a branch of a union rather than a field.
_BRANCH = re.compile(
    r"(str|int|float|bool|none|dict|list|literal|constrained-(str|int|float))(\[.*\])?|[A-Z].*|.*[\[\]{}()].*"
)


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
        raise _told(error.errors(include_url=False), body) from None
    inside = unknown_inside(request, body)
    if strict_fields:
        refuse_unknown(inside)
    return Parsed(request, unknown + inside)


def refuse_unknown(unknown: Sequence[str]) -> None:
    """Raise InvalidParameterError for the first of these names."""
    if unknown:
        name = unknown[0][:MAX_SHOWN]
        raise InvalidParameterError(
            f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter"
        )


def _told(errors: list[ErrorDetails], body: Mapping[str, Any]) -> InvalidParameterError:
    """One error for many: the first field at fault; within it the deepest branch of a union."""
    first = errors[0]["loc"][:1]
    of_field = [_placed(error, body) for error in errors if error["loc"][:1] == first]
    depth = max(len(error["loc"]) for error in of_field)
    deepest = [error for error in of_field if len(error["loc"]) == depth]
    same_place = [error for error in deepest if error["loc"] == deepest[0]["loc"]]
    kinds = [error for error in same_place if error["type"] in EXPECTED]
    if len(kinds) > 1 and len(kinds) == len(same_place):
        return wrong_type(kinds)
    return told(next((error for error in same_place if error not in kinds), same_place[0]))


def _placed(error: ErrorDetails, body: Mapping[str, Any]) -> ErrorDetails:
    """The error at its place in the body, without the branches of unions that lead there."""
    placed = error.copy()
    placed["loc"] = _path(error["loc"], body)
    if error["loc"][-1:] == ("[key]",) and error["type"] == "string_too_long":
        placed["type"] = "name_too_long"
    if error["type"] == "too_long" and isinstance(error["input"], dict):
        placed["type"] = "too_many_members"
    return placed


def _path(location: tuple[int | str, ...], body: Mapping[str, Any]) -> tuple[int | str, ...]:
    """A part that is a member of the body there is one, whatever a branch may be called."""
    path: list[int | str] = []
    at: Any = body
    for part in location:
        is_member = isinstance(at, dict) and part in at
        if is_member or isinstance(part, int) or not _BRANCH.fullmatch(part):
            path.append(part)
            at = _member(at, part)
    return tuple(path)


def _member(value: Any, part: int | str) -> Any:
    try:
        return value[part]
    except (LookupError, TypeError):
        return None
