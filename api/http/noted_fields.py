"""Bodies, forms and queries as models; what nobody knows in them is refused, or noted for the
`warning` header of the answer to the current request."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar, cast

import pydantic
from quart import Quart, Response, g, has_request_context

from api.protocol.parse import parse_body

Model = TypeVar("Model", bound=pydantic.BaseModel)

_MAX_NAMES = 20
_MAX_CHARACTERS = 100
_UNSAFE = re.compile(r"[^A-Za-z0-9_.\[\]\-]")

log = logging.getLogger("servax.api")


def read_fields(
    model: type[Model],
    values: Mapping[str, Any],
    *,
    strict_fields: bool,
    known: Collection[str] = (),
) -> Model:
    """`parse_body` for whoever answers with no `Answer`.

    Raises:
        InvalidParameterError: as `parse_body`.
    """
    parsed = parse_body(model, values, strict_fields=strict_fields, known=known)
    note_unknown(parsed.unknown)
    return parsed.request


def note_unknown(names: Sequence[str]) -> None:
    """Have the answer name these fields; work that is no request has nobody to tell."""
    if names and has_request_context():
        g.unknown_fields = (*g.get("unknown_fields", ()), *names)


def warning_of(names: Sequence[str]) -> str:
    """The header's value, with what clients chose made fit for a header and a log line."""
    shown = [_UNSAFE.sub("?", _shortened(name)) for name in names[:_MAX_NAMES]]
    more = ["..."] if len(names) > _MAX_NAMES else []
    return f'299 servax "Fields unknown or not enforced have no effect: {", ".join(shown + more)}"'


def _shortened(name: str) -> str:
    """The end of a long one tells what it is about."""
    if len(name) <= _MAX_CHARACTERS:
        return name
    half = _MAX_CHARACTERS // 2
    return f"{name[:half]}...{name[-half:]}"


def warning_headers() -> dict[str, str]:
    """What the answer to the current request has to say, as headers."""
    names = cast("tuple[str, ...]", g.get("unknown_fields", ()))
    return {"warning": warning_of(names)} if names else {}


def install_noted_fields(app: Quart) -> None:
    """Put the `warning` header on answers."""

    async def add_warning(response: Response) -> Response:
        headers = warning_headers()
        if headers and response.status_code < 400:
            response.headers.update(headers)
            log.warning("%s", headers["warning"])
        return response

    app.after_request(cast(Any, add_warning))
