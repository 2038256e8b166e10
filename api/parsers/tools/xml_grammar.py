"""The grammar's side of `xml`: each tool's arguments as tags, in the order of its schema."""

from __future__ import annotations

from typing import Any

from api.parsers.schema import kinds
from api.parsers.tool_spec import CUSTOM_INPUT, ToolSpec
from api.parsers.tools.grammar import CallGrammar, GrammarWriter
from api.parsers.tools.values import arguments_of, members_of, raw_value
from api.parsers.tools.xml import Tags


def tagged_grammar(tags: Tags, *, is_section_per_call: bool) -> CallGrammar:
    """The grammar of such a format.

    Arguments:
        is_section_per_call: the section's tags stand around each call.
    """
    newline = tags.newline
    before = "".join(tags.before_call) + tags.call
    after = tags.call_end + "".join(tags.after_call)
    section, section_end = tags.section

    def call(writer: GrammarWriter, tool: ToolSpec) -> str:
        head = writer.literal(tool.name + tags.name_end + newline)
        return f"{head} {_arguments(writer, tool, tags)}"

    if is_section_per_call:
        return CallGrammar(
            trigger=section,
            open=section + newline + before,
            call=call,
            close=after + newline + section_end,
            between="\n",
        )
    return CallGrammar(
        trigger=section,
        begin=section + newline,
        open=before,
        call=call,
        close=after,
        between=newline,
        end=newline + section_end,
    )


def _arguments(writer: GrammarWriter, tool: ToolSpec, tags: Tags) -> str:
    named, required = arguments_of(writer, tool)
    if tool.input_lark is not None:
        end = writer.literal(_value_end(tags))
        return f"{_opening(writer, tags, CUSTOM_INPUT, True)} {writer.lark(tool.input_lark)} {end}"
    members = {key: _argument(writer, tool, tags, key, value) for key, value in named.items()}
    return members_of(writer, members, required, "")


def _argument(writer: GrammarWriter, tool: ToolSpec, tags: Tags, key: str, schema: Any) -> str:
    is_string = "string" in kinds(schema, tool.schema)
    value = raw_value(writer, tool, schema, _value_end(tags))
    return f"{_opening(writer, tags, key, is_string)} {value}"


def _opening(writer: GrammarWriter, tags: Tags, key: str, is_string: bool) -> str:
    end = next((text for text, means in tags.is_string if means == is_string), tags.name_end)
    return writer.literal(tags.key + key + end + ("\n" if tags.trims else ""))


def _value_end(tags: Tags) -> str:
    return ("\n" if tags.trims else "") + tags.value_end + tags.newline
