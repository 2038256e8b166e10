"""`servax chat`: a conversation in the terminal with any OpenAI-compatible server."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import httpx

DEFAULT_URL = "http://127.0.0.1:8000/v1"
HELP = "/reset forgets the conversation, /quit (or Ctrl-D) ends, Ctrl-C stops an answer"

Message = dict[str, str]


class ChatError(Exception):
    """The server cannot be reached or said no; `str(error)` says why in one line."""


@dataclasses.dataclass
class Conversation:
    """What has been said, and to whom.

    Attributes:
        client: its base URL is the server's `/v1`.
        model: "" asks the server for its first model.
        system: first message of every request; "" = none.
    """

    client: httpx.Client
    model: str = ""
    system: str = ""
    messages: list[Message] = dataclasses.field(default_factory=list[Message])

    def reset(self) -> None:
        """Forget everything but the system message."""
        self.messages.clear()

    def ask(self, text: str) -> Iterator[str]:
        """Say `text`; pieces of the answer as they come.

        What was received is kept, also when the caller stops early; a failed question is not.

        Raises:
            ChatError: see there.
        """
        self.messages.append({"role": "user", "content": text})
        pieces: list[str] = []
        try:
            for piece in self._stream():
                pieces.append(piece)
                yield piece
        finally:
            if pieces:
                self.messages.append({"role": "assistant", "content": "".join(pieces)})
            else:
                self.messages.pop()

    def first_model(self) -> str:
        """Name of the server's first model. Raises ChatError."""
        try:
            response = self.client.get("models")
        except httpx.HTTPError as error:
            raise ChatError(f"{self.client.base_url}: {error}") from None
        if response.status_code != 200:
            raise ChatError(error_message(response.status_code, response.content))
        return response.json()["data"][0]["id"]

    def _stream(self) -> Iterator[str]:
        system = [{"role": "system", "content": self.system}] if self.system else []
        body = {"messages": [*system, *self.messages], "stream": True, "model": self.model}
        try:
            with self.client.stream("POST", "chat/completions", json=body) as response:
                if response.status_code != 200:
                    raise ChatError(error_message(response.status_code, response.read()))
                yield from read_pieces(response.iter_lines())
        except httpx.HTTPError as error:
            raise ChatError(f"{self.client.base_url}: {error}") from None


def read_pieces(lines: Iterator[str]) -> Iterator[str]:
    """Text of the answer from lines of server-sent events. Raises ChatError on an error event."""
    for line in lines:
        data = line.removeprefix("data:").strip()
        if not line.startswith("data:") or data == "[DONE]":
            continue
        event = json.loads(data)
        if "error" in event:
            raise ChatError(str(event["error"]["message"]))
        for choice in event.get("choices", ()):
            if piece := choice.get("delta", {}).get("content"):
                yield piece


def error_message(status: int, body: bytes) -> str:
    """One line about an answer that is not success."""
    try:
        envelope = cast("dict[str, Any]", json.loads(body))
        return f"{envelope['error']['message']} (HTTP {status})"
    except (ValueError, KeyError, TypeError):
        return f"HTTP {status}"


def readable(line: str) -> str:
    """What was typed, with a question mark for every byte that is not UTF-8."""
    return line.encode(errors="replace").decode()


def converse(
    conversation: Conversation,
    read: Callable[[], str],
    write: Callable[[str], None],
) -> None:
    """Take turns until /quit or the end of input (EOFError from `read`)."""
    while True:
        try:
            text = read().strip()
        except (EOFError, KeyboardInterrupt):
            return
        if text in {"/quit", "/exit"}:
            return
        if text == "/reset":
            conversation.reset()
        elif text.startswith("/"):
            write(HELP + "\n")
        elif text:
            answer(conversation, text, write)


def answer(conversation: Conversation, text: str, write: Callable[[str], None]) -> bool:
    """One turn of the server; errors are shown and the conversation goes on. Whether the answer
    came to its end."""
    is_whole = False
    try:
        for piece in conversation.ask(text):
            write(piece)
        is_whole = True
    except KeyboardInterrupt:
        write(" …")
    except ChatError as error:
        write(f"error: {error}")
    write("\n")
    return is_whole


def main(arguments: Sequence[str]) -> int:
    """Run the command; its exit code."""
    from rich.console import Console

    options = make_parser().parse_args(arguments)
    console = Console(highlight=False)

    def write(text: str) -> None:
        console.print(text, end="", markup=False, soft_wrap=True)

    headers = {"authorization": f"Bearer {options.api_key}"} if options.api_key else {}
    base_url = options.url.rstrip("/") + "/"
    with httpx.Client(base_url=base_url, headers=headers, timeout=None) as client:
        conversation = Conversation(client, options.model, options.system_prompt)
        try:
            conversation.model = options.model or conversation.first_model()
        except ChatError as error:
            sys.stderr.write(f"servax chat: error: {error}\n")
            return 1
        if options.quick is not None:
            return 0 if answer(conversation, options.quick, write) else 1
        write(f"{conversation.model}: {HELP}\n")
        converse(conversation, lambda: readable(console.input("[bold]> [/bold]")), write)
    return 0


def make_parser() -> argparse.ArgumentParser:
    """The command's flags, spelled as `vllm chat`'s."""
    parser = argparse.ArgumentParser(prog="servax chat", description=__doc__)
    parser.add_argument("--url", default=DEFAULT_URL, help=f"the server's /v1 ({DEFAULT_URL})")
    parser.add_argument(
        "--model", "--model-name", default="", help="default: the server's first model"
    )
    parser.add_argument("-q", "--quick", metavar="TEXT", help="say this, show the answer, end")
    parser.add_argument("--system-prompt", default="", help="first message of the conversation")
    parser.add_argument(
        "--api-key", default=os.environ.get("OPENAI_API_KEY", ""), help="or $OPENAI_API_KEY"
    )
    return parser
