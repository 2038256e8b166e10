"""`docs/flags.md` from the table of flags: `python -m api.flags.document > docs/flags.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from api.cli import COMMANDS
from api.flags import FLAGS, Flag
from api.flags import known as known_flags
from api.flags.parser import environment_name
from api.settings import ServerSettings
from engine.config import EngineConfig

HEAD = """# Flags of `servax serve`

`servax serve [MODEL] [flags]`. This page is made from the table in `api/flags` by
`python -m api.flags.document`.

Names and meanings are vLLM's where vLLM has the flag. Underscores work for dashes, on/off flags
have a `--no-` form, sizes take suffixes (`16k` is 16 000, `16K` is 16 384, `1.5M` is 1 572 864),
and flags that take JSON also take `--flag.key value`. `--config FILE` reads a YAML mapping of
flags without their dashes. Each flag can be set by the environment variable named with it. The
command line wins over the file, and the file over the environment.
"""

KNOWN_HEAD = """
## Known without effect

These flags of vLLM are accepted with one warning line, so that a command line written for vLLM
starts. Any other flag is an error.
"""


def make_page() -> str:
    """The whole page."""
    return "".join((*_commands(), HEAD, *_groups(), *_known()))


def _commands() -> Iterator[str]:
    yield "# Commands\n\n| command | what |\n|---|---|\n"
    for name, command in COMMANDS.items():
        yield f"| `servax {name} {command.usage}` | {_escape(command.summary)} |\n"
    yield "\n"


def _groups() -> Iterator[str]:
    for group in dict.fromkeys(flag.group for flag in FLAGS):
        yield f"\n## {group}\n\n| flag | default | environment | meaning |\n|---|---|---|---|\n"
        for flag in FLAGS:
            if flag.group == group:
                yield _row(flag)


def _row(flag: Flag) -> str:
    spellings = ", ".join(f"`{name}`" for name in (f"--{flag.name}", *flag.short))
    label = f" `{_escape(flag.kind.label)}`" if flag.kind.label else ""
    variables = ", ".join(f"`{name}`" for name in (environment_name(flag), *flag.environment))
    return f"| {spellings}{label} | {_default(flag)} | {variables} | {_escape(flag.help)} |\n"


def _default(flag: Flag) -> str:
    record, _, attribute = flag.fields[0].partition(".")
    value: Any = getattr(ServerSettings() if record == "server" else EngineConfig(), attribute)
    if value is None or value in ("", (), {}):
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return f"`{' '.join(str(item) for item in value)}`"  # pyright: ignore[reportUnknownArgumentType]
    return f"`{value}`"


def _escape(text: str) -> str:
    return text.replace("|", "\\|")


def _known() -> Iterator[str]:
    yield KNOWN_HEAD
    yield "\nServax always does this: " + _list(known_flags.ALWAYS_ON) + ".\n"
    yield "\nOn or off: " + _list(known_flags.BOOLEANS - known_flags.ALWAYS_ON) + ".\n"
    yield "\nWith values: " + _list(known_flags.VALUES) + ".\n"
    yield "\nWith these values only:\n\n"
    for name, values in known_flags.ONLY.items():
        yield f"- `--{name}`: {', '.join(values)}\n"
    yield "\nRefused:\n\n"
    for name, reason in known_flags.REFUSED.items():
        yield f"- `--{name}`: {reason}\n"


def _list(names: frozenset[str]) -> str:
    return ", ".join(f"`--{name}`" for name in sorted(names))


if __name__ == "__main__":
    sys.stdout.write(make_page())
