"""Strings as raw text: what a schema says of one, as regular expressions that all must hold."""

from __future__ import annotations

import re
from collections.abc import Sequence

from api.parsers.schema import Schema
from api.parsers.tools.grammar import ANY_TEXT, GrammarWriter, escaped

_DATE = (
    r"[0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    r"|02-(0[1-9]|[12][0-9]))"
)
_HOUR = r"([01][0-9]|2[0-3])"
_TIME = rf"{_HOUR}:[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?([zZ]|[+-]{_HOUR}:[0-5][0-9])"
_BYTE = r"(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_LABEL = r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_HOST = rf"{_LABEL}(\.{_LABEL})*"
_DAYS = r"[0-9]+Y([0-9]+M([0-9]+D)?)?|[0-9]+M([0-9]+D)?|[0-9]+D"
_CLOCK = r"T([0-9]+H([0-9]+M([0-9]+S)?)?|[0-9]+M([0-9]+S)?|[0-9]+S)"
_ATOM = r"[a-zA-Z0-9!#$%&'*+\-=?^_`{|}~]+"
_URI_TEXT = r"([a-zA-Z0-9\-._~!$&'()*+,;=:@?\/]|%[0-9a-fA-F]{2})*"
_HEX = r"[0-9a-fA-F]"


def _ipv6() -> str:
    """Eight groups, or two runs of at most seven in all with `::` between them."""
    group = rf"{_HEX}{{1,4}}"
    cut = (rf"({group}:){{1,{n}}}(:{group}){{1,{7 - n}}}" for n in range(1, 7))
    return "|".join([rf"({group}:){{7}}{group}", rf"({group}:){{1,7}}:", *cut,
                     rf":(:{group}){{1,7}}", "::"])  # fmt: skip


FORMATS = {
    "date": _DATE,
    "time": _TIME,
    "date-time": rf"{_DATE}[tT]{_TIME}",
    "duration": rf"P([0-9]+W|({_DAYS})({_CLOCK})?|{_CLOCK})",
    "email": rf"{_ATOM}(\.{_ATOM})*@{_HOST}",
    "hostname": _HOST,
    "ipv4": rf"({_BYTE}\.){{3}}{_BYTE}",
    "ipv6": _ipv6(),
    "uuid": rf"{_HEX}{{8}}-({_HEX}{{4}}-){{3}}{_HEX}{{12}}",
    "uri": rf"[a-zA-Z][a-zA-Z0-9+\-.]*:{_URI_TEXT}(#{_URI_TEXT})?",
}
"""Those of llguidance for JSON; some leave out what is rare, as an address in brackets."""


def raw_regexes(schema: Schema) -> list[str]:
    """Regular expressions of the whole text, all of which hold; none for any text.

    Raises:
        KeyError: the format is not known.
    """
    found: list[str] = []
    pattern, low, high = schema.get("pattern"), schema.get("minLength", 0), schema.get("maxLength")
    if isinstance(pattern, str):
        found.append(anchored(pattern))
    if low or high is not None:
        most = "" if high is None else int(high)
        found.append(rf"(.|\n){{{int(low)},{most}}}")
    if schema.get("format", "unknown") != "unknown":
        found.append(FORMATS[schema["format"]])
    return found


def ended_text(writer: GrammarWriter, regexes: Sequence[str], end: str) -> str:
    """The expression of a text that all the regular expressions match, and `end` after it.

    The end's marker is not in the text, where whoever reads it would see the end.
    """
    first, *rest = writer.pieces(end)
    if not regexes:
        return writer.ended(ANY_TEXT[1:-1], end)
    parts = [f"/{regex}/" for regex in regexes]
    if not rest:
        parts.append(f"~/(.|\\n)*{escaped(end.strip())}(.|\\n)*/")
    text = writer.terminal(f"({' & '.join(parts)}) {writer.literal(first)}")
    attributes = "" if rest else "[lazy]"
    return f"{writer.rule(text, attributes)} {writer.literal(''.join(rest))}"


def anchored(pattern: str) -> str:
    """A JSON schema's pattern, which may match anywhere, as a regex of the whole text."""
    head = "" if pattern.startswith("^") else r"(.|\n)*"
    tail = "" if re.search(r"(?<!\\)(\\\\)*\$$", pattern) else r"(.|\n)*"
    inner = pattern.removeprefix("^")
    inner = inner if tail else inner.removesuffix("$")
    return re.sub(r"(?<!\\)/", r"\/", f"{head}({inner}){tail}")
