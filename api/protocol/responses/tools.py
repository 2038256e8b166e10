"""Tools of the Responses API: those of chat completions, without the nesting."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic

from api.protocol.base import RequestModel, by_type
from api.protocol.responses.mcp import McpChoice, McpTool
from api.protocol.tools import MAX_DEFINITION_CHARACTERS, MAX_TOOLS, ToolName


class ResponseFunctionTool(RequestModel):
    """A function of the client's."""

    type: Literal["function"]
    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ResponseTextFormat(RequestModel):
    """Any text."""

    type: Literal["text"]


class ResponseGrammarFormat(RequestModel):
    """Text of a grammar."""

    type: Literal["grammar"]
    syntax: Literal["lark", "regex"]
    definition: Annotated[str, pydantic.Field(min_length=1, max_length=MAX_DEFINITION_CHARACTERS)]


class ResponseCustomTool(RequestModel):
    """A tool whose input is one text."""

    type: Literal["custom"]
    name: ToolName
    description: str | None = None
    format: (
        Annotated[
            Annotated[ResponseTextFormat, pydantic.Tag("T:text")]
            | Annotated[ResponseGrammarFormat, pydantic.Tag("T:grammar")],
            by_type("text", "grammar"),
        ]
        | None
    ) = None


ResponseTool = Annotated[
    Annotated[ResponseFunctionTool, pydantic.Tag("T:function")]
    | Annotated[ResponseCustomTool, pydantic.Tag("T:custom")]
    | Annotated[McpTool, pydantic.Tag("T:mcp")],
    by_type("function", "custom", "mcp"),
]
ResponseTools = Annotated[list[ResponseTool], pydantic.Field(max_length=MAX_TOOLS)]


class NamedChoice(RequestModel):
    """This tool and no other."""

    type: Literal["function", "custom"]
    name: str


OneChoice = Annotated[
    Annotated[NamedChoice, pydantic.Tag("T:function")]
    | Annotated[NamedChoice, pydantic.Tag("T:custom")]
    | Annotated[McpChoice, pydantic.Tag("T:mcp")],
    by_type("function", "custom", "mcp"),
]


class AllowedChoice(RequestModel):
    """Only some of the tools; `required` wants at least one call."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Annotated[list[OneChoice], pydantic.Field(min_length=1, max_length=MAX_TOOLS)]


ResponseToolChoice = (
    Literal["none", "auto", "required"]
    | Annotated[
        Annotated[NamedChoice, pydantic.Tag("T:function")]
        | Annotated[NamedChoice, pydantic.Tag("T:custom")]
        | Annotated[McpChoice, pydantic.Tag("T:mcp")]
        | Annotated[AllowedChoice, pydantic.Tag("T:allowed_tools")],
        by_type("function", "custom", "mcp", "allowed_tools"),
    ]
)
