"""Structural tags: free text with constrained parts, in vLLM's two forms, as Lark.

The older form has `triggers` and `structures` (begin, schema, end): text is free until a trigger
was written, then one of the structures that begin so must follow. The newer one is a tree of
formats (xgrammar's documentation of structural tags is the specification).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, cast

from llguidance import regex_to_lark

from engine.grammar.sources import quoted

MAX_NODES = 1_000
MAX_DEPTH = 32
ANY_TEXT = "/(?s:.*)/"

Node = Mapping[str, Any]


def from_structural_tag(tag: Any, special_ids: Mapping[str, int]) -> str:
    """Lark of a structural tag (an object or its text).

    Args:
        special_ids: special tokens by their text: where one is written, that very token is meant.

    Raises:
        ValueError: a part is missing, unknown or of the wrong type.
    """
    known = json.loads(tag) if isinstance(tag, str) else tag
    if not isinstance(known, Mapping):
        raise ValueError("a structural tag is an object")
    writer = _Writer(special_ids)
    node = _legacy(cast(Node, known)) if "structures" in known else _field(known, "format", Mapping)
    writer.rules.append(f"start: {writer.write(node, 0)}")
    return "%llguidance {}\n" + "\n".join(writer.rules)


def _legacy(tag: Node) -> Node:
    structures = _field(tag, "structures", list)
    tags = [
        {
            "begin": _field(structure, "begin", str),
            "content": {"type": "json_schema", "json_schema": structure.get("schema") or {}},
            "end": _field(structure, "end", str),
        }
        for structure in structures
        if isinstance(structure, Mapping)
    ]
    return {"type": "triggered_tags", "triggers": _field(tag, "triggers", list), "tags": tags}


def _field(node: Any, name: str, kind: type[Any]) -> Any:
    if not isinstance(node, Mapping) or not isinstance(cast(Node, node).get(name), kind):
        names = {str: "a string", list: "an array", Mapping: "an object"}
        raise ValueError(f"'{name}' must be {names[kind]}")
    return cast(Node, node)[name]


class _Writer:
    """Collects rules; `write` gives the expression of a node."""

    def __init__(self, special_ids: Mapping[str, int]) -> None:
        self.rules: list[str] = []
        self._special_ids = special_ids
        self._num_nodes = 0

    def write(self, node: Any, depth: int) -> str:
        """The expression of a node, in parentheses where it needs them."""
        self._num_nodes += 1
        if self._num_nodes > MAX_NODES or depth > MAX_DEPTH:
            raise ValueError("it has too many parts or is nested too deeply")
        kind = _field(node, "type", str)
        write = _KINDS.get(kind)
        if write is None:
            raise ValueError(f"a format of type '{kind[:64]}' is not known")
        return write(self, cast(Node, node), depth + 1)

    def rule(self, body: str, attributes: str = "") -> str:
        """The name of a new rule."""
        name = f"part_{len(self.rules)}"
        self.rules.append(f"{name}{attributes}: {body}")
        return name

    def text(self, text: str) -> str:
        """An exact text, special tokens in it as such."""
        found = sorted((text.find(piece), piece) for piece in self._special_ids if piece in text)
        if not found:
            return quoted(text) if text else ""
        place, piece = found[0]
        middle = f"<[{self._special_ids[piece]}]>"
        after = self.text(text[place + len(piece) :])
        return f"{self.text(text[:place])} {middle} {after}".strip()

    def text_until(self, ending: str) -> str:
        """Any text up to the first `ending`, and that."""
        if ending in self._special_ids:
            return self.rule(f"{self.rule(ANY_TEXT)} {self.text(ending)}")
        return self.rule(f"{ANY_TEXT} {quoted(ending)}", "[lazy]")

    def constant(self, node: Node, _: int) -> str:
        return self.rule(self.text(_field(node, "value", str)) or '""')

    def any_text(self, _: Node, __: int) -> str:
        return self.rule(ANY_TEXT)

    def json_schema(self, node: Node, _: int) -> str:
        schema = node.get("json_schema", {})
        if not isinstance(schema, Mapping):
            raise ValueError("'json_schema' must be an object")
        return self.rule(f"%json {json.dumps(schema)}")

    def regex(self, node: Node, _: int) -> str:
        return self.rule(f"/{regex_to_lark(_field(node, 'pattern', str), '')}/")

    def sequence(self, node: Node, depth: int) -> str:
        parts = [self.write(part, depth) for part in _field(node, "elements", list)]
        return self.rule(" ".join(parts) or '""')

    def either(self, node: Node, depth: int) -> str:
        parts = [self.write(part, depth) for part in _field(node, "elements", list)]
        if not parts:
            raise ValueError("'elements' must not be empty")
        return self.rule(" | ".join(parts))

    def tag(self, node: Node, depth: int, written: str = "") -> str:
        """`written` is what of `begin` the trigger was."""
        begin = self.text(_field(node, "begin", str)[len(written) :])
        end, content = _field(node, "end", str), _field(node, "content", Mapping)
        if content.get("type") == "any_text" and end:
            return self.rule(f"{begin} {self.text_until(end)}")
        return self.rule(f"{begin} {self.write(content, depth)} {self.text(end)}")

    def triggered_tags(self, node: Node, depth: int) -> str:
        tags = _field(node, "tags", list)
        options: list[str] = []
        for trigger in _field(node, "triggers", list):
            if not isinstance(trigger, str) or not trigger:
                raise ValueError("'triggers' must be texts")
            begun = [tag for tag in tags if _field(tag, "begin", str).startswith(trigger)]
            if begun:
                bodies = " | ".join(self.tag(tag, depth, trigger) for tag in begun)
                options.append(f"{self.text_until(trigger)} ({bodies})")
        if not options:
            raise ValueError("no tag begins with one of 'triggers'")
        one = self.rule(" | ".join(options))
        first = one if node.get("at_least_one") else f"{one}?"
        if node.get("stop_after_first"):
            return self.rule(f"{first}" if node.get("at_least_one") else f"{one} | {ANY_TEXT}")
        return self.rule(f"{first} {one}* {self.rule(ANY_TEXT)}")

    def separated_tags(self, node: Node, depth: int) -> str:
        tags = " | ".join(self.tag(tag, depth) for tag in _field(node, "tags", list))
        one = self.rule(tags or '""')
        many = (
            one
            if node.get("stop_after_first")
            else self.rule(f"{one} ({self.text(_field(node, 'separator', str))} {one})*")
        )
        return many if node.get("at_least_one") else self.rule(f"{many}?")


_KINDS: dict[str, Callable[[_Writer, Node, int], str]] = {
    "const_string": _Writer.constant,
    "any_text": _Writer.any_text,
    "json_schema": _Writer.json_schema,
    "regex": _Writer.regex,
    "sequence": _Writer.sequence,
    "or": _Writer.either,
    "tag": _Writer.tag,
    "triggered_tags": _Writer.triggered_tags,
    "tags_with_separator": _Writer.separated_tags,
}
