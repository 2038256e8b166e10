from __future__ import annotations

import math

import pytest

from engine.quarantine import Quarantine
from engine.request import GenerateRequest, SamplingParams
from engine.sequence import Sequence


def make_sequences(number: int) -> list[Sequence]:
    request = GenerateRequest(
        request_id="r", prompt_token_ids=(1,), sampling=SamplingParams(max_tokens=1)
    )
    return [Sequence.from_request(request, i) for i in range(number)]


def test_all_suspects_are_tried_together_first():
    suspects = make_sequences(4)
    quarantine = Quarantine()
    assert quarantine.accuse(suspects) is None
    assert quarantine.on_trial == set(suspects)


def test_nobody_is_suspected_once_all_are_cleared():
    suspects = make_sequences(3)
    quarantine = Quarantine()
    quarantine.accuse(suspects)
    quarantine.clear(suspects)
    assert not quarantine.is_active
    assert quarantine.on_trial == frozenset()


@pytest.mark.parametrize("number", [1, 2, 5, 32])
def test_the_culprit_is_found_in_logarithmically_many_trials(number):
    suspects = make_sequences(number)
    culprit = suspects[number // 2]
    quarantine = Quarantine()
    quarantine.accuse(suspects)
    num_trials = 0
    found = None
    while quarantine.is_active:
        num_trials += 1
        group = quarantine.on_trial
        if culprit in group:
            found = quarantine.accuse(group) or found
        else:
            quarantine.clear(group)
    assert found is culprit
    assert num_trials <= 2 * math.ceil(math.log2(number)) + 1


def test_a_failed_trial_of_a_part_keeps_the_rest_suspected():
    first, second, third = make_sequences(3)
    quarantine = Quarantine()
    quarantine.accuse([first, second, third])
    assert quarantine.accuse([second]) is second
    assert quarantine.on_trial == {first, third}
