from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from engine.core_protocol import Stage
from engine.errors import ContextLengthError, EngineDiedError
from engine.request import FinishReason, TokenDelta

NAMES = ["ada", "bob", "cyd", "dan", "eve"]


def tokens(deltas: list[TokenDelta]) -> list[int]:
    return [token_id for delta in deltas for token_id in delta.token_ids]


def last_reason(deltas: list[TokenDelta]) -> FinishReason | None:
    return deltas[-1].finish_reason


class FaultPlan:
    """Raises at the `number`-th call of a stage, or always when a named request is touched."""

    def __init__(self, stage: Stage, number: int | None = None, victim: str | None = None) -> None:
        self.stage, self.number, self.victim = stage, number, victim
        self.num_calls = 0
        self.num_raised = 0

    def __call__(self, stage: Stage, request_ids: Sequence[str]) -> None:
        if stage is not self.stage:
            return
        self.num_calls += 1
        is_due = self.num_calls == self.number if self.number else self.victim in request_ids
        if is_due:
            self.num_raised += 1
            raise RuntimeError("injected")


@pytest.fixture
def expected(make_core, make_request, run_all):
    core = make_core()
    for name in NAMES:
        core.add(make_request(name, num_prompt_tokens=3 + len(name) * NAMES.index(name)))
    return {name: tokens(deltas) for name, deltas in run_all(core).items()}


@pytest.fixture
def run_with(make_core, make_request, run_all, runner):
    def run(faults=None):
        core = make_core(runner, faults)
        refused = []
        for name in NAMES:
            request = make_request(name, num_prompt_tokens=3 + len(name) * NAMES.index(name))
            try:
                core.add(request)
            except RuntimeError:
                refused.append(name)
        return core, run_all(core), refused

    return run


def test_a_step_is_settled_after_the_next_one_is_launched(make_core, make_request, run_all, runner):
    core = make_core(runner)
    core.add(make_request("one", num_prompt_tokens=2, max_tokens=3))
    run_all(core)
    assert runner.log == [
        *("launch 0", "launch 1", "results 0", "launch 2", "results 1", "results 2"),
    ]


def test_where_the_host_has_a_say_tokens_are_chosen_after_settling_but_launched_before(
    make_core, make_request, run_all, runner
):
    core = make_core(runner)
    words = ((5, 6, 7),)
    core.add(make_request("one", num_prompt_tokens=2, max_tokens=2, bad_words_token_ids=words))
    run_all(core)
    assert runner.log == [
        *("launch 0", "sample 0", "launch 1", "results 0", "sample 1", "results 1"),
    ]


def test_tokens_do_not_depend_on_neighbours(make_core, make_request, run_all, expected):
    core = make_core()
    core.add(make_request("cyd", num_prompt_tokens=3 + 3 * 2))
    assert tokens(run_all(core)["cyd"]) == expected["cyd"]


def test_a_refused_request_leaves_nothing_behind(make_core, make_request):
    core = make_core()
    with pytest.raises(ContextLengthError):
        core.add(make_request("long", num_prompt_tokens=500))
    assert not core.has_work()
    assert core.num_live_sequences == 0


def test_a_fault_in_admission_refuses_that_request_alone(run_with, expected):
    _, gained, refused = run_with(FaultPlan(Stage.ADMIT, victim="bob"))
    assert refused == ["bob"]
    assert {name: tokens(deltas) for name, deltas in gained.items()} == {
        name: ids for name, ids in expected.items() if name != "bob"
    }


@pytest.mark.parametrize("stage", [Stage.SCHEDULE, Stage.LAUNCH, Stage.RESULTS, Stage.SETTLE])
def test_a_passing_fault_at_any_call_changes_no_token(run_with, expected, stage):
    number = 0
    while True:
        number += 1
        faults = FaultPlan(stage, number)
        _, gained, _ = run_with(faults)
        assert {name: tokens(deltas) for name, deltas in gained.items()} == expected
        assert all(last_reason(deltas) is FinishReason.LENGTH for deltas in gained.values())
        if not faults.num_raised:
            break
    assert number > 10


@pytest.mark.parametrize("stage", [Stage.SCHEDULE, Stage.LAUNCH, Stage.RESULTS, Stage.SETTLE])
@pytest.mark.parametrize("victim", NAMES)
def test_a_lasting_fault_ends_its_sequence_and_no_other(run_with, expected, stage, victim):
    core, gained, _ = run_with(FaultPlan(stage, victim=victim))
    assert last_reason(gained[victim]) is FinishReason.ERROR
    error = gained[victim][-1].error
    assert error is not None
    assert error.kind == "SequenceError"
    for name in NAMES:
        if name != victim:
            assert tokens(gained[name]) == expected[name]
            assert last_reason(gained[name]) is FinishReason.LENGTH
    assert core.stats.num_free_pages == core.stats.num_pages


def test_a_victim_keeps_the_tokens_it_had(make_core, make_request, run_all, expected, runner):
    faults = FaultPlan(Stage.LAUNCH, victim="nobody")
    core = make_core(runner, faults)
    core.add(make_request("ada", num_prompt_tokens=3))
    early = [delta for _ in range(4) for delta in core.step()]
    faults.victim = "ada"
    late = run_all(core)["ada"]
    got = tokens(early + late)
    assert 0 < len(got) < 12
    assert got == expected["ada"][: len(got)]


def test_a_device_that_runs_nothing_ends_the_engine(make_core, make_request, run_all, runner):
    core = make_core(runner)
    core.add(make_request("ada"))
    runner.fails_with = RuntimeError("device lost")
    with pytest.raises(EngineDiedError):
        run_all(core)


def test_a_device_that_cannot_recover_ends_the_engine(make_core, make_request, runner, monkeypatch):
    core = make_core(runner)
    core.add(make_request("ada"))
    runner.fails_with = RuntimeError("device lost")

    def fail() -> None:
        raise RuntimeError("no memory for pages")

    monkeypatch.setattr(runner, "recover", fail)
    with pytest.raises(EngineDiedError):
        core.step()


def test_a_thousand_random_aborts_give_every_page_back(make_core, make_request):
    chooser = random.Random(7)
    core = make_core()
    num_pages = core.stats.num_free_pages
    live: list[str] = []
    num_aborts = 0
    number = 0
    while num_aborts < 1000:
        if len(live) < 12 and chooser.random() < 0.6:
            number += 1
            live.append(f"r{number}")
            core.add(
                make_request(live[-1], chooser.randint(1, 30), num_sequences=chooser.randint(1, 3))
            )
        if live and chooser.random() < 0.5:
            num_aborts += 1
            core.abort(live.pop(chooser.randrange(len(live))))
        core.step()
    for name in live:
        core.abort(name)
    core.step()
    assert not core.has_work()
    assert core.num_live_sequences == 0
    assert core.stats.num_free_pages == num_pages


def test_aborted_work_stops_within_two_steps(make_core, make_request, runner):
    core = make_core(runner)
    core.add(make_request("ada"))
    for _ in range(4):
        core.step()
    core.abort("ada")
    num_before = len([entry for entry in runner.log if entry.startswith("launch")])
    for _ in range(3):
        assert core.step() == []
    assert not core.has_work()
    assert len([entry for entry in runner.log if entry.startswith("launch")]) == num_before


def test_work_that_cannot_run_yet_is_a_stall(make_core, make_request, runner):
    core = make_core(runner)
    core.add(make_request("scored", prompt_logprobs=0))
    core.step()
    assert core.has_work()
    assert core.is_stalled
    core.add(make_request("plain"))
    core.step()
    assert not core.is_stalled


def test_every_delivered_token_is_counted(make_core, make_request):
    core = make_core()
    for name in NAMES:
        core.add(make_request(name))
    delivered = 0
    for number in range(100):
        delivered += sum(len(delta.token_ids) for delta in core.step())
        if number == 6:
            core.abort("bob")
    assert core.stats.total_generated_tokens == delivered
    assert core.stats.total_prompt_tokens == 6 * len(NAMES)
    assert core.stats.total_steps > 0
    assert core.stats.num_compiled_steps == 2


def test_an_idle_engine_proves_life_with_a_real_step(make_core, runner):
    now_s = 0.0
    core = make_core(runner, clock=lambda: now_s)
    now_s = 5.0
    assert core.prove_life() == 0.0
    assert runner.log == ["launch 0", "results 0"]
    now_s = 5.5
    assert core.prove_life() == 0.5
    assert len(runner.log) == 2


def test_a_dead_device_proves_nothing(make_core, runner):
    now_s = 0.0
    core = make_core(runner, clock=lambda: now_s)
    now_s = 5.0
    runner.fails_with = RuntimeError("device lost")
    with pytest.raises(EngineDiedError):
        core.prove_life()
