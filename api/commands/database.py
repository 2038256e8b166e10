"""What commands have in common that work on a server's database without the server."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from api.errors import APIError
from api.flags.parser import UsageError
from api.settings import ServerSettings
from engine.errors import SetupError

if TYPE_CHECKING:
    from api.storage.database import Database

Run = Callable[["Database", argparse.Namespace], Awaitable[None]]


def add_command(
    commands: Any,
    name: str,
    run: Run,
    environment: Mapping[str, str],
    *,
    makes_database: bool = False,
) -> argparse.ArgumentParser:
    """A subcommand that does `run`, with the flags that name the database, which must be there
    unless it `makes_database`."""
    parser = commands.add_parser(name, description=run.__doc__, help=run.__doc__)
    parser.set_defaults(run=run, makes_database=makes_database)
    for flag, help_text in (("data-dir", "folder"), ("database-url", "database")):
        variable = "SERVAX_" + flag.upper().replace("-", "_")
        parser.add_argument(
            f"--{flag}",
            default=environment.get(variable, ""),
            help=f"the server's {help_text}, as it is told to servax serve (or ${variable})",
        )
    return parser


def run_command(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> int:
    """Run what the words name; the process's exit code.

    Raises:
        UsageError: it cannot be done.
    """
    options = parser.parse_args(arguments)
    try:
        asyncio.run(_run(options))
    except (APIError, SetupError) as error:
        raise UsageError(str(error)) from None
    return 0


async def _run(options: argparse.Namespace) -> None:
    from api.storage.store import open_storage

    settings = ServerSettings(data_dir=options.data_dir, database_url=options.database_url)
    storage = await open_storage(settings, makes_it=options.makes_database)
    try:
        await options.run(storage.database, options)
    finally:
        await storage.close()


def print_table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows under their names, in columns."""
    lines = [columns, *rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        sys.stdout.write("  ".join(padded).rstrip() + "\n")
