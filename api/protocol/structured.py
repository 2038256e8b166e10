"""What the output must look like: `response_format`, `structured_outputs` and vLLM's `guided_*`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic

from api.protocol.base import RequestModel, Texts

Schema = dict[str, Any] | str


class JsonSchemaFormat(RequestModel):
    """`response_format.json_schema`. With and without `strict` the schema is enforced in full."""

    name: Annotated[str, pydantic.Field(min_length=1, max_length=64)]
    description: str | None = None
    schema_: Annotated[dict[str, Any] | None, pydantic.Field(alias="schema")] = None
    strict: bool | None = None


class ResponseFormat(RequestModel):
    """`response_format`: OpenAI's, and vLLM's structural tags in both their forms."""

    type: Literal["text", "json_object", "json_schema", "structural_tag"]
    json_schema: JsonSchemaFormat | None = None
    format: dict[str, Any] | None = None
    structures: list[dict[str, Any]] | None = None
    triggers: Texts | None = None


class StructuredOutputs(RequestModel):
    """`structured_outputs`: exactly one kind, and options of JSON."""

    json_: Annotated[Schema | None, pydantic.Field(alias="json")] = None
    regex: str | None = None
    choice: Texts | None = None
    grammar: str | None = None
    json_object: bool | None = None
    structural_tag: Schema | None = None
    disable_any_whitespace: bool = False
    disable_additional_properties: bool = False
    whitespace_pattern: str | None = None


class StructuredFields(RequestModel):
    """The fields of a request that ask for structure; at most one source may be given."""

    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None
    guided_json: Schema | None = None
    guided_regex: str | None = None
    guided_choice: Texts | None = None
    guided_grammar: str | None = None
    guided_whitespace_pattern: str | None = None
    guided_decoding_backend: (
        Literal["auto", "guidance", "llguidance", "xgrammar", "outlines", "lm-format-enforcer"]
        | None
    ) = None
