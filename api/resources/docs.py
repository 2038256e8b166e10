"""The OpenAPI document and a page that shows it; nothing is loaded from elsewhere.

The page is open, so that a browser can show its field for the key; the document is not.
"""

from __future__ import annotations

import pathlib

from quart import Blueprint, Response

from api.context import server_state
from api.endpoints.openapi import make_document
from api.errors import APIError
from api.keys.auth import public
from api.resources.health import json_response
from api.version import server_version

blueprint = Blueprint("docs", __name__)

WEB_FOLDER = pathlib.Path(__file__).resolve().parent.parent / "web"
FILES = {"docs.js": "text/javascript", "docs.css": "text/css"}
PAGE_HEADERS = {
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "cache-control": "no-cache",
}


@blueprint.get("/openapi.json")
async def openapi() -> Response:
    """The document."""
    _verify_enabled()
    return json_response(make_document(server_state().settings, server_version()))


@blueprint.get("/docs")
@public
async def page() -> Response:
    """The page."""
    return _file("docs.html", "text/html")


@blueprint.get("/docs/<name>")
@public
async def file(name: str) -> Response:
    """The page's script and style."""
    if name not in FILES:
        raise APIError("There is no such file.", status=404, code="not_found")
    return _file(name, FILES[name])


def _file(name: str, media: str) -> Response:
    _verify_enabled()
    body = (WEB_FOLDER / name).read_bytes()
    return Response(body, headers={"content-type": f"{media}; charset=utf-8", **PAGE_HEADERS})


def _verify_enabled() -> None:
    if server_state().settings.disable_docs:
        raise APIError("The documentation is switched off.", status=404, code="not_found")
