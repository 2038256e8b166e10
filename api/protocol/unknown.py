"""Members of a body's inner objects that nobody knows, by their paths.

Only what a model describes is compared: schemas, metadata, variables of templates and other free
objects may have any members. A model's `unnoticed` members ask for nothing and are not named; its
`apart` members are parsed by someone else, or come from a server.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from typing import Any, cast, get_args

import pydantic

from api.protocol.base import RequestModel

MAX_NAMES = 32


def unknown_inside(request: pydantic.BaseModel, body: Mapping[str, Any]) -> tuple[str, ...]:
    """Paths such as ``messages[0].foo``, `MAX_NAMES` at most; the body's own members aside."""
    found: list[str] = []
    _look_inside(request, body, "", found)
    return tuple(found[:MAX_NAMES])


def _look_inside(
    model: pydantic.BaseModel, given: Mapping[str, Any], path: str, found: list[str]
) -> None:
    for field, names in _nesting(type(model)):
        value = getattr(model, field)
        if not value or isinstance(value, str):
            continue
        for name in names:
            if name in given:
                _look_at(value, given[name], f"{path}{name}", found)
                break


def _look_at(value: Any, given: Any, path: str, found: list[str]) -> None:
    """`value` is what `given` was parsed to; conversations are long, so this is quick."""
    if isinstance(given, dict):
        known = _known(type(value))
        if known is None:
            return
        members = cast("dict[str, Any]", given)
        if not known.issuperset(members):
            found.extend(f"{path}.{name}" for name in members if name not in known)
        _look_inside(value, members, f"{path}.", found)
    elif isinstance(given, list) and isinstance(value, list):
        pairs = zip(cast("list[Any]", value), cast("list[Any]", given), strict=False)
        for index, (item, given_item) in enumerate(pairs):
            if isinstance(given_item, dict | list):
                _look_at(item, given_item, f"{path}[{index}]", found)
            if len(found) >= MAX_NAMES:
                return


@functools.cache
def _known(model: type[Any]) -> frozenset[str] | None:
    """Names of the members that objects of a model may have; None for what is no model."""
    if not issubclass(model, RequestModel):
        return None
    names = itertools.chain.from_iterable(_names(model, field) for field in model.model_fields)
    return frozenset(names) | model.unnoticed


@functools.cache
def _nesting(model: type[pydantic.BaseModel]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Fields that may hold models, each with its names in a body."""
    apart = model.apart if issubclass(model, RequestModel) else frozenset[str]()
    return tuple(
        (field, _names(model, field))
        for field, info in model.model_fields.items()
        if field not in apart and _holds_model(info.annotation)
    )


def _names(model: type[pydantic.BaseModel], field: str) -> tuple[str, ...]:
    """How a body may spell a field."""
    alias = model.model_fields[field].alias
    if alias is None:
        return (field,)
    return (alias, field) if model.model_config.get("populate_by_name") else (alias,)


def _holds_model(annotation: Any) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return True
    return any(map(_holds_model, get_args(annotation)))
