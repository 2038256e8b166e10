"""`servax complete`: prompts in, continuations out, with any OpenAI-compatible server."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx

from api.chat_terminal import (
    DEFAULT_URL,
    ChatError,
    Conversation,
    error_message,
    readable,
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
        """Pieces of the continuation as they come. Raises ChatError."""
        body = {**self.fields, "model": self.model, "prompt": prompt, "stream": True}
        try:
            with self.client.stream("POST", "completions", json=body) as response:
                if response.status_code != 200:
                    raise ChatError(error_message(response.status_code, response.read()))
                yield from read_texts(response.iter_lines())
        except httpx.HTTPError as error:
            raise ChatError(f"{self.client.base_url}: {error}") from None


def read_texts(lines: Iterator[str]) -> Iterator[str]:
    """Texts of choices from lines of server-sent events. Raises ChatError on an error event."""
    for line in lines:
        data = line.removeprefix("data:").strip()
        if not line.startswith("data:") or data == "[DONE]":
            continue
        event = json.loads(data)
        if "error" in event:
            raise ChatError(str(event["error"]["message"]))
        for choice in event.get("choices", ()):
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
    except ChatError as error:
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

    headers = {"authorization": f"Bearer {options.api_key}"} if options.api_key else {}
    base_url = options.url.rstrip("/") + "/"
    with httpx.Client(base_url=base_url, headers=headers, timeout=None) as client:
        try:
            model = options.model or Conversation(client).first_model()
        except ChatError as error:
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
    parser.add_argument("--url", default=DEFAULT_URL, help=f"the server's /v1 ({DEFAULT_URL})")
    parser.add_argument(
        "--model", "--model-name", default="", help="default: the server's first model"
    )
    parser.add_argument("--max-tokens", type=int, help="default: the server's")
    parser.add_argument("-q", "--quick", metavar="PROMPT", help="continue this prompt and end")
    parser.add_argument(
        "--api-key", default=os.environ.get("OPENAI_API_KEY", ""), help="or $OPENAI_API_KEY"
    )
    return parser
