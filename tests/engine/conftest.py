"""A device of numpy and hashes, on which the loop runs as on a real one.

Its pages hold token ids, and a token is a hash of what the pages of its sequence hold: a stale
page, a wrong position or a lost token changes everything after it.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from engine.config import SchedulerConfig
from engine.core import EngineCore
from engine.core_protocol import FaultHook
from engine.request import GenerateRequest, ModelInfo, SamplingParams, TokenDelta
from engine.scheduler.plan import PlannedRow, RowResult, StepLimits, StepPlan
from engine.scheduler.scheduler import Scheduler

EOS = 0
VOCAB_SIZE = 97
CONFIG = SchedulerConfig(
    num_pages=40,
    page_size=4,
    max_num_seqs=8,
    max_num_batched_tokens=16,
    prefill_chunk_tokens=8,
    max_model_len=64,
    max_num_queued_requests=0,
    check_invariants=True,
)
INFO = ModelInfo(
    architecture="Hash",
    vocab_size=VOCAB_SIZE,
    max_model_len=CONFIG.max_model_len,
    eos_token_ids=(EOS,),
    max_logprobs=0,
    max_num_seqs=CONFIG.max_num_seqs,
    fingerprint="",
    dtype="float32",
    platform="cpu",
    device_kind="hash",
    num_parameters=0,
    weight_bytes=0,
    num_pages=CONFIG.num_pages,
    page_size=CONFIG.page_size,
)


@dataclasses.dataclass
class FakeHandle:
    log: list[str]
    step_index: int
    rows: list[RowResult]

    def sample(self, allowed: Mapping[int, np.ndarray]) -> None:
        self.log.append(f"sample {self.step_index}")

    def results(self) -> list[RowResult]:
        self.log.append(f"results {self.step_index}")
        return self.rows


class FakeRunner:
    """`log` tells in which order steps were launched and read."""

    num_compiled_steps = 2
    num_planned_steps = 3
    num_compilations_after_ready = 0

    def __init__(self) -> None:
        self.log: list[str] = []
        self.num_recoveries = 0
        self.fails_with: Exception | None = None
        self._forget()

    def _forget(self) -> None:
        self._pages = np.full((CONFIG.num_pages, CONFIG.page_size), -1, np.int64)
        self._last_tokens = np.full(CONFIG.max_num_seqs, -1, np.int64)

    def limits(self) -> StepLimits:
        return StepLimits(CONFIG.max_num_seqs, CONFIG.max_num_batched_tokens, False)

    def launch(self, plan: StepPlan) -> FakeHandle:
        if self.fails_with is not None:
            raise self.fails_with
        self.log.append(f"launch {plan.step_index}")
        return FakeHandle(self.log, plan.step_index, [self._compute(row) for row in plan.rows])

    def recover(self) -> None:
        self.num_recoveries += 1
        self._forget()

    def _compute(self, row: PlannedRow) -> RowResult:
        token_ids = row.sequence.token_ids[row.start : row.end]
        if row.uses_pending_token:
            token_ids = [int(self._last_tokens[row.slot_index])]
        pages = np.array(row.page_ids[: row.num_pages])
        positions = np.arange(row.start, row.end)
        page_size = CONFIG.page_size
        self._pages[pages[positions // page_size], positions % page_size] = token_ids
        if not row.is_sampling:
            return RowResult(None)
        context = self._pages[pages].reshape(-1)[: row.end]
        assert (context >= 0).all()
        seed = row.sequence.sampling.seed + row.sequence.sequence_index
        token_id = zlib.crc32(context.tobytes(), seed) % VOCAB_SIZE
        self._last_tokens[row.slot_index] = token_id
        return RowResult(token_id)


@pytest.fixture
def runner() -> FakeRunner:
    return FakeRunner()


@pytest.fixture
def model_info() -> ModelInfo:
    return INFO


@pytest.fixture
def make_core() -> Callable[..., EngineCore]:
    def make(
        runner: FakeRunner | None = None,
        faults: FaultHook | None = None,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> EngineCore:
        scheduler = Scheduler(CONFIG, [EOS])
        return EngineCore(scheduler, runner or FakeRunner(), clock=clock, faults=faults)

    return make


@pytest.fixture
def make_request() -> Callable[..., GenerateRequest]:
    def make(name: str, num_prompt_tokens: int = 6, **options: object) -> GenerateRequest:
        sampling = {"max_tokens": 12, "seed": zlib.crc32(name.encode()), "ignore_eos": True}
        prompt = [1 + zlib.crc32(f"{name}{i}".encode()) % 90 for i in range(num_prompt_tokens)]
        num_sequences = options.pop("num_sequences", 1)
        assert isinstance(num_sequences, int)
        return GenerateRequest(
            request_id=name,
            prompt_token_ids=tuple(prompt),
            sampling=SamplingParams(**{**sampling, **options}),  # type: ignore[arg-type]
            num_sequences=num_sequences,
        )

    return make


@pytest.fixture
def run_all() -> Callable[..., dict[str, list[TokenDelta]]]:
    """Step until there is nothing to do; what each request got."""

    def run(core: EngineCore) -> dict[str, list[TokenDelta]]:
        gained: dict[str, list[TokenDelta]] = {}
        for _ in range(2000):
            for delta in core.step():
                gained.setdefault(delta.request_id, []).append(delta)
            if not core.has_work():
                return gained
        raise AssertionError("the engine does not come to an end")

    return run
