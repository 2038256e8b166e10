"""The Responses API over the chat service: items in, items and events out.

Its rooms, each above those before it:

objects        what clients see: items, responses, their ids
mcp            tools of MCP servers, called between two turns of the model
request        from a request to the model's turn
conversation   what comes before a request
events         a response as it is made, event by event
stored         what is written down of it, while and after it is made

service        POST /v1/responses
once           the same, for requests that may be run again
socket         the WebSocket
tool_outputs   POST /v1/responses/{response_id}/tool_outputs
holding        a stream that waits for such outputs
rendered       POST /v1/responses/render
tokens         POST /v1/responses/input_tokens and /compact
exchange       one request: what it may use, and what its headers say
"""
