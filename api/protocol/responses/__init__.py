"""The Responses API: requests, items, tools, answers. Names are OpenAI's."""
