"""The `servax` command. Each subcommand is imported when it is called; help and `docs/flags.md`
are made of the one table `COMMANDS`."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Sequence

EXIT_USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the process's exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in {"-h", "--help", "help"}:
        sys.stdout.write(usage())
        return 0 if words else EXIT_USAGE
    if words[0] in {"-V", "--version", "version"}:
        return print_version()
    command = COMMANDS.get(words[0])
    if command is None:
        return complain("servax", f"unknown command {words[0]!r}; try servax --help")
    return command.run(words[1:])


def print_version() -> int:
    """Print the version."""
    from api.version import server_version

    sys.stdout.write(f"servax {server_version()}\n")
    return 0


def serve(arguments: list[str]) -> int:
    """`servax serve`."""
    from api.flags.parser import UsageError, parse_choices

    try:
        choices = parse_choices(arguments, os.environ)
    except UsageError as error:
        return complain("servax serve", str(error))

    from api.logs import set_up_logging

    set_up_logging(choices.server.log_level)
    import logging

    for warning in choices.warnings:
        logging.getLogger("servax").warning("%s", warning)

    from api.serve import run

    return run(choices.server, choices.engine)


def chat(arguments: list[str]) -> int:
    """`servax chat`."""
    from api.commands.chat import main as chat_main

    return chat_main(arguments)


def complete(arguments: list[str]) -> int:
    """`servax complete`."""
    from api.commands.complete import main as complete_main

    return complete_main(arguments)


def run_batch(arguments: list[str]) -> int:
    """`servax run-batch`."""
    from api.commands.run_batch import main as batch_main
    from api.flags.parser import UsageError

    try:
        return batch_main(arguments)
    except UsageError as error:
        return complain("servax run-batch", str(error))


def keys(arguments: list[str]) -> int:
    """`servax keys`."""
    from api.commands.keys import main as keys_main
    from api.flags.parser import UsageError

    try:
        return keys_main(arguments, os.environ)
    except UsageError as error:
        return complain("servax keys", str(error))


def webhooks(arguments: list[str]) -> int:
    """`servax webhooks`."""
    from api.commands.webhooks import main as webhooks_main
    from api.flags.parser import UsageError

    try:
        return webhooks_main(arguments, os.environ)
    except UsageError as error:
        return complain("servax webhooks", str(error))


def bench(arguments: list[str]) -> int:
    """`servax bench`: runs `python -m bench` of the checkout around this package, if any."""
    import pathlib
    import subprocess

    root = pathlib.Path(__file__).resolve().parent.parent
    if not (root / "bench" / "__main__.py").is_file():
        return complain(
            "servax bench",
            "the benchmarks are not part of the installed package; "
            "run this from a checkout of the repository",
        )
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(command, cwd=root, check=False).returncode


def complain(program: str, message: str) -> int:
    """Print an error as usual on Unix; the exit code for wrong usage."""
    sys.stderr.write(f"{program}: error: {message}\n")
    return EXIT_USAGE


@dataclasses.dataclass(frozen=True)
class Command:
    """One subcommand.

    Attributes:
        usage: what is typed after its name.
        summary: one line of help.
        run: takes the words after the name; gives the exit code.
    """

    usage: str
    summary: str
    run: Callable[[list[str]], int]


COMMANDS = {
    "serve": Command("[MODEL] [flags]", "serve a model behind an OpenAI-compatible API", serve),
    "chat": Command("[--url URL]", "talk to a server in the terminal", chat),
    "complete": Command(
        "[--url URL] [-q PROMPT]", "have a server continue prompts in the terminal", complete
    ),
    "run-batch": Command(
        "-i IN -o OUT [flags]", "answer a file of requests without a server", run_batch
    ),
    "keys": Command("create|list|revoke|usage", "API keys of a database, and what they used", keys),
    "webhooks": Command(
        "add|list|remove", "URLs that are told when background work ends", webhooks
    ),
    "bench": Command("NAME [arguments]", "run a benchmark (from a checkout)", bench),
}


def usage() -> str:
    """What `servax --help` prints."""
    heads = {f"{name} {command.usage}": command.summary for name, command in COMMANDS.items()}
    width = max(map(len, heads))
    lines = [f"  {head:<{width}}  {summary}" for head, summary in heads.items()]
    return "\n".join(
        (
            "usage: servax COMMAND [arguments]",
            "",
            "commands:",
            *lines,
            "",
            "servax --version          print the version",
            "servax COMMAND --help     say more about a command",
            "",
        )
    )


if __name__ == "__main__":
    sys.exit(main())
