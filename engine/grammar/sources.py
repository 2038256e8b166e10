"""From what a client may write to a grammar in llguidance's form.

JSON schema, regular expression, choice, Lark and GBNF (llama.cpp's EBNF, which vLLM takes too).
Nothing is compiled here; `engine.grammar.compile` says whether it can be enforced.
"""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any, cast

from llguidance import LLMatcher
from llguidance.gbnf_to_lark import gbnf_to_lark

MAX_CHOICES = 20_000
MAX_GBNF_CHARACTERS = 64 * 1024
"""It is converted in Python; the other forms are read by llguidance itself."""
MAX_SCHEMA_DEPTH = 128

JSON_OBJECT: dict[str, Any] = {"type": "object"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JsonOptions:
    """How JSON may be laid out, and what a schema leaves open.

    Attributes:
        any_whitespace: whitespace is allowed wherever JSON allows it.
        additional_properties: objects may have properties their schema does not name, unless it
            says otherwise.
        whitespace_pattern: a regular expression for whitespace; None is any amount.
    """

    any_whitespace: bool = True
    additional_properties: bool = True
    whitespace_pattern: str | None = None


def from_json_schema(schema: Any, options: JsonOptions | None = None) -> str:
    """A JSON value that is valid against `schema` (an object, a boolean, or their text).

    Raises:
        ValueError: it is no JSON, or nested too deeply.
    """
    options = options or JsonOptions()
    schema = json.loads(schema) if isinstance(schema, str) else schema
    if not isinstance(schema, dict | bool):
        raise ValueError("a JSON schema is an object or a boolean")
    _verify_depth(schema)
    if not options.additional_properties:
        schema = _closed(schema)
    chosen: dict[str, Any] = {"whitespace_flexible": options.any_whitespace}
    if options.whitespace_pattern is not None:
        chosen["whitespace_pattern"] = options.whitespace_pattern
    # A client's own "x-guidance" must not undo what was asked for by name, nor be lenient.
    overrides = {**chosen, "lenient": False}
    return LLMatcher.grammar_from_json_schema(
        json.dumps({"allOf": [schema]} if isinstance(schema, bool) else schema),
        overrides=cast(Any, overrides),
    )


def from_regex(pattern: str) -> str:
    """A text that the whole of `pattern` matches (Rust's syntax, without look-around)."""
    return LLMatcher.grammar_from_regex(pattern)


def from_choice(choices: list[str]) -> str:
    """One of these texts.

    Raises:
        ValueError: there is none, or there are too many.
    """
    if not choices:
        raise ValueError("there is nothing to choose from")
    if len(choices) > MAX_CHOICES:
        raise ValueError(f"{len(choices)} choices are more than {MAX_CHOICES}")
    return "start: " + " | ".join(quoted(choice) for choice in dict.fromkeys(choices))


def from_grammar(text: str) -> str:
    """A text of the language of a Lark grammar (from `start`) or a GBNF grammar (from `root`).

    Raises:
        ValueError: it is neither.
    """
    if is_gbnf(text):
        text = _lark_of_gbnf(text)
    return text


def is_gbnf(text: str) -> bool:
    """Whether rules are written with `::=`, which Lark does not know."""
    return re.search(r"(?m)^\s*[\w-]+\s*::=", text) is not None


def quoted(text: str) -> str:
    """A text as a string of Lark."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\x7f")


def _lark_of_gbnf(text: str) -> str:
    if len(text) > MAX_GBNF_CHARACTERS:
        raise ValueError(f"a GBNF grammar has at most {MAX_GBNF_CHARACTERS} characters")
    try:
        return gbnf_to_lark(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except Exception as error:
        raise ValueError(str(error)[:200]) from None


def _verify_depth(schema: Any) -> None:
    level = [schema]
    for _ in range(MAX_SCHEMA_DEPTH):
        level = [child for value in level for child in _children(value)]
        if not level:
            return
    raise ValueError(f"it is nested more than {MAX_SCHEMA_DEPTH} levels deep")


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(cast(dict[str, Any], value).values())
    return cast(list[Any], value) if isinstance(value, list) else []


def _closed(schema: Any) -> Any:
    """The schema with `additionalProperties: false` wherever an object's schema says nothing."""
    if isinstance(schema, list):
        return [_closed(item) for item in cast(list[Any], schema)]
    if not isinstance(schema, dict):
        return schema
    known = cast(dict[str, Any], schema)
    closed = {name: _closed(value) for name, value in known.items()}
    is_object = known.get("type") == "object" or isinstance(known.get("properties"), dict)
    if is_object and "patternProperties" not in known:
        closed.setdefault("additionalProperties", False)
    return closed
