"""What clients see of a response.

snapshot         the response object
open_items       one item of the output as it grows
open_mcp_items   the same of lists and calls of MCP servers
sealed           `encrypted_content`
summary          summaries of thoughts
ids              ids of items and calls, which follow from the response's
"""
