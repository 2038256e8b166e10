"""The Responses API over the chat service: items in, items and events out.

conversion   items and fields → a chat completion's
wording      errors of that, in this API's words
sealed       `encrypted_content`
open_items   one item of the output as it grows
writer       what a choice gains → events of items
snapshot     the response object
said         what was generated, token by token
mcp          tools of MCP servers, called between two turns of the model
job          what a response is made from
run          a response as events, from `response.created` to the one that ends it
dialects     names of events for other clients
service      POST /v1/responses
rendered     POST /v1/responses/render
"""
