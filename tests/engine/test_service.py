from __future__ import annotations

import pytest

from engine.commands import ResetPrefixCache
from engine.error_info import error_info
from engine.messages import (
    AbortRequests,
    AddRequest,
    Control,
    Done,
    Probe,
    ProbeReply,
    Ready,
    Shutdown,
    StepDeltas,
)
from engine.request import FinishReason
from engine.service import EngineService
from engine.transport.memory import MemoryEndpoint

ADA, BOB = b"ada", b"bob"


@pytest.fixture
def endpoint():
    return MemoryEndpoint()


@pytest.fixture
def service(make_core, model_info, endpoint, runner):
    return EngineService(make_core(runner), endpoint, model_info)


def turn_until_idle(service, endpoint, client_id=ADA):
    messages = []
    for _ in range(100):
        service.turn(0.0)
        messages += endpoint.take(client_id)
    return messages


def deltas_of(messages):
    return [delta for each in messages if isinstance(each, StepDeltas) for delta in each.deltas]


def test_a_new_client_is_greeted_once(service, endpoint, model_info):
    endpoint.put(ADA, Probe(1))
    endpoint.put(ADA, Probe(2))
    service.turn(0.0)
    assert [type(each) for each in endpoint.take(ADA)] == [Ready, ProbeReply, ProbeReply]


def test_a_client_gets_one_message_a_step(service, endpoint, make_request):
    endpoint.put(ADA, AddRequest(make_request("r1", num_prompt_tokens=2)))
    endpoint.put(ADA, AddRequest(make_request("r2", num_prompt_tokens=2)))
    for _ in range(3):
        service.turn(0.0)
    messages = [each for each in endpoint.take(ADA) if isinstance(each, StepDeltas)]
    assert [len(each.deltas) for each in messages] == [2, 2]


def test_clients_get_their_own_tokens_only(service, endpoint, make_request):
    endpoint.put(ADA, AddRequest(make_request("r1")))
    endpoint.put(BOB, AddRequest(make_request("r2")))
    own = deltas_of(turn_until_idle(service, endpoint, ADA))
    other = deltas_of(endpoint.take(BOB))
    assert {delta.request_id for delta in own} == {"r1"}
    assert {delta.request_id for delta in other} == {"r2"}


def test_a_refused_request_ends_each_sequence_with_a_typed_error(service, endpoint, make_request):
    endpoint.put(ADA, AddRequest(make_request("long", 500, num_sequences=2)))
    deltas = deltas_of(turn_until_idle(service, endpoint))
    assert [delta.sequence_index for delta in deltas] == [0, 1]
    assert all(delta.finish_reason is FinishReason.ERROR for delta in deltas)
    assert {delta.error.kind for delta in deltas} == {"ContextLengthError"}


def test_an_id_in_use_is_refused_without_harm_to_its_owner(service, endpoint, make_request):
    endpoint.put(ADA, AddRequest(make_request("r1")))
    endpoint.put(BOB, AddRequest(make_request("r1")))
    own = deltas_of(turn_until_idle(service, endpoint, ADA))
    assert own[-1].finish_reason is FinishReason.LENGTH
    assert deltas_of(endpoint.take(BOB))[0].error is not None


def test_a_client_cannot_abort_what_is_not_its_own(service, endpoint, make_request):
    endpoint.put(ADA, AddRequest(make_request("r1")))
    endpoint.put(BOB, AbortRequests(("r1",)))
    own = deltas_of(turn_until_idle(service, endpoint, ADA))
    assert own[-1].finish_reason is FinishReason.LENGTH


def test_an_aborted_request_is_answered_by_nothing(service, endpoint, make_request, runner):
    endpoint.put(ADA, AddRequest(make_request("r1")))
    for _ in range(4):
        service.turn(0.0)
    endpoint.take(ADA)
    endpoint.put(ADA, AbortRequests(("r1",)))
    assert deltas_of(turn_until_idle(service, endpoint)) == []


def test_requests_of_a_client_that_vanished_stop(service, endpoint, make_request, runner):
    endpoint.put(ADA, AddRequest(make_request("r1", max_tokens=50)))
    for _ in range(4):
        service.turn(0.0)
    endpoint.disconnect(ADA)
    service.turn(0.0)
    num_launched = len(runner.log)
    turn_until_idle(service, endpoint)
    assert len(runner.log) == num_launched
    endpoint.put(BOB, Probe(1))
    service.turn(0.0)
    reply = endpoint.take(BOB)[-1]
    assert reply.stats.num_free_pages == reply.stats.num_pages


def test_a_probe_is_answered_with_the_age_of_the_last_step(service, endpoint):
    endpoint.put(ADA, Probe(7))
    service.turn(0.0)
    reply = endpoint.take(ADA)[-1]
    assert isinstance(reply, ProbeReply)
    assert (reply.probe_id, reply.step_age_s) == (7, 0.0)


def test_resetting_the_prefix_cache_is_confirmed(service, endpoint):
    endpoint.put(ADA, Control(3, ResetPrefixCache()))
    service.turn(0.0)
    assert endpoint.take(ADA)[-1] == Done(3, 1)


def test_shutdown_ends_what_runs_with_abort(service, endpoint, make_request):
    endpoint.put(ADA, AddRequest(make_request("r1", num_sequences=2)))
    endpoint.put(ADA, Shutdown())
    service.serve()
    deltas = deltas_of(endpoint.take(ADA))
    assert [delta.finish_reason for delta in deltas] == [FinishReason.ABORT] * 2


def test_texts_of_unplanned_exceptions_stay_inside():
    info = error_info(ValueError("/secret/path"))
    assert info.kind == "SequenceError"
    assert "secret" not in info.message
