"""The `servax` command. Each subcommand is imported when it is called."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

USAGE = """usage: servax COMMAND [arguments]

commands:
  serve [MODEL] [flags]   serve a model behind an OpenAI-compatible API
  chat [--url URL]        talk to a server in the terminal
  bench NAME [arguments]  run a benchmark (from a checkout of the repository)

servax --version          print the version
servax COMMAND --help     say more about a command
"""

EXIT_USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the process's exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in {"-h", "--help", "help"}:
        sys.stdout.write(USAGE)
        return 0 if words else EXIT_USAGE
    if words[0] in {"-V", "--version", "version"}:
        return print_version()
    command = COMMANDS.get(words[0])
    if command is None:
        return complain("servax", f"unknown command {words[0]!r}; try servax --help")
    return command(words[1:])


def print_version() -> int:
    """Print the version."""
    from api.version import server_version

    sys.stdout.write(f"servax {server_version()}\n")
    return 0


def serve(arguments: list[str]) -> int:
    """`servax serve`."""
    from api.flag_parser import UsageError, parse_choices

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
    from api.chat_terminal import main as chat_main

    return chat_main(arguments)


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


COMMANDS: dict[str, Callable[[list[str]], int]] = {"serve": serve, "chat": chat, "bench": bench}


if __name__ == "__main__":
    sys.exit(main())
