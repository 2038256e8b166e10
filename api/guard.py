"""Before any route: the route is noted, a key asked for, the work counted.

A flood is refused in `Door`, before Quart makes a request of it: that costs a fifth, and what comes
at the same time is refused one after the other, where Quart would have all of them wait for the
last. Who is let in there is counted by the guard of the routes, which decides the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, cast

import orjson
from quart import Quart, g, request, websocket

from api.azure import SCOPE_KEY as AZURE_KEY
from api.context import ServerState
from api.errors import APIError, error_body
from api.http.access import (
    ASGIApp,
    Receive,
    Scope,
    Send,
    choose_request_id,
    request_state,
    send_json,
)
from api.http.error_handlers import style_of
from api.keys.auth import Access, is_for_operator, is_public, is_without_engine
from api.keys.quotas import Quota
from api.keys.tenant import Tenant
from api.limits import QUEUE_FULL
from api.settings import ErrorFormat


class Guard:
    """Decides about requests to an application."""

    def __init__(self, app: Quart, state: ServerState) -> None:
        self._app = app
        self._state = state
        self._access = Access(state.keys)

    def install(self) -> None:
        """Ask it before every route."""
        self._app.before_request(self._request)
        self._app.before_websocket(self._websocket)

    async def _request(self) -> None:
        exchange = request_state(request.scope)
        g.request_id = exchange.request_id
        view = self._app.view_functions.get(request.endpoint or "")
        if request.url_rule is not None:
            exchange.handler = request.url_rule.rule
        g.tenant = self._access.verify(view, request.headers, _client(request.scope))
        if is_public(view):
            return
        quota = exchange.quota = self._state.accounts.quotas.of(g.tenant)
        if self._is_work(request.method, view):
            self._verify_room(g.tenant, quota)
            self._state.admission.count(exchange, self._key_id(g.tenant))
            quota.count()

    async def _websocket(self) -> None:
        view = self._app.view_functions.get(websocket.endpoint or "")
        g.request_id = choose_request_id(websocket.headers.get("x-request-id"))
        g.tenant = self._access.verify(view, websocket.headers, _client(websocket.scope))
        if websocket.url_rule is None:
            raise APIError("There is no WebSocket at this URL.", status=404, code="unknown_url")

    def refusal(self, scope: Scope) -> APIError | None:
        """Why there is no room for this request; None where there is, or where it takes more than
        a key and a route to know: the routes' guard then says what there is to say."""
        view = self._post_views.get(scope["path"]) if scope["method"] == "POST" else None
        if view is None or is_public(view) or not self._is_work("POST", view):
            return None
        headers = _read(scope)
        if "origin" in headers or AZURE_KEY in scope:  # whose answers have more headers
            return None
        exchange = request_state(scope)
        try:
            tenant = self._access.verify(view, headers, _client(scope))
        except APIError:
            return None
        quota = self._state.accounts.quotas.of(tenant)
        try:
            self._verify_room(tenant, quota)
        except APIError as error:
            exchange.handler, exchange.quota = scope["path"], quota
            return error
        return None

    @functools.cached_property
    def _post_views(self) -> dict[str, Callable[..., Any]]:
        """What takes a POST, by path; not those with variables in their paths."""
        return {
            rule.rule: self._app.view_functions[rule.endpoint]
            for rule in self._app.url_map.iter_rules()
            if "POST" in (rule.methods or ()) and not rule.arguments
        }

    def _is_work(self, method: str, view: Any) -> bool:
        """Routes that use the engine are POST; while draining every other request counts too. An
        operator must get through to a server that is full."""
        uses_engine = not (is_public(view) or is_for_operator(view) or is_without_engine(view))
        return (method == "POST" and uses_engine) or self._state.admission.is_draining

    def _verify_room(self, tenant: Tenant, quota: Quota) -> None:
        """Raise APIError 503 for what the server, 429 for what the key has no room for."""
        try:
            self._state.admission.verify(self._key_id(tenant))
            quota.verify()
        except APIError as error:
            self._state.metrics.rejected(self._reason(error))
            raise

    def _key_id(self, tenant: Tenant) -> str | None:
        return tenant.key_id if self._state.keys.num_keys > 1 else None

    def _reason(self, error: APIError) -> str:
        if self._state.admission.is_draining:
            return "draining"
        return "rate_limit" if error.status == 429 else QUEUE_FULL


class Door:
    """ASGI application that answers what has no room, and leaves the rest to `inner`."""

    def __init__(self, inner: ASGIApp, guard: Guard, state: ServerState) -> None:
        self._inner = inner
        self._guard = guard
        self._style: ErrorFormat = state.settings.error_format

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        refusal = self._guard.refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._inner(scope, receive, send)
            return
        body = orjson.dumps(error_body(refusal, style_of(scope["path"], self._style)))
        await send_json(send, refusal.status, body, refusal.headers)


def _read(scope: Scope) -> dict[str, str]:
    """Headers by name; of one that comes twice the first, as with Quart."""
    pairs = cast("list[tuple[bytes, bytes]]", list(scope["headers"]))
    return {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in reversed(pairs)
    }


def _client(scope: Mapping[str, Any]) -> tuple[str, int] | None:
    """The peer's address from the server, not from any header."""
    return cast("tuple[str, int] | None", scope.get("client"))
