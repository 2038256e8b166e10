"""What is written down of a response, while and after it is made.

rows         its row, from beginning to end
recorder     one that its client waits for
background   one that a worker makes
retrieval    shown, streamed again, listed, deleted
mcp_claims   calls of MCP servers that are made once
"""
