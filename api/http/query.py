"""The query of a URL as a model, or the 400 that names what is wrong in it."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

import pydantic
from quart import Request

from api.context import server_state
from api.http.noted_fields import read_fields
from engine.errors import InvalidParameterError

Model = TypeVar("Model", bound=pydantic.BaseModel)


_AZURES = ("api-version",)


def read_query(request: Request, model: type[Model], known: Collection[str] = ()) -> Model:
    """The query's parameters. A list is one given several times, spelled `name` or, as the SDKs
    do, `name[]`.

    Arguments:
        known: parameters that the caller reads besides.

    Raises:
        InvalidParameterError: a value is not one of those it can have, there are several where one
            can be, or with `--strict-fields` nobody knows a parameter.
    """
    properties = model.model_json_schema()["properties"]
    values: dict[str, object] = {}
    for name, value in request.args.items():
        bare = name.removesuffix("[]")
        is_several = is_list(properties.get(bare, {}))
        if name in properties and not is_several and len(request.args.getlist(name)) > 1:
            raise InvalidParameterError(f"Invalid '{name}': given several times.", param=name)
        values[bare if is_several else name] = request.args.getlist(name) if is_several else value
    strict = server_state().settings.strict_fields
    return read_fields(model, values, strict_fields=strict, known=(*known, *_AZURES))


def is_list(schema: dict[str, object]) -> bool:
    """Whether a parameter with this JSON schema may be given several times."""
    return "array" in str(schema.get("anyOf", schema.get("type")))
