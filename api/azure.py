"""`--enable-azure-api`: the same routes under the paths of Azure OpenAI.

    /openai/deployments/{name}/…    a deployment is a served model: the body's `model` is its name
    /openai/…                       resources without a deployment
    /openai/v1/…                    Azure's newer API, which needs no `api-version`

Paths are rewritten before anything else sees them, so access, limits and routes are those of `/v1`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import parse_qs

from quart import Quart, Response, request

from api.context import ServerState
from api.errors import APIError
from api.http.access import ASGIApp, Receive, Scope, Send, request_state
from api.http.json_body import FIELDS_KEY

SCOPE_KEY = "servax.azure"
VERSION = re.compile(r"[A-Za-z0-9.\-]{1,32}")
_DEPLOYMENT = re.compile(r"/openai/deployments/([^/]+)(/.*)")
_RESPONSES = "/v1/responses"


@dataclasses.dataclass(frozen=True, slots=True)
class AzureCall:
    """What the URL of a request says in Azure's way.

    Attributes:
        deployment: "" without one.
        needs_version: `api-version` must be in the query.
        version: "" without one.
    """

    deployment: str
    needs_version: bool
    version: str


class AzureMiddleware:
    """ASGI application that takes Azure's paths for those of `/v1`."""

    def __init__(self, inner: ASGIApp) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        found = _meant(scope.get("path", ""))
        if found is not None:
            path, deployment, needs_version = found
            query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
            call = AzureCall(deployment, needs_version, (query.get("api-version") or [""])[0])
            fields: dict[str, Any] = {"model": deployment} if deployment else {}
            if path == _RESPONSES:
                fields["store"] = True
            scope = {**scope, "path": path, SCOPE_KEY: call, FIELDS_KEY: fields}
        await self._inner(scope, receive, send)


def install_azure(app: Quart, state: ServerState) -> None:
    """Check versions and deployments; put Azure's headers on answers."""

    async def verify() -> None:
        call = _call(request.scope)
        if call is None:
            return
        if call.needs_version and not VERSION.fullmatch(call.version):
            raise APIError(
                "Missing required query parameter: 'api-version'.",
                param="api-version",
                code="missing_required_parameter",
            )
        loaded = state.context
        if call.deployment and loaded is not None and call.deployment not in loaded.model_names:
            raise APIError(
                "The API deployment for this resource does not exist.",
                status=404,
                code="DeploymentNotFound",
            )

    async def add_headers(response: Response) -> Response:
        call = _call(request.scope)
        if call is not None:
            response.headers["x-ms-region"] = state.settings.azure_region
            response.headers["apim-request-id"] = request_state(request.scope).request_id
            if state.context is not None and call.deployment in state.context.model_names:
                response.headers["x-ms-deployment-name"] = call.deployment
        return response

    app.before_request(verify)
    app.after_request(cast(Any, add_headers))


def _meant(path: str) -> tuple[str, str, bool] | None:
    """The path of ours, the deployment, and whether a version is needed."""
    found = _DEPLOYMENT.fullmatch(path)
    if found is not None:
        return f"/v1{found[2]}", found[1], True
    if path.startswith("/openai/v1/"):
        return path.removeprefix("/openai"), "", False
    if path.startswith("/openai/"):
        return f"/v1{path.removeprefix('/openai')}", "", True
    return None


def _call(scope: Mapping[str, Any]) -> AzureCall | None:
    return scope.get(SCOPE_KEY)
