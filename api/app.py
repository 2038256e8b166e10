"""The Quart application: state, access, limits, errors, routes. `api.serve` gives it a socket."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Sequence
from typing import Any, cast

from quart import Blueprint, Quart, g, request, websocket

from api.azure import AzureMiddleware, install_azure
from api.context import EXTENSION, ServerContext, ServerState
from api.errors import APIError
from api.http.access import AccessMiddleware, ASGIApp, choose_request_id, request_state
from api.http.cors import install_cors
from api.http.error_handlers import install_error_handlers
from api.http.noted_fields import install_noted_fields
from api.http.request_body import ServerRequest
from api.http.root_path import RootPathMiddleware
from api.http.websocket_queue import BoundedWebsocketConnection
from api.idempotency import install_idempotency
from api.keys.accounts import Accounts
from api.keys.auth import Access, is_for_operator, is_public, is_without_engine
from api.keys.key_ring import KeyRing
from api.keys.quotas import Quota, Quotas
from api.limits import QUEUE_FULL, Admission
from api.metrics.registry import Metrics
from api.settings import ServerSettings

RESOURCES = (
    "api.resources.health",
    "api.resources.metrics",
    "api.resources.docs",
    "api.resources.models",
    "api.resources.chat",
    "api.resources.stored_chat",
    "api.resources.completions",
    "api.resources.messages",
    "api.resources.responses",
    "api.resources.responses_socket",
    "api.resources.conversations",
    "api.resources.inference",
    "api.resources.invocations",
    "api.resources.tokenize",
    "api.resources.management",
    "api.resources.files",
    "api.resources.batches",
)


def make_state(settings: ServerSettings, model_name: str) -> ServerState:
    """The state of a server that has no engine yet."""
    return ServerState(
        settings=settings,
        metrics=Metrics(model_name, shows_old_names=bool(settings.show_hidden_metrics_for_version)),
        admission=Admission(settings),
        keys=KeyRing(settings.api_keys),
        accounts=Accounts(quotas_of(settings)),
    )


def state_of(context: ServerContext) -> ServerState:
    """The state of a server that is ready from the start, as in tests."""
    context = dataclasses.replace(context, accounts=Accounts(quotas_of(context.settings)))
    state = ServerState(
        settings=context.settings,
        metrics=context.metrics,
        admission=Admission(context.settings),
        keys=KeyRing(context.settings.api_keys),
        accounts=context.accounts,
    )
    state.become_ready(context)
    return state


def create_app(source: ServerContext | ServerState, resources: Sequence[str] = RESOURCES) -> Quart:
    """The application for a loaded server, or for one that is still loading.

    `resources` are modules with a `blueprint`.
    """
    state = state_of(source) if isinstance(source, ServerContext) else source
    settings = state.settings
    app = Quart("api", static_folder=None)
    app.extensions[EXTENSION] = state
    app.request_class = ServerRequest
    app.asgi_websocket_class = BoundedWebsocketConnection
    _configure(app, settings)
    install_error_handlers(app, settings.error_format)
    install_cors(app, settings)
    install_noted_fields(app)
    _install_guard(app, state)
    if settings.enable_azure_api:
        install_azure(app, state)
    install_idempotency(app, state)
    for name in resources:
        app.register_blueprint(cast(Blueprint, importlib.import_module(name).blueprint))
    _wrap(app, state)
    return app


def quotas_of(settings: ServerSettings) -> Quotas:
    """Limits of keys that have none of their own."""
    return Quotas(settings.rate_limit_requests, settings.rate_limit_tokens)


def _configure(app: Quart, settings: ServerSettings) -> None:
    app.url_map.merge_slashes = False
    app.url_map.strict_slashes = True
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.config["BODY_TIMEOUT"] = settings.body_timeout_s
    app.config["RESPONSE_TIMEOUT"] = None
    app.config["PROPAGATE_EXCEPTIONS"] = False


def _install_guard(app: Quart, state: ServerState) -> None:
    """Before any route: note the route, ask for a key, count the work."""
    access = Access(state.keys)

    async def guard() -> None:
        exchange = request_state(request.scope)
        g.request_id = exchange.request_id
        view = app.view_functions.get(request.endpoint or "")
        if request.url_rule is not None:
            exchange.handler = request.url_rule.rule
        g.tenant = access.verify(view, request.headers, _client(request.scope))
        if not is_public(view):
            quota = exchange.quota = state.accounts.quotas.of(g.tenant)
            if _is_work(state, view):
                _admit(state, quota)

    async def guard_websocket() -> None:
        view = app.view_functions.get(websocket.endpoint or "")
        g.request_id = choose_request_id(websocket.headers.get("x-request-id"))
        g.tenant = access.verify(view, websocket.headers, _client(websocket.scope))
        if websocket.url_rule is None:
            raise APIError("There is no WebSocket at this URL.", status=404, code="unknown_url")

    app.before_request(guard)
    app.before_websocket(guard_websocket)


def _is_work(state: ServerState, view: Any) -> bool:
    """Routes that use the engine are POST; while draining every other request counts too. An
    operator must get through to a server that is full."""
    uses_engine = not is_for_operator(view) and not is_without_engine(view)
    is_post = request.method == "POST" and uses_engine
    return is_post or state.admission.is_draining


def _admit(state: ServerState, quota: Quota) -> None:
    """Raise APIError 503 for what the server, 429 for what the key has no room for."""
    key_id = g.tenant.key_id if state.keys.num_keys > 1 else None
    try:
        state.admission.admit(request_state(request.scope), key_id)
        quota.admit()
    except APIError as error:
        state.metrics.rejected(_reason(state, error))
        raise


def _reason(state: ServerState, error: APIError) -> str:
    if state.admission.is_draining:
        return "draining"
    return "rate_limit" if error.status == 429 else QUEUE_FULL


def _client(scope: Any) -> tuple[str, int] | None:
    """The peer's address from the server, not from any header."""
    return cast("tuple[str, int] | None", scope.get("client"))


def _wrap(app: Quart, state: ServerState) -> None:
    settings = state.settings
    inner = cast(ASGIApp, app.asgi_app)
    observed = AccessMiddleware(inner, settings, (state.metrics, state.admission))
    named = AzureMiddleware(observed) if settings.enable_azure_api else observed
    wrapped = RootPathMiddleware(named, settings.root_path) if settings.root_path else named
    app.asgi_app = cast(Any, wrapped)
