"""Promise 1: a request can only hurt itself (R4, R1), on the real device step."""

from __future__ import annotations

import pathlib
import random
import time
from collections.abc import Iterator, Sequence

import pytest

from engine.config import EngineConfig
from engine.core import EngineCore
from engine.core_protocol import Stage
from engine.errors import EngineError, SequenceError
from engine.grammar.library import GuideLibrary
from engine.grammar.sources import from_regex
from engine.grammar.vocabulary import Vocabulary, make_vocabulary
from engine.request import FinishReason, GenerateRequest, Grammar, SamplingParams, TokenDelta
from engine.runner.build import ReadyRunner, make_runner
from engine.scheduler.scheduler import Scheduler
from engine.text.tokenizer import Tokenizer

STAGES = list(Stage)
EVEN_WORDS = Grammar(source=from_regex("(<w[0-9]*[02468]>)*"))
NUM_CALLS = 10


class FaultAt:
    """Raises at the N-th time a stage touches the victim."""

    def __init__(self, stage: Stage, call_index: int, victim: str) -> None:
        self.stage, self.call_index, self.victim = stage, call_index, victim
        self.num_calls = 0

    def __call__(self, stage: Stage, request_ids: Sequence[str]) -> None:
        if stage is self.stage and self.victim in request_ids:
            self.num_calls += 1
            if self.num_calls > self.call_index:
                raise RuntimeError("injected")


@pytest.fixture(scope="module")
def ready(tiny_llama: pathlib.Path) -> Iterator[ReadyRunner]:
    made = make_runner(EngineConfig(model=str(tiny_llama), max_num_seqs=16, check_invariants=True))
    yield made
    made.runner.close()


def requests(count: int = 5) -> list[GenerateRequest]:
    return [
        GenerateRequest(
            request_id=f"r{index}",
            prompt_token_ids=tuple(
                random.Random(index).randrange(3, 500) for _ in range(9 * index + 4)
            ),
            sampling=SamplingParams(
                max_tokens=10, temperature=0.5 * (index % 2), seed=index, ignore_eos=True
            ),
            grammar=EVEN_WORDS if index in (2, 3) else None,
        )
        for index in range(count)
    ]


def run(
    ready: ReadyRunner, vocabulary: Vocabulary, faults: FaultAt | None
) -> dict[str, list[TokenDelta]]:
    ready.runner.recover()
    scheduler = Scheduler(ready.scheduler_config, ready.info.eos_token_ids)
    guides = GuideLibrary(lambda: vocabulary)
    core = EngineCore(scheduler, ready.runner, faults=faults, guides=guides)
    gained: dict[str, list[TokenDelta]] = {}
    for request in requests():
        try:
            core.add(request)
        except (RuntimeError, EngineError):
            gained[request.request_id] = []
    for _ in range(400):
        for delta in core.step():
            gained.setdefault(delta.request_id, []).append(delta)
        if not core.has_work():
            break
        if core.is_stalled:
            time.sleep(0.01)  # a grammar is being compiled
    assert not core.has_work()
    assert core.stats.num_free_pages == core.stats.num_pages
    return gained


def tokens(deltas: list[TokenDelta]) -> list[int]:
    return [token for delta in deltas for token in delta.token_ids]


@pytest.fixture(scope="module")
def vocabulary(tiny_llama: pathlib.Path, ready: ReadyRunner) -> Vocabulary:
    tokenizer = Tokenizer.from_folder(tiny_llama)
    return make_vocabulary(tokenizer, ready.info.vocab_size, ready.info.eos_token_ids)


@pytest.fixture(scope="module")
def healthy(ready: ReadyRunner, vocabulary: Vocabulary) -> dict[str, list[int]]:
    gained = {name: tokens(deltas) for name, deltas in run(ready, vocabulary, None).items()}
    assert all(token % 2 == 0 for token in gained["r2"] + gained["r3"])
    return gained


@pytest.mark.parametrize("call_index", range(0, NUM_CALLS, 3))
@pytest.mark.parametrize("stage", STAGES)
def test_a_fault_ends_its_victim_and_changes_no_other_byte(
    ready: ReadyRunner,
    vocabulary: Vocabulary,
    healthy: dict[str, list[int]],
    stage: Stage,
    call_index: int,
) -> None:
    faults = FaultAt(stage, call_index if stage is not Stage.ADMIT else 0, victim="r2")
    gained = run(ready, vocabulary, faults)
    assert faults.num_calls > 0
    bystanders = {name: tokens(deltas) for name, deltas in gained.items() if name != "r2"}
    assert bystanders == {name: ids for name, ids in healthy.items() if name != "r2"}
    if stage is not Stage.ADMIT:
        last = gained["r2"][-1]
        assert last.finish_reason is FinishReason.ERROR
        assert last.error is not None
        assert last.error.kind == SequenceError.__name__
    assert tokens(gained["r2"]) == healthy["r2"][: len(tokens(gained["r2"]))]


def test_a_thousand_random_aborts_give_every_page_back(ready: ReadyRunner) -> None:
    ready.runner.recover()
    scheduler = Scheduler(ready.scheduler_config, ready.info.eos_token_ids)
    core = EngineCore(scheduler, ready.runner)
    generator = random.Random(1)
    live: list[str] = []
    num_aborted = 0
    while num_aborted < 1000:
        while len(live) < 24:
            request = requests(12)[generator.randrange(12)]
            name = f"{request.request_id}-{generator.random()}"
            core.add(
                GenerateRequest(
                    request_id=name,
                    prompt_token_ids=request.prompt_token_ids,
                    sampling=request.sampling,
                    num_sequences=generator.choice([1, 1, 3]),
                )
            )
            live.append(name)
        for _ in range(generator.randrange(3)):
            core.step()
        for _ in range(generator.randrange(8)):
            core.abort(live.pop(generator.randrange(len(live))))
            num_aborted += 1
    for name in live:
        core.abort(name)
    for _ in range(3):
        core.step()
    assert not core.has_work()
    assert core.stats.num_running == core.stats.num_waiting == 0
    assert core.stats.num_free_pages == core.stats.num_pages
