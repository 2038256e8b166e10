"""Grammars that force calls in a model's own format, in llguidance's Lark.

Formats say what a call looks like in plain text and rules; markers that are one special token
are written as such (`<[id]>`), for their text alone would never match it.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from api.parsers.tool_spec import ToolSpec
from engine.errors import InvalidParameterError

ANY_TEXT = r"/(.|\n)*/"
_MAX_PARTS = 2048
# without a bound a model can lose itself in white space
_JSON_OPTIONS = {"whitespace_pattern": r"[ \n]{0,8}"}
_SPECIAL_IN_REGEX = re.compile(r"[][.^$*+?{}\\|()/]")


class GrammarWriter:
    """Collects the rules of one grammar.

    Attributes:
        format_name: for error messages.
    """

    def __init__(self, format_name: str, special_tokens: Mapping[str, int]) -> None:
        self.format_name = format_name
        self._special = special_tokens
        self._rules: list[str] = []
        self._num_parts = 0
        self._parts: list[dict[str, str]] = []
        names = sorted(special_tokens, key=len, reverse=True)
        self._splitter = re.compile("(" + "|".join(map(re.escape, names)) + ")") if names else None

    def literal(self, text: str) -> str:
        """The expression of exactly this text."""
        return " ".join(self._piece(piece) for piece in self.pieces(text) if piece)

    def pieces(self, text: str) -> list[str]:
        """Plain text and special tokens in turn; plain text, which may be empty, comes first."""
        return self._splitter.split(text) if self._splitter else [text]

    def _piece(self, text: str) -> str:
        if text in self._special:
            return f"<[{self._special[text]}]>"
        return json.dumps(text, ensure_ascii=False)

    def is_special(self, text: str) -> bool:
        """Whether the text is one special token."""
        return text in self._special

    def json(self, schema: Mapping[str, Any]) -> str:
        """The expression of a JSON value by its schema."""
        return self.rule("%json " + json.dumps({**schema, "x-guidance": _JSON_OPTIONS}))

    def json_arguments(self, tool: ToolSpec) -> str:
        """The expression of a call's arguments as a JSON object.

        Raises:
            InvalidParameterError: its input has a grammar, which JSON strings cannot follow.
        """
        if tool.input_lark is not None:
            raise self.refuse(tool, "its input stands in a JSON string; a regex would do")
        return self.json(tool.schema)

    def ended(self, body: str, end: str) -> str:
        """The expression of the shortest text of a regex that `end` follows, with it.

        A special token in `end` ends the text by itself; what comes before it is part of the text.
        """
        pieces = self.pieces(end)
        regex = f"/{body}{escaped(pieces[0])}/"
        if len(pieces) == 1:
            return self.rule(regex, "[lazy]")
        return f"{self.rule(regex)} {self.literal(end[len(pieces[0]) :])}"

    def rule(self, body: str, attributes: str = "") -> str:
        """Add a rule; its name. Only a rule may hold `%json` or be lazy."""
        name = f"r{len(self._rules)}"
        self._rules.append(f"{name}{attributes}: {body}")
        return name

    def terminal(self, body: str) -> str:
        """Add a terminal; its name. Only a terminal may hold `&` and `~`."""
        name = f"T{len(self._rules)}"
        self._rules.append(f"{name}: {body}")
        return name

    def lark(self, grammar: str) -> str:
        """The expression of what another grammar admits."""
        name = f"g{len(self._parts)}"
        self._parts.append({"name": name, "lark_grammar": grammar})
        return "@" + name

    def count_part(self, tool: ToolSpec) -> None:
        """One more part of a tool's schema is written down.

        Raises:
            InvalidParameterError: there are too many, as when definitions multiply each other.
        """
        self._num_parts += 1
        if self._num_parts > _MAX_PARTS:
            raise self.refuse(tool, f"its schema has more than {_MAX_PARTS} parts")

    def refuse(self, tool: ToolSpec, why: str) -> InvalidParameterError:
        """The error of a tool that cannot be enforced."""
        return InvalidParameterError(
            f"The arguments of tool '{tool.name}' cannot be enforced in the tool call format "
            f"'{self.format_name}' of this model: {why}.",
            param="tools",
        )

    def text(self, start: str) -> str:
        """The whole grammar, as llguidance takes it."""
        lark = "\n".join(["%llguidance {}", f"start: {start}", *self._rules, ""])
        if not self._parts:
            return lark
        main = {"name": "main", "lark_grammar": lark}
        return json.dumps({"grammars": [main, *self._parts]})


def escaped(text: str) -> str:
    """The regex of exactly this text."""
    return _SPECIAL_IN_REGEX.sub(r"\\\g<0>", text).replace("\n", r"\n")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CallGrammar:
    """What an answer with calls is made of: `begin open call close (between open
    call close)* end`.

    Attributes:
        call: the expression of one call of a tool, what comes after `open`.
        trigger: the marker at which text ends and calls begin: the beginning of `begin open`;
            "" for formats without one.
        begin, open, close, between, end: plain text around the calls.
        not_text: regex of the first character with which an answer that is no call may begin,
            for formats without a trigger.
        lead: the expression of what may come before the first call.
        within: the expression of text that may have calls in it, told that of a trigger with what
            follows; None: text and calls in turn.
        is_single: an answer has one call at most.
        newer: another shape, for tokenizers that have this special token.
    """

    call: Callable[[GrammarWriter, ToolSpec], str]
    trigger: str = ""
    begin: str = ""
    open: str = ""
    close: str = ""
    between: str = ""
    end: str = ""
    not_text: str = ""
    lead: Callable[[GrammarWriter], str] = lambda writer: r"/\n{0,2}/"
    within: Callable[[GrammarWriter, str], str] | None = None
    is_single: bool = False
    newer: tuple[str, CallGrammar] | None = None


def write_grammar(
    format_name: str,
    shape: CallGrammar,
    tools: Sequence[ToolSpec],
    *,
    at_least_one: bool,
    parallel: bool,
    special_tokens: Mapping[str, int],
) -> str:
    """The grammar of answers that call `tools`; see `ToolFormat.grammar`."""
    if shape.newer is not None and shape.newer[0] in special_tokens:
        shape = shape.newer[1]
    writer = GrammarWriter(format_name, special_tokens)
    expressions = " | ".join(_call(shape, writer, tool) for tool in tools)
    call = writer.rule(f"({expressions}) {writer.literal(shape.close)}")
    parallel = parallel and not shape.is_single
    calls = [writer.literal((shape.begin + shape.open).removeprefix(shape.trigger)), call]
    if parallel and (at_least_one or shape.begin):
        calls.append(f"({writer.literal(shape.between + shape.open)} {call})*")
    calls.append(writer.literal(shape.end))
    after_trigger = writer.rule(" ".join(filter(None, calls)))
    if at_least_one:
        return writer.text(f"{shape.lead(writer)} {writer.literal(shape.trigger)} {after_trigger}")
    return writer.text(_within_text(writer, shape, after_trigger, parallel))


def _call(shape: CallGrammar, writer: GrammarWriter, tool: ToolSpec) -> str:
    try:
        return shape.call(writer, tool)
    except (AttributeError, RecursionError, TypeError, ValueError):
        # a schema may have anything anywhere: a number for a list, a name that names itself
        raise writer.refuse(tool, "its schema is not a valid JSON schema") from None


def _within_text(
    writer: GrammarWriter, shape: CallGrammar, after_trigger: str, parallel: bool
) -> str:
    """Text with calls in it: from a trigger on only calls fit."""
    if shape.within is not None:
        return shape.within(writer, f"{writer.literal(shape.trigger)} {after_trigger}")
    if not shape.trigger:
        return rf"{after_trigger} | /(\s*{shape.not_text}(.|\n)*)?/"
    trigger = writer.ended(r"(.|\n)*", shape.trigger)
    section = f"({trigger} {after_trigger})"
    return f"{section}* {ANY_TEXT}" if parallel else f"{section} | {ANY_TEXT}"
