"""Cross-origin requests for browsers, HTTP only: off until `--allowed-origins` names somebody."""

from __future__ import annotations

from quart import Quart, Response, request

from api.settings import ServerSettings

MAX_AGE_S = 600
EXPOSED_HEADERS = "x-request-id, openai-processing-ms, retry-after, retry-after-ms, warning"
ALL_METHODS = "GET, POST, PUT, PATCH, DELETE, OPTIONS"


def install_cors(app: Quart, settings: ServerSettings) -> None:
    """Answer preflights and add the headers that let allowed origins read answers.

    Must be installed before the access guard: a preflight carries no key.
    """
    if not settings.allowed_origins:
        return

    async def answer_preflight() -> Response | None:
        if request.method != "OPTIONS" or "access-control-request-method" not in request.headers:
            return None
        return Response(status=204, headers=preflight_headers(settings))

    async def add_origin(response: Response) -> Response:
        origin = request.headers.get("origin")
        if origin is not None:
            response.headers.extend(origin_headers(settings, origin))
        return response

    app.before_request(answer_preflight)
    app.after_request(add_origin)


def is_allowed(settings: ServerSettings, origin: str) -> bool:
    """Whether pages of `origin` may read answers."""
    return "*" in settings.allowed_origins or origin in settings.allowed_origins


def origin_headers(settings: ServerSettings, origin: str) -> dict[str, str]:
    """Headers for an answer to a request that came from a page of `origin`."""
    if not is_allowed(settings, origin):
        return {"vary": "Origin"}
    is_for_all = "*" in settings.allowed_origins and not settings.allow_credentials
    headers = {
        "access-control-allow-origin": "*" if is_for_all else origin,
        "access-control-expose-headers": EXPOSED_HEADERS,
        "vary": "Origin",
    }
    if settings.allow_credentials:
        headers["access-control-allow-credentials"] = "true"
    return headers


def preflight_headers(settings: ServerSettings) -> dict[str, str]:
    """What a preflight is told besides the origin."""
    methods = settings.allowed_methods
    names = settings.allowed_headers
    asked = request.headers.get("access-control-request-headers", "")
    return {
        "access-control-allow-methods": ALL_METHODS if "*" in methods else ", ".join(methods),
        "access-control-allow-headers": asked if "*" in names else ", ".join(names),
        "access-control-max-age": str(MAX_AGE_S),
    }
