"""`servax keys`: make, show and close the API keys in a server's database; add up their usage.

The key is printed once, by `create`; the database has its SHA-256. Running servers take a new key
and drop a revoked one within two seconds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from api.commands.database import add_command, print_table, run_command
from api.keys.tenant import ROLES

if TYPE_CHECKING:
    from api.storage.database import Database
    from api.storage.tables.keys import KeyRow

COLUMNS = (
    *("id", "project", "name", "key", "roles", "state"),
    *("requests/min", "tokens/min", "created", "expires"),
)
"""Of the table of keys; times are UTC, and limits those of the server where a key has none."""
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run one of its commands; the process's exit code.

    Raises:
        UsageError: the command line cannot be honoured.
    """
    return run_command(make_parser(environment), arguments)


async def create(database: Database, options: argparse.Namespace) -> None:
    """Make a key and print it."""
    from api.services.access.keys import NewKey, create_key

    row, key = await create_key(
        database,
        NewKey(
            name=options.name,
            project_id=options.project,
            roles=tuple(dict.fromkeys(options.role or ["inference"])),
            lifetime_s=options.expires_in,
            requests_per_minute=options.requests_per_minute,
            tokens_per_minute=options.tokens_per_minute,
        ),
    )
    sys.stderr.write(f"{row.id} of {row.project_id}; the key is not shown again:\n")
    sys.stdout.write(f"{key}\n")


async def show(database: Database, options: argparse.Namespace) -> None:
    """Print every key but its secret."""
    from api.services.access.keys import list_keys

    rows = await list_keys(database)
    print_table(COLUMNS, [_cells(row) for row in rows])


def _cells(row: KeyRow) -> tuple[str, ...]:
    return (
        row.id,
        row.project_id,
        ascii(row.name)[1:-1],
        f"…{row.hint}",
        ",".join(row.roles),
        _state(row),
        _limit(row.requests_per_minute),
        _limit(row.tokens_per_minute),
        _minute(row.created_at),
        "never" if row.expires_at is None else _minute(row.expires_at),
    )


def _limit(number: int | None) -> str:
    return "default" if number is None else str(number)


def _minute(time_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(time_s))


def _state(row: KeyRow) -> str:
    if row.revoked_at is not None:
        return "revoked"
    if row.expires_at is None:
        return "open"
    return "expired" if row.expires_at <= time.time() else "expires"


async def usage(database: Database, options: argparse.Namespace) -> None:
    """Print what each key used."""
    from api.services.access.usage import usage_by_key

    now_s = int(time.time()) + 1
    sums = await usage_by_key(database, now_s - int(options.last), now_s)
    print_table(
        ("key", "project", "requests", "prompt_tokens", "cached_tokens", "generated_tokens"),
        [
            (
                each.key_id,
                each.project_id,
                str(each.num_requests),
                str(each.num_prompt_tokens),
                str(each.num_cached_tokens),
                str(each.num_generated_tokens),
            )
            for each in sums
        ],
    )


async def revoke(database: Database, options: argparse.Namespace) -> None:
    """Close a key."""
    from api.services.access.keys import revoke_key

    row = await revoke_key(database, options.id)
    sys.stdout.write(f"{row.id} is revoked; running servers refuse it within two seconds\n")


def make_parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    """The command's parser."""
    parser = argparse.ArgumentParser(prog="servax keys", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="create|list|revoke|usage")
    making = add_command(commands, "create", create, environment, makes_database=True)
    making.add_argument("--name", default="", help="a note for yourself")
    making.add_argument(
        "--project", default="", metavar="proj_…", help="default: a new project of its own"
    )
    making.add_argument(
        "--role",
        nargs="+",
        choices=sorted(ROLES),
        help="what it may do (default: inference)",
    )
    making.add_argument(
        "--expires-in", type=duration_s, metavar="TIME", help="such as 90d, 12h (default: never)"
    )
    for name in ("requests", "tokens"):
        making.add_argument(
            f"--{name}-per-minute",
            type=positive,
            metavar="N",
            help="default: the server's --rate-limit-" + name,
        )
    add_command(commands, "list", show, environment)
    counting = add_command(commands, "usage", usage, environment)
    counting.add_argument(
        "--last", type=duration_s, default=30 * 86400.0, metavar="TIME", help="default: 30d"
    )
    closing = add_command(commands, "revoke", revoke, environment)
    closing.add_argument("id", metavar="key_…")
    return parser


def duration_s(word: str) -> float:
    """`90d`, `12h`, `30m`, `45s` in seconds."""
    number, unit = word[:-1], word[-1:]
    if unit not in UNITS_S or not number.isdigit() or not 0 < int(number) < 10**6:
        raise argparse.ArgumentTypeError(f"{word!r} is not a time such as 90d or 12h")
    return float(int(number) * UNITS_S[unit])


def positive(word: str) -> int:
    """A whole number above 0."""
    if not word.isdigit() or not 0 < int(word) < 2**53:
        raise argparse.ArgumentTypeError(f"{word!r} is not a number above 0")
    return int(word)
