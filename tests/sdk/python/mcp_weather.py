"""A server of tools made with the official `mcp` package: `python mcp_weather.py PORT KEY`."""

from __future__ import annotations

import sys

from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("weather", log_level="WARNING")
KEY = sys.argv[2]


def verify_key(context: Context) -> None:
    headers = context.headers or {}
    if headers.get("authorization") != f"Bearer {KEY}":
        raise ValueError("the key is wrong")


@server.tool()
def get_weather(city: str, context: Context) -> str:
    """Get the weather"""
    verify_key(context)
    return f"sunny in {city}"


server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
