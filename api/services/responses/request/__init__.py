"""From a request to the model's turn.

compatibility   `--responses-compatibility-mode`: what OpenAI does not have is refused
conversion      items and fields → a chat completion's
choice          `tool_choice`, for each turn
wording         errors of that, in this API's words
truncation      what fits the model's context
making          the request read, and a turn of it checked and rendered
job             what a response is made from
beginning       the first turn, with its MCP servers
"""
