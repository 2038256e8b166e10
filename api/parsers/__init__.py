"""From a model's text to content, reasoning and tool calls.

Pure: text in, events out. A format is one row of a table (`tools.TOOL_PARSERS`,
`reasoning.REASONING_PARSERS`) and one small state machine, a generator that asks `Reader` for text
and tells `Answer` what it means. Streams push pieces, whole answers push once: the same code.
"""
