"""The query of a URL as a model, or the 400 that names what is wrong in it."""

from __future__ import annotations

from typing import TypeVar

import pydantic
from quart import Request

from api.protocol.parse import parse_body

Model = TypeVar("Model", bound=pydantic.BaseModel)


def read_query(request: Request, model: type[Model]) -> Model:
    """The query's parameters; of one given several times the last, unless it is a list, which
    may be spelled `name` or, as the SDKs do, `name[]`.

    Raises:
        InvalidParameterError: a value is not one of those it can have.
    """
    properties = model.model_json_schema()["properties"]
    values: dict[str, object] = {}
    for name, value in request.args.items():
        bare = name.removesuffix("[]")
        is_several = is_list(properties.get(bare, {}))
        values[bare if is_several else name] = request.args.getlist(name) if is_several else value
    return parse_body(model, values, strict_fields=False).request


def is_list(schema: dict[str, object]) -> bool:
    """Whether a parameter with this JSON schema may be given several times."""
    return "array" in str(schema.get("anyOf", schema.get("type")))
