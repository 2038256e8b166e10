"""The Quart application: state, access, limits, errors, routes. `api.serve` gives it a socket."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Sequence
from typing import Any, cast

from quart import Blueprint, Quart

from api.azure import AzureMiddleware, install_azure
from api.context import EXTENSION, ServerContext, ServerState
from api.guard import Door, Guard
from api.http.access import AccessMiddleware, ASGIApp
from api.http.cors import install_cors
from api.http.error_handlers import install_error_handlers
from api.http.noted_fields import install_noted_fields
from api.http.request_body import ServerRequest
from api.http.root_path import RootPathMiddleware
from api.http.websocket_queue import BoundedWebsocketConnection
from api.idempotency import install_idempotency
from api.keys.accounts import Accounts
from api.keys.key_ring import KeyRing
from api.keys.quotas import Quotas
from api.limits import Admission
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
    guard = Guard(app, state)
    guard.install()
    if settings.enable_azure_api:
        install_azure(app, state)
    install_idempotency(app, state)
    for name in resources:
        app.register_blueprint(cast(Blueprint, importlib.import_module(name).blueprint))
    _wrap(app, state, guard)
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


def _wrap(app: Quart, state: ServerState, guard: Guard) -> None:
    settings = state.settings
    inner = Door(cast(ASGIApp, app.asgi_app), guard, state)
    observed = AccessMiddleware(inner, settings, (state.metrics, state.admission))
    named = AzureMiddleware(observed) if settings.enable_azure_api else observed
    wrapped = RootPathMiddleware(named, settings.root_path) if settings.root_path else named
    app.asgi_app = cast(Any, wrapped)
