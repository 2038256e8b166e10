"""A client of MCP servers over streamable HTTP: what a client of ours may use of them.

faults      what can go wrong, as items of responses say it
wire        JSON-RPC messages out of what a server sends, JSON or events, within bounds
session     one server: initialize, tools/list, tools/call

The official `mcp` package would bring a second web framework, a second web server and another HTTP
client with it (starlette, uvicorn, httpx2), and bounds neither what a server sends nor the address
it is spoken to at. The three requests that are needed are here, over httpx and the guard that
webhooks use.
"""
