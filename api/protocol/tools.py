"""Tools a model may call, and how a request says which of them (OpenAI's and the legacy form)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic

from api.protocol.base import RequestModel, by_type

MAX_TOOLS = 512
MAX_FUNCTIONS = 128
MAX_NAME_CHARACTERS = 256
MAX_DEFINITION_CHARACTERS = 256 * 1024

ToolName = Annotated[
    str,
    pydantic.Field(min_length=1, max_length=MAX_NAME_CHARACTERS, pattern=r"^[\w.:/-]+$"),
]


class FunctionDefinition(RequestModel):
    """A function: `parameters` is the JSON Schema of its arguments, an object.

    Attributes:
        strict: arguments are held to the schema while they are generated.
    """

    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FunctionTool(RequestModel):
    """A tool that is a function."""

    type: Literal["function"] = "function"
    function: FunctionDefinition


class TextFormat(RequestModel):
    """Any text."""

    type: Literal["text"]


class GrammarDefinition(RequestModel):
    """A grammar in Lark's language, or a regular expression."""

    syntax: Literal["lark", "regex"]
    definition: Annotated[str, pydantic.Field(min_length=1, max_length=MAX_DEFINITION_CHARACTERS)]


class GrammarFormat(RequestModel):
    """Text of a grammar."""

    type: Literal["grammar"]
    grammar: GrammarDefinition


CustomFormat = Annotated[
    Annotated[TextFormat, pydantic.Tag("T:text")]
    | Annotated[GrammarFormat, pydantic.Tag("T:grammar")],
    by_type("text", "grammar"),
]


class CustomDefinition(RequestModel):
    """A tool whose input is one text."""

    name: ToolName
    description: str | None = None
    format: CustomFormat | None = None


class CustomTool(RequestModel):
    """A tool that is no function."""

    type: Literal["custom"]
    custom: CustomDefinition


Tool = Annotated[
    Annotated[FunctionTool, pydantic.Tag("T:function")]
    | Annotated[CustomTool, pydantic.Tag("T:custom")],
    by_type("function", "custom"),
]
Tools = Annotated[list[Tool], pydantic.Field(min_length=1, max_length=MAX_TOOLS)]


class ToolReference(RequestModel):
    """The name of a tool."""

    name: str


class FunctionChoice(RequestModel):
    """This function and no other."""

    type: Literal["function"] = "function"
    function: ToolReference

    @property
    def reference(self) -> tuple[str, str]:
        """Type and name of the tool."""
        return "function", self.function.name


class CustomChoice(RequestModel):
    """This custom tool and no other."""

    type: Literal["custom"]
    custom: ToolReference

    @property
    def reference(self) -> tuple[str, str]:
        """Type and name of the tool."""
        return "custom", self.custom.name


OneTool = Annotated[
    Annotated[FunctionChoice, pydantic.Tag("T:function")]
    | Annotated[CustomChoice, pydantic.Tag("T:custom")],
    by_type("function", "custom"),
]


class AllowedTools(RequestModel):
    """Some of the tools; `required` wants at least one call."""

    mode: Literal["auto", "required"]
    tools: Annotated[list[OneTool], pydantic.Field(min_length=1, max_length=MAX_TOOLS)]


class AllowedToolsChoice(RequestModel):
    """Only some of the tools."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


ToolChoice = (
    Literal["none", "auto", "required"]
    | Annotated[
        Annotated[FunctionChoice, pydantic.Tag("T:function")]
        | Annotated[CustomChoice, pydantic.Tag("T:custom")]
        | Annotated[AllowedToolsChoice, pydantic.Tag("T:allowed_tools")],
        by_type("function", "custom", "allowed_tools"),
    ]
)
Functions = Annotated[
    list[FunctionDefinition], pydantic.Field(min_length=1, max_length=MAX_FUNCTIONS)
]
FunctionCallChoice = Literal["none", "auto"] | ToolReference
