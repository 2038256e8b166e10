"""MCP servers in responses: their tools are called here, between two answers of the model.

asked        what a request says of servers: checked, and its secrets taken out
toolbox      tools of servers as functions that the model may call
told         items of servers as messages to the model
open_items   lists and calls as they happen, as events
servers      the servers of one response: lists, calls, and the model's next turn
beginning    from a request to its job, with its servers
"""
