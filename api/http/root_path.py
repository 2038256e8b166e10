"""`--root-path /prefix`: the server answers with and without the prefix a proxy may strip."""

from __future__ import annotations

from api.http.access import ASGIApp, Receive, Scope, Send


class RootPathMiddleware:
    """ASGI application that takes the prefix off a path that has it."""

    def __init__(self, inner: ASGIApp, root_path: str) -> None:
        self._inner = inner
        self._prefix = "/" + root_path.strip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        path = scope.get("path", "")
        if path.startswith(self._prefix + "/"):
            scope = {**scope, "path": path[len(self._prefix) :]}
        await self._inner(scope, receive, send)
