"""`servax run-batch`: a file of requests in, a file of answers out, without a port.

The routes are the server's own, called in this process; the engine has its process as always. As
many lines are under way as keep the engine full, and results are written in the order of the
lines. The output takes its name only when it is whole.
"""

from __future__ import annotations

import asyncio
import codecs
import collections
import dataclasses
import http
import itertools
import logging
import os
import sys
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import httpx
import msgspec

from api.app import create_app, make_state
from api.batch_lines import LineError, parse_line, result_of, result_of_error
from api.flags.parser import Choices, FlagParser, UsageError, parse_choices
from api.http.noted_fields import warning_of
from api.model.names import model_names
from api.serve import (
    EXIT_FAILURE,
    EXIT_OK,
    LoadText,
    StartEngine,
    load_context,
    load_text_of_folder,
    start_engine_process,
)
from api.settings import ServerSettings
from engine.errors import EngineError, SetupError
from engine.weights.source import verify_model_is_there

URLS = frozenset({"/v1/chat/completions", "/v1/completions"})
PROGRESS_S = 1.0
PART = ".part"

log = logging.getLogger("servax")

Result = tuple[bytes, bool]
"""A line of output, and whether it is an answer."""
Report = Callable[[int, int], None]
"""Told how many lines are done, and how many of them failed."""


@dataclasses.dataclass(frozen=True)
class Batch:
    """Which files, and what the engine was told."""

    input_path: Path
    output_path: Path
    choices: Choices


def parse_batch(arguments: Sequence[str]) -> Batch:
    """The command's own flags, and those of `servax serve`.

    Raises:
        UsageError: a flag is missing or wrong, or a file is a URL.
    """
    options, rest = make_parser().parse_known_args(arguments)
    for path in (options.input_file, options.output_file):
        if "://" in path:
            raise UsageError(f"{path}: only files on this machine are read and written")
    choices = parse_choices(rest, os.environ)
    # Nobody else can reach these routes, and a file is a queue of its own.
    server = dataclasses.replace(choices.server, api_keys=(), max_num_queued_reqs=0)
    engine = msgspec.structs.replace(choices.engine, max_num_queued_reqs=0)
    return Batch(
        Path(options.input_file),
        Path(options.output_file),
        dataclasses.replace(choices, server=server, engine=engine),
    )


def make_parser() -> FlagParser:
    """Spelled as `vllm run-batch`'s."""
    parser = FlagParser(
        prog="servax run-batch",
        description="Answer every request of a file.",
        epilog="All flags of `servax serve` that choose model and engine work too.",
    )
    parser.add_argument("-i", "--input-file", required=True, help="JSON lines, one request each")
    parser.add_argument("-o", "--output-file", required=True, help="JSON lines, in the same order")
    return parser


async def run_batch(
    batch: Batch,
    start_engine: StartEngine = start_engine_process,
    load_text: LoadText = load_text_of_folder,
    report: Report = lambda num_done, num_failed: None,
) -> int:
    """Run everything; the exit code. Lines that failed are no failure of the command."""
    try:
        verify_model_is_there(batch.choices.engine.model)
        with batch.input_path.open("rb") as source, _whole_or_none(batch.output_path) as sink:
            async with _client(batch.choices, start_engine, load_text) as (client, num_at_once):
                settings = batch.choices.server
                if source.peek(3).startswith(codecs.BOM_UTF8):
                    source.read(len(codecs.BOM_UTF8))
                lines = (line for line in source if line.strip())
                tasks = (asyncio.create_task(answer_line(one, client, settings)) for one in lines)
                await _write_all(tasks, sink, num_at_once, report)
    except (SetupError, EngineError, OSError) as error:
        log.error("%s", error)
        return EXIT_FAILURE
    return EXIT_OK


@asynccontextmanager
async def _client(
    choices: Choices, start_engine: StartEngine, load_text: LoadText
) -> AsyncGenerator[tuple[httpx.AsyncClient, int]]:
    """A client of the routes in this process, and how many requests it should have under way."""
    settings, config = choices.server, choices.engine
    state = make_state(settings, model_names(settings, config)[0])
    app = create_app(state)
    engine = await start_engine(config)
    try:
        state.become_ready(await load_context(state, engine, settings, config, load_text))
        transport = httpx.ASGITransport(cast(Any, app))
        async with httpx.AsyncClient(transport=transport, base_url="http://batch") as client:
            yield client, 2 * engine.info.max_num_seqs
    finally:
        await engine.close()


async def _write_all(
    tasks: Iterator[asyncio.Task[Result]], sink: BinaryIO, num_at_once: int, report: Report
) -> None:
    """Keep `num_at_once` under way; the oldest is waited for and written first."""
    under_way: collections.deque[asyncio.Task[Result]] = collections.deque()
    num_done = num_failed = 0
    try:
        under_way.extend(itertools.islice(tasks, num_at_once))
        while under_way:
            line, is_success = await under_way[0]
            under_way.popleft()
            sink.write(line)
            num_done, num_failed = num_done + 1, num_failed + (not is_success)
            report(num_done, num_failed)
            under_way.extend(itertools.islice(tasks, 1))
    finally:
        for task in under_way:
            task.cancel()


async def answer_line(line: bytes, client: httpx.AsyncClient, settings: ServerSettings) -> Result:
    """The result of one line, and whether it is an answer."""
    try:
        request = parse_line(line, URLS, strict_fields=settings.strict_fields)
    except LineError as failure:
        return result_of_error(failure, settings.error_format), False
    answer = await client.post(request.url, json=request.body, timeout=None)
    request_id = answer.headers["x-request-id"]
    of_line = warning_of(request.unknown) if request.unknown else None
    told = ", ".join(filter(None, (of_line, answer.headers.get("warning")))) or None
    result = result_of(request.custom_id, answer.status_code, request_id, answer.json(), told)
    return result, answer.status_code == http.HTTPStatus.OK


@contextmanager
def _whole_or_none(path: Path) -> Generator[BinaryIO]:
    """A file that takes its name when the block ends well."""
    part = path.with_name(path.name + PART)
    try:
        with part.open("wb") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


class Progress:
    """Lines on standard error, at most one a second and one at the end."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._started_s = self._told_s = time.monotonic()
        self._last = (0, 0)

    def report(self, num_done: int, num_failed: int) -> None:
        """See `Report`."""
        self._last = (num_done, num_failed)
        now_s = time.monotonic()
        if now_s - self._told_s >= PROGRESS_S:
            self._told_s = now_s
            self._write(f"{num_done} lines, {num_failed} failed\n")

    def end(self) -> None:
        """Tell the sum."""
        elapsed_s = time.monotonic() - self._started_s
        num_done, num_failed = self._last
        self._write(f"{num_done} lines, {num_failed} failed, in {elapsed_s:.1f} s\n")


def main(arguments: Sequence[str]) -> int:
    """Run the command; its exit code. Raises UsageError."""
    from api.logs import set_up_logging

    batch = parse_batch(arguments)
    set_up_logging(batch.choices.server.log_level)
    for warning in batch.choices.warnings:
        log.warning("%s", warning)
    progress = Progress(sys.stderr.write)
    status = asyncio.run(run_batch(batch, report=progress.report))
    if status == EXIT_OK:
        progress.end()
    return status
