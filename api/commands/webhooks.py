"""`servax webhooks`: which URL is told when background work of a project ends.

The signing secret is printed once, by `add`. Deliveries are made by running servers that have
`--allowed-webhook-domains`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from api.commands.database import add_command, print_table, run_command
from api.keys.tenant import DEFAULT_PROJECT

if TYPE_CHECKING:
    from api.storage.database import Database

NO_KEYS = (
    "servax webhooks: warning: no key in this database is of {project}; "
    "unless a key of --api-key is, nothing will be told\n"
)
VARIABLE = "SERVAX_ALLOWED_WEBHOOK_DOMAINS"


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run one of its commands; the process's exit code.

    Raises:
        UsageError: it cannot be done.
    """
    return run_command(make_parser(environment), arguments)


async def add(database: Database, options: argparse.Namespace) -> None:
    """Tell a URL of a project's events."""
    from api.services.access.keys import has_keys
    from api.services.webhooks.endpoints import add_endpoint
    from api.services.webhooks.signing import spelled

    row = await add_endpoint(
        database, options.project, options.url, options.event, options.allowed_webhook_domains
    )
    if options.project != DEFAULT_PROJECT and not await has_keys(database, options.project):
        sys.stderr.write(NO_KEYS.format(project=options.project))
    sys.stderr.write(f"{row.id} of {row.project_id}; the secret is not shown again:\n")
    sys.stdout.write(f"{spelled(row.secret)}\n")


async def show(database: Database, options: argparse.Namespace) -> None:
    """Print every URL but its secret."""
    from api.services.webhooks.endpoints import list_endpoints

    rows = await list_endpoints(database)
    print_table(
        ("id", "project", "url", "events"),
        [
            (row.id, row.project_id, ascii(row.url)[1:-1], ",".join(row.event_types) or "all")
            for row in rows
        ],
    )


async def remove(database: Database, options: argparse.Namespace) -> None:
    """Tell a URL nothing more."""
    from api.services.webhooks.endpoints import remove_endpoint

    await remove_endpoint(database, options.id)
    sys.stdout.write(f"{options.id} is removed\n")


def make_parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    """The command's parser."""
    parser = argparse.ArgumentParser(prog="servax webhooks", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="add|list|remove")
    adding = add_command(commands, "add", add, environment)
    adding.add_argument("url")
    adding.add_argument("--project", required=True, metavar="proj_…")
    adding.add_argument("--event", nargs="+", default=[], metavar="TYPE", help="default: all")
    given = [part.strip() for part in environment.get(VARIABLE, "").split(",") if part.strip()]
    adding.add_argument(
        "--allowed-webhook-domains",
        nargs="+",
        default=given,
        metavar="HOST",
        help=f"as the server has it (or ${VARIABLE}): a URL it would refuse is refused here",
    )
    add_command(commands, "list", show, environment)
    removing = add_command(commands, "remove", remove, environment)
    removing.add_argument("id", metavar="wh_…")
    return parser
