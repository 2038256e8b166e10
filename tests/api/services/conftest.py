"""An engine that says what it is told to, and a small tokenizer that can spell anything."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import orjson
import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, trainers

from api.context import ServerContext
from api.metrics.registry import Metrics
from api.model.formats import ModelFormats
from api.services.chat.service import create_chat_completion
from api.services.completions.service import create_completion
from api.services.requests import Answer
from api.settings import ServerSettings
from engine.commands import Suspension
from engine.request import (
    EngineStats,
    FinishReason,
    GenerateRequest,
    ModelInfo,
    Timings,
    TokenDelta,
    TokenLogprobs,
)
from engine.text import ChatTemplate, Tokenizer

TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}{{ mood }}"
)
SPECIAL = ["<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]


def make_tokenizer() -> Tokenizer:
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(["hello world, hello there, one two three"], trainer)
    return Tokenizer(backend)


TOKENIZER = make_tokenizer()
INFO = ModelInfo(
    architecture="llama",
    vocab_size=TOKENIZER.vocab_size,
    max_model_len=128,
    eos_token_ids=(0,),
    max_logprobs=20,
    max_num_seqs=4,
    fingerprint="fp_test",
    dtype="float32",
    platform="cpu",
    device_kind="cpu",
    num_parameters=1,
    weight_bytes=4,
    num_pages=16,
    page_size=16,
)


def scored(token_id: int, count: int) -> TokenLogprobs:
    """The token itself is the likeliest, its neighbours follow."""
    top = tuple((token_id + step) % INFO.vocab_size for step in range(count))
    values = tuple(-0.5 - step for step in range(count))
    return TokenLogprobs(token_id, -0.5, 1, top, values)


def wanted(entry: TokenLogprobs, token_ids: tuple[int, ...]) -> TokenLogprobs:
    """The same with the ids asked for: id i has -i."""
    values = tuple(-float(token_id) for token_id in token_ids)
    return TokenLogprobs(entry.token_id, entry.logprob, entry.rank, token_ids, values)


def num_cached(request: GenerateRequest) -> int:
    """Of a prompt the last token at least is always computed."""
    return min(2, len(request.prompt_token_ids) - 1)


class SpeakingEngine:
    """Says `texts[i]` in sequence i (the last for all further ones), then ends.

    Attributes:
        steps_per_item: so many steps come out of `generate` at once.
        tokens_per_delta: as when steps waited for their reader and were merged.
        ends_with_eos: the last token is the end-of-sequence id, finish reason STOP.
        end_reason: overrules the finish reason.
        failure: raised by `generate`; after `failure_after` items.
    """

    def __init__(self, *texts: str) -> None:
        self.texts = texts or ("hello world",)
        self.steps_per_item = 1
        self.tokens_per_delta = 1
        self.ends_with_eos = False
        self.end_reason: FinishReason | None = None
        self.failure: Exception | None = None
        self.failure_after = 0
        self.bad_delta: TokenDelta | None = None
        self.logprob_of: dict[int, float] = {}
        self.waits_forever = False
        self.timings: Timings | None = None
        self.began = asyncio.Event()
        self.requests: list[GenerateRequest] = []
        self.aborted: list[tuple[int, ...]] = []
        self.closed: list[str] = []
        self.commands: list[object] = []
        self.info = INFO
        self.stats = EngineStats()
        self.is_ready = True
        self.suspension = Suspension()

    @property
    def total_stats(self) -> EngineStats:
        return self.stats

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[list[TokenDelta], None]:
        self.requests.append(request)
        self.began.set()
        ended = False
        try:
            if self.waits_forever:
                await asyncio.sleep(3600)
            steps = self._steps(request)
            for index in range(0, max(len(steps), 1), self.steps_per_item):
                await asyncio.sleep(0)
                if self.failure is not None and index >= self.failure_after:
                    raise self.failure
                yield [d for step in steps[index : index + self.steps_per_item] for d in step]
            ended = True
        finally:
            if not ended:
                self.closed.append(request.request_id)

    async def abort(self, request_id: str, sequence_indices: Sequence[int] = ()) -> None:
        self.aborted.append(tuple(sequence_indices))

    async def control(self, command: object, timeout_s: float | None = None) -> int:
        self.commands.append(command)
        return 0

    async def probe(self, timeout_s: float) -> float:
        return 0.0

    def _steps(self, request: GenerateRequest) -> list[list[TokenDelta]]:
        by_sequence = [self._deltas(request, i) for i in range(request.num_sequences)]
        longest = max(map(len, by_sequence))
        steps = [[d[i] for d in by_sequence if i < len(d)] for i in range(longest)]
        return [[self.bad_delta], *steps] if self.bad_delta is not None else steps

    def _deltas(self, request: GenerateRequest, sequence_index: int) -> list[TokenDelta]:
        text = self.texts[min(sequence_index, len(self.texts) - 1)]
        sampling = request.sampling
        ids = TOKENIZER.encode(text) + ([0] if self.ends_with_eos else [])
        is_cut = len(ids) > sampling.max_tokens or not self.ends_with_eos
        ids = ids[: sampling.max_tokens]
        reason = FinishReason.LENGTH if is_cut else FinishReason.STOP
        reason = self.end_reason or reason
        size = self.tokens_per_delta
        pieces = [tuple(ids[start : start + size]) for start in range(0, len(ids), size)] or [()]
        return [
            self._delta(
                request, sequence_index, piece, position, reason, position == len(pieces) - 1
            )
            for position, piece in enumerate(pieces)
        ]

    def _delta(
        self,
        request: GenerateRequest,
        sequence_index: int,
        ids: tuple[int, ...],
        position: int,
        reason: FinishReason,
        is_last: bool,
    ) -> TokenDelta:
        count, prompt_count = request.sampling.logprobs, request.sampling.prompt_logprobs
        logprobs = None
        if count is not None:
            logprobs = tuple(self._scored(i, count, sequence_index) for i in ids)
        if logprobs is not None and request.sampling.logprob_token_ids:
            logprobs = tuple(wanted(each, request.sampling.logprob_token_ids) for each in logprobs)
        prompt_logprobs = None
        if prompt_count is not None and sequence_index == 0 and position == 0:
            scores = [scored(i, prompt_count) for i in request.prompt_token_ids[1:]]
            prompt_logprobs = (None, *scores)
        return TokenDelta(
            request_id=request.request_id,
            sequence_index=sequence_index,
            token_ids=ids,
            logprobs=logprobs,
            prompt_logprobs=prompt_logprobs,
            finish_reason=reason if is_last else None,
            num_cached_tokens=num_cached(request) if position == 0 else 0,
            timings=self.timings if is_last or position == 0 else None,
        )

    def _scored(self, token_id: int, count: int, sequence_index: int) -> TokenLogprobs:
        entry = scored(token_id, count)
        value = self.logprob_of.get(sequence_index, entry.logprob)
        return TokenLogprobs(entry.token_id, value, 1, entry.top_token_ids, entry.top_logprobs)


class McpWorld:
    """An MCP server that says what it is told to, over streamable HTTP.

    Attributes:
        tools: of the server; `pages` of so many.
        gives: the result of a call by its tool's name, or the error of JSON-RPC.
        is_streamed: answers are events; `before` are messages that come first.
        raw: a whole HTTP answer to a method, instead of the usual one.
        slow_method: answered after `delay_s`.
        received: headers and messages, in order.
    """

    def __init__(self) -> None:
        self.host = ""
        self.tools: list[dict[str, Any]] = [
            {"name": "look", "description": "Look it up", "inputSchema": {"type": "object"}},
            {
                "name": "erase",
                "inputSchema": {"type": "object"},
                "annotations": {"readOnlyHint": False},
            },
            {
                "name": "read",
                "inputSchema": {"type": "object"},
                "annotations": {"readOnlyHint": True},
            },
        ]
        self.page_size = 100
        self.gives: dict[str, Any] = {}
        self.is_streamed = False
        self.before: list[dict[str, Any]] = []
        self.raw: dict[str, bytes] = {}
        self.session_id: str | None = "session-1"
        self.version = "2025-06-18"
        self.slow_method = CALL
        self.delay_s = 0.0
        self.serving: set[asyncio.Task[Any]] = set()
        self.received: list[tuple[str, dict[str, str], dict[str, Any]]] = []

    @property
    def url(self) -> str:
        return f"http://{self.host}/mcp?key=in-the-query"

    @property
    def methods(self) -> list[str]:
        """What was asked, in order."""
        return [message.get("method", verb) for verb, _, message in self.received]

    def calls(self) -> list[dict[str, Any]]:
        """Parameters of the calls, in order."""
        return [each["params"] for _, _, each in self.received if each.get("method") == CALL]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        with contextlib.suppress(asyncio.CancelledError):
            await self.talk(reader, writer)
        self.serving.discard(task)
        writer.close()

    async def stop(self) -> None:
        for task in self.serving:
            task.cancel()
        await asyncio.gather(*self.serving, return_exceptions=True)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                line, *rest = head.strip().split("\r\n")
                headers = {k.lower(): v for k, v in (each.split(": ", 1) for each in rest)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                message = json.loads(body) if body else {}
                self.received.append((line.split()[0], headers, message))
                answer = await self.answer(message)
                if not answer:
                    break
                writer.write(answer)
                await writer.drain()

    async def answer(self, message: dict[str, Any]) -> bytes:
        method = message.get("method", "")
        if method in self.raw:
            return self.raw[method]
        if "id" not in message or "result" in message or "error" in message:
            return b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"
        if method == self.slow_method:
            await asyncio.sleep(self.delay_s)
        said = {"jsonrpc": "2.0", "id": message["id"], **self.said(method, message["params"])}
        if not self.is_streamed:
            return self.http(json.dumps(said).encode(), "application/json")
        lines = [f"data: {json.dumps(each)}\n\n" for each in [*self.before, said]]
        return self.http("event: message\n".join(["", *lines]).encode(), "text/event-stream")

    def http(self, body: bytes, kind: str, *more: str) -> bytes:
        session = [] if self.session_id is None else [f"mcp-session-id: {self.session_id}"]
        head = ["HTTP/1.1 200 OK", f"content-type: {kind}", *session, *more]
        return "\r\n".join([*head, f"content-length: {len(body)}", "", ""]).encode() + body

    def said(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        if method == "initialize":
            return {"result": {"protocolVersion": self.version, "capabilities": {"tools": {}}}}
        if method == "tools/list":
            first = int(params.get("cursor", 0))
            last = first + self.page_size
            more = {"nextCursor": str(last)} if last < len(self.tools) else {}
            return {"result": {"tools": self.tools[first:last], **more}}
        given = self.gives.get(params["name"], params["arguments"])
        if isinstance(given, dict) and ("result" in given or "error" in given):
            return given
        return {"result": {"content": [{"type": "text", "text": f"got {json.dumps(given)}"}]}}


CALL = "tools/call"


@dataclasses.dataclass
class Speaker:
    """The services around one engine, with answers decoded."""

    engine: SpeakingEngine
    context: ServerContext

    async def chat(self, content: Any = "hi", **fields: Any) -> dict[str, Any]:
        return orjson.loads((await self.chat_answer(content, **fields)).body)

    async def chat_answer(self, content: Any = "hi", **fields: Any) -> Answer:
        body = {"messages": [{"role": "user", "content": content}], **fields}
        return await create_chat_completion(self.context, body, "req-1")

    async def chat_stream(self, content: Any = "hi", **fields: Any) -> list[Any]:
        return await read_events(await self.chat_answer(content, stream=True, **fields))

    async def complete(self, prompt: Any = "one two", **fields: Any) -> dict[str, Any]:
        answer = await create_completion(self.context, {"prompt": prompt, **fields})
        return orjson.loads(answer.body)

    async def complete_stream(self, prompt: Any = "one two", **fields: Any) -> list[Any]:
        body = {"prompt": prompt, "stream": True, **fields}
        return await read_events(await create_completion(self.context, body))

    @property
    def sampling(self) -> Any:
        """Of the last request the engine got."""
        return self.engine.requests[-1].sampling


async def read_events(answer: Answer) -> list[Any]:
    """The events of a stream; `[DONE]` stays text."""
    text = b"".join([event async for event in answer.events]).decode()
    assert text.endswith("\n\n")
    lines = text.removesuffix("\n\n").split("\n\n")
    assert all(line.startswith("data: ") for line in lines)
    datas = [line.removeprefix("data: ") for line in lines]
    return [data if data == "[DONE]" else json.loads(data) for data in datas]


def make_speaker(*texts: str, template: str | None = TEMPLATE, **options: Any) -> Speaker:
    engine = SpeakingEngine(*texts)
    defaults = options.pop("default_sampling", {})
    formats = options.pop("formats", ModelFormats())
    context = ServerContext(
        settings=ServerSettings(**options),
        engine=engine,
        tokenizer=TOKENIZER,
        chat_template=None if template is None else ChatTemplate(template),
        model_names=("test-model", "alias/of-it"),
        default_sampling=defaults,
        metrics=Metrics("test-model"),
        model_root="models/test",
        created=1,
        formats=formats,
    )
    return Speaker(engine, context)


@pytest.fixture
def speaking() -> Any:
    """Makes a `Speaker`: `speaking("text of sequence 0", "of sequence 1", **settings)`."""
    return make_speaker


@pytest.fixture
def tokenizer() -> Tokenizer:
    return TOKENIZER


@pytest.fixture
async def mcp_server() -> Any:
    """A small MCP server on this machine."""
    server = McpWorld()
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        server.host = f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        yield server
        await server.stop()
