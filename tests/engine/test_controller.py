from __future__ import annotations

import threading

import msgspec
import pytest

from engine.commands import (
    EndRequests,
    Pause,
    PauseMode,
    ReleasePages,
    ResetPrefixCache,
    Resume,
    Sleep,
    StartProfile,
    Suspension,
    WakeTag,
    WakeUp,
    commands_towards,
)
from engine.controller import Facilities
from engine.errors import ModelFormatError
from engine.messages import (
    AddRequest,
    Control,
    Done,
    Probe,
    ProbeReply,
    Ready,
    Refused,
    StepDeltas,
    Suspended,
)
from engine.request import FinishReason
from engine.service import EngineService
from engine.transport.memory import MemoryEndpoint

ADA, BOB = b"ada", b"bob"
ABORT, WAIT, KEEP = PauseMode.ABORT, PauseMode.WAIT, PauseMode.KEEP


class Memory:
    """Remembers what was done to it; `may_go_on` holds up whatever moves weights."""

    def __init__(self, runner):
        self.runner = runner
        self.log = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.fails_with = None

    def release_pages(self):
        self.log.append("pages released")
        self.runner.fails_with = AssertionError("launched without pages")

    def restore_pages(self):
        self.log.append("pages restored")
        self.runner._forget()
        self.runner.fails_with = None

    def release_weights(self, *, keeps_copy):
        assert self.may_go_on.wait(10)
        self.log.append(f"weights released, copy={keeps_copy}")

    def restore_weights(self):
        assert self.may_go_on.wait(10)
        if self.fails_with is not None:
            raise self.fails_with
        self.log.append("weights restored")


class World:
    def __init__(self, core, runner, info):
        self.core = core
        self.memory = Memory(runner)
        self.endpoint = MemoryEndpoint()
        self.service = EngineService(core, self.endpoint, info, Facilities(self.memory))
        self.got = {ADA: [], BOB: []}

    def put(self, message, client_id=ADA):
        self.endpoint.put(client_id, message)

    def turn(self, times=1):
        for _ in range(times):
            self.service.turn(0.001)
            for client_id, got in self.got.items():
                got += self.endpoint.take(client_id)

    def ask(self, command, client_id=ADA):
        """The answer to a command."""
        self.put(Control(7, command), client_id)
        for _ in range(500):
            self.turn()
            for message in self.got[client_id]:
                if isinstance(message, Done | Refused):
                    self.got[client_id].remove(message)
                    return message
        raise AssertionError("no answer")

    def deltas(self, client_id=ADA):
        steps = [each for each in self.got[client_id] if isinstance(each, StepDeltas)]
        return [delta for step in steps for delta in step.deltas]

    def token_ids(self, request_id):
        deltas = self.deltas(ADA) + self.deltas(BOB)
        return [i for delta in deltas if delta.request_id == request_id for i in delta.token_ids]

    def suspension(self, client_id=BOB):
        return [each for each in self.got[client_id] if isinstance(each, Suspended)][-1].suspension


@pytest.fixture
def world(make_core, runner, model_info):
    return World(make_core(runner), runner, model_info)


@pytest.fixture
def undisturbed(make_core, make_request, run_all):
    """Tokens of a request that nothing suspends."""

    def tokens(name, **options):
        core = make_core()
        core.add(make_request(name, **options))
        return [i for delta in run_all(core)[name] for i in delta.token_ids]

    return tokens


def test_abort_ends_what_runs_and_refuses_what_comes(world, make_request):
    world.put(AddRequest(make_request("r1", num_sequences=2)))
    world.turn(3)
    assert world.ask(Pause(ABORT), BOB) == Done(7)
    ended = [delta for delta in world.deltas() if delta.finish_reason]
    assert [delta.finish_reason for delta in ended] == [FinishReason.ABORT] * 2
    assert all(delta.error is None for delta in ended)
    world.put(AddRequest(make_request("r2")))
    world.turn()
    refused = world.deltas()[-1]
    assert (refused.request_id, refused.error.kind) == ("r2", "SuspendedError")
    assert refused.error.retry_after_s > 0


def test_wait_lets_what_runs_finish_and_answers_then(world, make_request, undisturbed):
    world.put(AddRequest(make_request("r1")))
    world.turn(3)
    world.put(Control(1, Pause(WAIT)))
    world.turn()
    world.put(AddRequest(make_request("r2")))
    world.turn()
    assert world.deltas()[-1].error is not None or world.deltas()[-2].error is not None
    assert Done(1) not in world.got[ADA]
    world.turn(30)
    assert world.got[ADA].index(Done(1)) > 0
    assert world.token_ids("r1") == undisturbed("r1")


def test_keep_freezes_and_goes_on_with_the_same_bytes(world, make_request, undisturbed):
    world.put(AddRequest(make_request("r1")))
    world.turn(4)
    world.ask(Pause(KEEP))
    frozen = world.token_ids("r1")
    world.put(AddRequest(make_request("r2")))
    world.turn(20)
    assert world.token_ids("r1") == frozen
    assert 0 < len(frozen) < 12
    assert world.ask(Resume()) == Done(7)
    world.turn(40)
    assert world.token_ids("r1") == undisturbed("r1")
    assert world.token_ids("r2") == undisturbed("r2")


@pytest.mark.parametrize("level", [1, 2])
def test_kept_requests_sleep_through_and_give_the_same_bytes(
    world, make_request, undisturbed, level
):
    world.put(AddRequest(make_request("r1", num_sequences=2)))
    world.turn(4)
    assert world.ask(Sleep(level, KEEP)) == Done(7)
    world.turn(20)
    assert world.ask(WakeUp()) == Done(7, 0)
    world.turn(40)
    for_both = [undisturbed("r1", num_sequences=2)]
    assert sorted(world.token_ids("r1")) == sorted(for_both[0])
    assert world.memory.log == [
        "pages released",
        f"weights released, copy={level == 1}",
        "weights restored",
        "pages restored",
    ]


def test_a_sleeping_engine_answers_probes_without_a_step(world, runner):
    world.ask(Sleep(1))
    num_launched = len(runner.log)
    world.put(Probe(5))
    world.turn()
    assert isinstance(world.got[ADA][-1], ProbeReply)
    assert len(runner.log) == num_launched


def test_the_engine_answers_while_weights_move(world):
    world.memory.may_go_on.clear()
    world.put(Control(1, Sleep(1)))
    world.put(Probe(5))
    world.turn(20)
    assert any(isinstance(each, ProbeReply) for each in world.got[ADA])
    assert Done(1) not in world.got[ADA]
    assert isinstance(world.ask(Resume(), BOB), Refused)
    world.memory.may_go_on.set()
    assert world.ask(WakeUp(), BOB) == Done(7, 0)
    assert world.memory.log[-1] == "pages restored"


def test_parts_wake_one_after_another(world, make_request):
    world.put(Probe(1), BOB)
    world.ask(Sleep(1))
    assert world.suspension() == Suspension(mode=ABORT, sleep_level=1, has_pages=False)
    assert world.ask(WakeUp((WakeTag.WEIGHTS,))) == Done(7, 1)
    assert world.suspension() == Suspension(mode=ABORT, has_pages=False)
    assert world.ask(WakeUp((WakeTag.KV_CACHE,))) == Done(7, 0)
    assert world.suspension() == Suspension()


def test_a_weight_file_that_changed_leaves_the_engine_asleep(world):
    world.ask(Sleep(2))
    world.memory.fails_with = ModelFormatError("not those that were loaded")
    refused = world.ask(WakeUp())
    assert (refused.error.kind, refused.error.code) == ("ConflictError", "command_failed")
    world.memory.fails_with = None
    assert world.ask(WakeUp()) == Done(7, 0)


def test_a_sleeping_engine_is_not_resumed(world):
    world.ask(Sleep(1))
    assert world.ask(Resume()).error.code == "engine_asleep"


def test_pages_of_a_running_engine_are_not_released(world):
    assert world.ask(ReleasePages()).error.code == "engine_running"
    world.ask(Pause())
    assert world.ask(ReleasePages()) == Done(7)
    assert world.memory.log == ["pages released"]


def drain(world, make_request):
    """Ada's request runs, and Ada waits for its end."""
    world.put(AddRequest(make_request("r1", max_tokens=50)))
    world.put(Control(1, Pause(WAIT)))
    world.turn(2)


def test_resuming_a_drain_refuses_it(world, make_request):
    drain(world, make_request)
    assert world.ask(Resume(), BOB) == Done(7)
    world.turn()
    assert [each.error.code for each in world.got[ADA] if isinstance(each, Refused)] == ["resumed"]


def test_keeping_what_a_drain_waits_for_refuses_the_drain(world, make_request):
    drain(world, make_request)
    assert world.ask(Pause(KEEP), BOB) == Done(7)
    world.turn()
    refused = [each.error.code for each in world.got[ADA] if isinstance(each, Refused)]
    assert refused == ["overtaken"]
    assert world.suspension().mode is KEEP


def test_ending_what_a_drain_waits_for_ends_the_drain(world, make_request):
    drain(world, make_request)
    assert world.ask(Pause(ABORT), BOB) == Done(7)
    world.turn()
    assert Done(1) in world.got[ADA]


def test_a_newcomer_is_told_that_the_engine_sleeps(world):
    world.ask(Sleep(2))
    world.put(Probe(1), BOB)
    world.turn()
    greeting = next(each for each in world.got[BOB] if isinstance(each, Ready))
    assert greeting.suspension.sleep_level == 2


def test_requests_are_ended_by_the_names_clients_know(world, make_request):
    for request_id, names in {"1": ("a-b", "cmpl-a-b"), "2": ("c",), "3": ("c2",), "4": ()}.items():
        request = make_request(request_id, max_tokens=50)
        world.put(AddRequest(msgspec.structs.replace(request, names=names)))
    world.turn(2)
    assert world.ask(EndRequests(("cmpl-a-b", "c", "4", "nobody")), BOB) == Done(7, 3)
    ended = {d.request_id for d in world.deltas() if d.finish_reason is FinishReason.ABORT}
    assert ended == {"1", "2", "4"}
    assert world.ask(EndRequests()) == Done(7, 1)


def test_running_sequences_can_give_up_their_cached_pages(world, make_request, undisturbed):
    world.put(AddRequest(make_request("r1")))
    world.turn(4)
    assert world.ask(ResetPrefixCache()) == Done(7, 0)
    assert world.ask(ResetPrefixCache(includes_running=True)) == Done(7, 1)
    world.turn(40)
    assert world.token_ids("r1") == undisturbed("r1")


def test_without_a_folder_there_are_no_profiles(world):
    assert world.ask(StartProfile()).error.code == "profiler_not_configured"


@pytest.mark.parametrize(
    "suspension",
    [
        Suspension(),
        Suspension(mode=KEEP),
        Suspension(mode=ABORT, has_pages=False),
        Suspension(mode=KEEP, sleep_level=2, has_pages=False),
    ],
)
def test_a_fresh_engine_can_be_brought_to_where_another_was(world, suspension):
    world.put(Probe(1), BOB)
    for command in commands_towards(suspension):
        assert isinstance(world.ask(command), Done)
    world.turn()
    told = [each for each in world.got[BOB] if isinstance(each, Suspended)]
    assert (told[-1].suspension if told else Suspension()) == suspension
