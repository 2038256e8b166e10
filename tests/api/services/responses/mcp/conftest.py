"""A response whose model may call a real MCP server."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from engine.request import GenerateRequest, TokenDelta


def says(asker: Any, *texts: str) -> None:
    """The model's turns, one after the other."""
    engine = asker.speaker.engine
    turns, original = iter(texts), type(engine).generate

    async def generate(request: GenerateRequest) -> AsyncGenerator[list[TokenDelta], None]:
        engine.texts = (next(turns),)
        async for deltas in original(engine, request):
            yield deltas

    engine.generate = generate


@pytest.fixture
def remote(asking: Any, mcp_server: Any, storage: Any) -> Any:
    """Makes an `Asker` that may call the MCP server, whose model says `texts`, turn by turn."""

    def make(*texts: str, **options: Any) -> Any:
        asker = asking(allowed_mcp_domains=(mcp_server.host,), **options)
        asker.storage = storage
        says(asker, *texts)
        return asker

    return make


@pytest.fixture
def tool(mcp_server: Any) -> Any:
    """Makes the tool of a request: the server's tools, without approvals."""

    def make(**fields: Any) -> dict[str, Any]:
        head = {"type": "mcp", "server_label": "docs", "server_url": mcp_server.url}
        return head | {"require_approval": "never"} | fields

    return make
