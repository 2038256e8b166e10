"""MCP servers in responses: their tools are called here, between two answers of the model.

asked     what a request says of servers: checked, and its secrets taken out
toolbox   tools of servers as functions that the model may call
lists     which lists of tools may be used again
told      items of servers as messages to the model
servers   the servers of one response: lists, calls, and the model's next turn
"""
