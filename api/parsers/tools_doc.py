"""`docs/tools.md` from the tables: `python -m api.parsers.tools_doc > docs/tools.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence

from api.parsers.reasoning import ALIASES as REASONING_ALIASES
from api.parsers.reasoning import FORMATS as REASONING_FORMATS
from api.parsers.reasoning import UNSUPPORTED as NO_REASONING
from api.parsers.tools import ALIASES as TOOL_ALIASES
from api.parsers.tools import FORMATS as TOOL_FORMATS
from api.parsers.tools import UNSUPPORTED as NO_TOOLS

HEAD = """# Tool calls and reasoning

This page is made from the tables in `api/parsers` by `python -m api.parsers.tools_doc`.

Each model writes calls and thoughts in its own format. The format is chosen by the chat template
and the model's type; `--tool-call-parser NAME` and `--reasoning-parser NAME` choose another.

- Streams and whole answers are read by the same code; arguments stream while they are written.
- Text that is not quite a call is content, complete and in its place. A call that has begun keeps
  what it has: broken JSON from the model is broken JSON in `arguments`. Sent back, in messages or
  items, it does not end the conversation: the template is given `{"input": "the text"}`.
- White space beside calls, and newlines beside the tags of thoughts, belong to the format.
- Formats that write arguments as text (tags, Python, Gemma) give JSON by the tool's schema.
- Thoughts are recognised at the beginning of an answer only; a `<think>` further on is text.
- Formats without a marker (`llama3_json`, `pythonic`, `xlam`) see a call only at the beginning of
  an answer, and only of a tool that the request declares.

`tool_choice` `required` and named, and `strict`, are enforced by a grammar in the model's own
format. In a format whose arguments are text, a schema must be an object with named properties, and
these come in their order; a custom tool's Lark grammar needs such a format, its regex works in all.
Strings are held there to all of `enum`, `const`, `pattern`, `format`, `minLength` and `maxLength`,
also where `$ref`, `allOf`, `anyOf` or `oneOf` say so. What a text cannot be held to counts as what
cannot be enforced: a `oneOf` whose alternatives do not exclude each other, a `pattern` or `format`
beside `enum`, bounds of a number where a string may stand as well, an `allOf` that gives one word
two meanings.

A schema with `strict` is enforced whole or refused with 400. A call that is forced without `strict`
is held to all of its schema that can be enforced: words that cannot be (`uniqueItems`, `not`, `if`,
`contains`, a `format` or a `pattern` that llguidance does not know, …) are left out, wherever they
are, and named in the `warning` header with their place. If it cannot be enforced even so, it is 400
`invalid_grammar` that names the tool.

## Tool call formats

| name | models | one call | reasoning |
|---|---|---|---|
"""


def make_page() -> str:
    """The whole page."""
    return "".join((HEAD, *_tools(), *_reasoning()))


def _tools() -> Iterator[str]:
    for row in sorted(TOOL_FORMATS, key=lambda row: row.name):
        sample = row.sample.replace("|", "\\|").replace("\n", "⏎")
        partner = f"`{row.partner}`" if row.partner else ""
        code = f"`` {sample} ``" if "`" in sample else f"`{sample}`"
        yield f"| {_names(row.name, TOOL_ALIASES)} | {row.models} | {code} | {partner} |\n"
    yield _unknown(NO_TOOLS)


def _reasoning() -> Iterator[str]:
    yield "\n## Reasoning formats\n\n| name | models | thoughts | the answer begins within |\n"
    yield "|---|---|---|---|\n"
    for row in sorted(REASONING_FORMATS, key=lambda row: row.name):
        tags = f"`{row.start}` … `{row.end}`".replace("|", "\\|")
        opens = "thoughts" if row.is_open_by_default else "thoughts if the prompt opened them"
        yield f"| {_names(row.name, REASONING_ALIASES)} | {row.models} | {tags} | {opens} |\n"
    yield _unknown(NO_REASONING)


def _names(name: str, aliases: Mapping[str, str]) -> str:
    return ", ".join(
        f"`{one}`" for one in (name, *(key for key, to in aliases.items() if to == name))
    )


def _unknown(names: Sequence[str]) -> str:
    return f"\nNames of vLLM's that are refused: {', '.join(f'`{name}`' for name in names)}.\n"


if __name__ == "__main__":
    sys.stdout.write(make_page())
