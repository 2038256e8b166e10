"""`servax chat`: a conversation in the terminal with any OpenAI-compatible server."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence

import httpx

from api.commands.terminal import (
    ServerError,
    add_server_flags,
    connect,
    first_model,
    readable,
    stream_choices,
)

HELP = "/reset forgets the conversation, /quit (or Ctrl-D) ends, Ctrl-C stops an answer"

Message = dict[str, str]


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
            ServerError: see there.
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

    def _stream(self) -> Iterator[str]:
        system = [{"role": "system", "content": self.system}] if self.system else []
        body = {"messages": [*system, *self.messages], "stream": True, "model": self.model}
        for choice in stream_choices(self.client, "chat/completions", body):
            if piece := choice.get("delta", {}).get("content"):
                yield piece


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
    except ServerError as error:
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

    with connect(options) as client:
        conversation = Conversation(client, options.model, options.system_prompt)
        try:
            conversation.model = options.model or first_model(client)
        except ServerError as error:
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
    add_server_flags(parser)
    parser.add_argument("-q", "--quick", metavar="TEXT", help="say this, show the answer, end")
    parser.add_argument("--system-prompt", default="", help="first message of the conversation")
    return parser
