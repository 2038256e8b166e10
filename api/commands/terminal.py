"""What the commands that talk to a server from a terminal have in common."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
from collections.abc import Generator, Iterator
from typing import Any, cast

import httpx

DEFAULT_URL = "http://127.0.0.1:8000/v1"


class ServerError(Exception):
    """The server cannot be reached or said no; `str(error)` says why in one line."""


def add_server_flags(parser: argparse.ArgumentParser) -> None:
    """Which server, with which key, and which of its models."""
    parser.add_argument("--url", default=DEFAULT_URL, help=f"the server's /v1 ({DEFAULT_URL})")
    parser.add_argument(
        "--model", "--model-name", default="", help="default: the server's first model"
    )
    parser.add_argument(
        "--api-key", default=os.environ.get("OPENAI_API_KEY", ""), help="or $OPENAI_API_KEY"
    )


def connect(options: argparse.Namespace) -> httpx.Client:
    """A client of the server that the flags name; its base URL is the server's `/v1`."""
    headers = {"authorization": f"Bearer {options.api_key}"} if options.api_key else {}
    return httpx.Client(base_url=options.url.rstrip("/") + "/", headers=headers, timeout=None)


def first_model(client: httpx.Client) -> str:
    """Name of the server's first model. Raises ServerError."""
    with _reaching(client):
        response = client.get("models")
    if response.status_code != 200:
        raise ServerError(error_message(response.status_code, response.content))
    return response.json()["data"][0]["id"]


def stream_choices(client: httpx.Client, path: str, body: dict[str, Any]) -> Iterator[Any]:
    """Choices of the events of a stream. Raises ServerError, for an error event too."""
    with _reaching(client), client.stream("POST", path, json=body) as response:
        if response.status_code != 200:
            raise ServerError(error_message(response.status_code, response.read()))
        yield from read_choices(response.iter_lines())


def read_choices(lines: Iterator[str]) -> Iterator[Any]:
    """Choices from lines of server-sent events. Raises ServerError on an error event."""
    for line in lines:
        data = line.removeprefix("data:").strip()
        if not line.startswith("data:") or data == "[DONE]":
            continue
        event = json.loads(data)
        if "error" in event:
            raise ServerError(str(event["error"]["message"]))
        yield from event.get("choices", ())


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


@contextlib.contextmanager
def _reaching(client: httpx.Client) -> Generator[None, None, None]:
    try:
        yield
    except httpx.HTTPError as error:
        raise ServerError(f"{client.base_url}: {error}") from None
