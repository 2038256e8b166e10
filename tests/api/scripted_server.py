"""A whole server process around a scripted engine: `python scripted_server.py PORT GRACE MODE`."""

from __future__ import annotations

import asyncio
import pathlib
import sys
from collections.abc import AsyncGenerator
from typing import Any, cast

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from quart import Blueprint, Response, g, request

from api.app import create_app
from api.context import ServerState, context
from api.http.json_body import read_json_object
from api.http.sse import sse_response
from api.logs import set_up_logging
from api.model.text import ModelText
from api.serve import Server
from api.settings import ServerSettings
from engine.commands import Suspension
from engine.config import EngineConfig
from engine.errors import EngineDiedError, ModelFormatError
from engine.request import (
    EngineStats,
    FinishReason,
    GenerateRequest,
    ModelInfo,
    SamplingParams,
    TokenDelta,
)

RESOURCES = ("api.resources.health", "api.resources.metrics")
NUM_TOKENS = 20
STEP_S = 0.05

INFO = ModelInfo(
    architecture="llama", vocab_size=256, max_model_len=128, eos_token_ids=(2,), max_logprobs=20,
    max_num_seqs=4, fingerprint="fp", dtype="float32", platform="cpu", device_kind="cpu",
    num_parameters=1, weight_bytes=4, num_pages=16, page_size=16,
)  # fmt: skip


class Engine:
    """Slow enough to be interrupted; ends streams as a real client does when closed."""

    info = INFO
    stats = EngineStats()
    total_stats = EngineStats()
    is_ready = True
    suspension = Suspension()

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.closed = asyncio.Event()

    async def wait_ready(self) -> ModelInfo:
        if self.mode == "dying":
            self.mode = "dead"
        elif self.mode == "dead":
            raise EngineDiedError("the engine died too often")
        if self.mode == "slow":
            await asyncio.sleep(1.0)
        if self.mode == "broken":
            raise ModelFormatError("config.json: the file is missing.")
        return self.info

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[list[TokenDelta], None]:
        num_tokens = 10_000 if self.mode == "endless" else NUM_TOKENS
        for index in range(num_tokens):
            waiting = asyncio.ensure_future(self.closed.wait())
            done, _ = await asyncio.wait({waiting}, timeout=STEP_S)
            waiting.cancel()
            if done:
                raise EngineDiedError("closed")
            reason = FinishReason.LENGTH if index + 1 == num_tokens else None
            yield [TokenDelta(request_id=request.request_id, token_ids=(index,),
                              finish_reason=reason)]  # fmt: skip

    async def abort(self, request_id: str, sequence_indices: Any = ()) -> None:
        pass

    async def probe(self, timeout_s: float) -> float:
        return 0.0

    async def close(self) -> None:
        self.closed.set()
        sys.stderr.write("engine closed\n")


def make_app(state: ServerState) -> Any:
    app = create_app(state, RESOURCES)
    blueprint = Blueprint("probes", __name__)

    @blueprint.post("/t/stream")
    async def stream() -> Response:
        await read_json_object(request)
        sampling = SamplingParams(max_tokens=8)
        deltas = context().engine.generate(
            GenerateRequest(request_id=g.request_id, prompt_token_ids=(1,), sampling=sampling)
        )

        async def events() -> AsyncGenerator[bytes, None]:
            async for batch in deltas:
                yield b"data: %d\n\n" % batch[0].token_ids[0]
            yield b"data: [DONE]\n\n"

        return sse_response(events())

    @blueprint.post("/t/wait")
    async def wait() -> Response:
        sys.stderr.write("waiting for something else\n")
        while True:
            await context().unless_ending(asyncio.sleep(STEP_S))

    app.register_blueprint(blueprint)
    return app


def main() -> int:
    port, grace_s, mode = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    set_up_logging("info")

    async def start_engine(config: EngineConfig) -> Engine:
        return Engine(mode)

    def load_text(settings: ServerSettings, config: EngineConfig) -> ModelText:
        return ModelText(cast(Any, None), None, {}, "test")

    settings = ServerSettings(
        host="127.0.0.1", port=port, shutdown_timeout_s=grace_s,
        ssl_certfile="/nowhere/cert.pem" if mode == "no certificate" else "",
    )  # fmt: skip
    model = "/nowhere/model" if mode == "no model" else "m"
    server = Server(
        settings, EngineConfig(model=model), start_engine, load_text, make_app,
        when_loaded=lambda: sys.stderr.write("all is loaded\n"),
    )  # fmt: skip
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(server.serve())


if __name__ == "__main__":
    sys.exit(main())
