"""`servax complete`: prompts in, continuations out, with any OpenAI-compatible server."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx

from api.commands.terminal import (
    ServerError,
    add_server_flags,
    connect,
    first_model,
    readable,
    stream_choices,
)

HELP = "every line is a prompt; /quit (or Ctrl-D) ends, Ctrl-C stops a continuation"


@dataclasses.dataclass(frozen=True)
class Completer:
    """What continues prompts.

    Attributes:
        client: its base URL is the server's `/v1`.
        fields: of every request besides prompt and stream.
    """

    client: httpx.Client
    model: str
    fields: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])

    def complete(self, prompt: str) -> Iterator[str]:
        """Pieces of the continuation as they come. Raises ServerError."""
        body = {**self.fields, "model": self.model, "prompt": prompt, "stream": True}
        for choice in stream_choices(self.client, "completions", body):
            if text := choice.get("text"):
                yield text


def show(completer: Completer, prompt: str, write: Callable[[str], None]) -> bool:
    """Write one continuation; whether it came to its end."""
    try:
        for piece in completer.complete(prompt):
            write(piece)
    except KeyboardInterrupt:
        write(" …\n")
        return False
    except ServerError as error:
        write("\n")
        sys.stderr.write(f"servax complete: error: {error}\n")
        return False
    write("\n")
    return True


def repeat(completer: Completer, read: Callable[[], str], write: Callable[[str], None]) -> None:
    """Continue every line until /quit or the end of input (EOFError from `read`)."""
    while True:
        try:
            prompt = read()
        except (EOFError, KeyboardInterrupt):
            return
        if prompt.strip() in {"/quit", "/exit"}:
            return
        if prompt.strip():
            show(completer, prompt, write)


def main(arguments: Sequence[str]) -> int:
    """Run the command; its exit code."""
    options = make_parser().parse_args(arguments)

    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    with connect(options) as client:
        try:
            model = options.model or first_model(client)
        except ServerError as error:
            sys.stderr.write(f"servax complete: error: {error}\n")
            return 1
        fields = {} if options.max_tokens is None else {"max_tokens": options.max_tokens}
        completer = Completer(client, model, fields)
        if options.quick is not None:
            return 0 if show(completer, options.quick, write) else 1
        sys.stderr.write(f"{model}: {HELP}\n")
        repeat(completer, lambda: readable(input("> ")), write)
    return 0


def make_parser() -> argparse.ArgumentParser:
    """The command's flags, spelled as `vllm complete`'s."""
    parser = argparse.ArgumentParser(prog="servax complete", description=__doc__)
    add_server_flags(parser)
    parser.add_argument("--max-tokens", type=int, help="default: the server's")
    parser.add_argument("-q", "--quick", metavar="PROMPT", help="continue this prompt and end")
    return parser
