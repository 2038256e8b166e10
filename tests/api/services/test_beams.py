"""`use_beam_search` in both services: shapes, usage, and what does not go with it."""

from __future__ import annotations

from typing import Any

import pytest

from engine.errors import InvalidParameterError


@pytest.mark.parametrize("kind", ["chat", "complete"])
async def test_choices_are_the_beams_best_first(speaking: Any, kind: str) -> None:
    speaker = speaking("x")
    fields = {"use_beam_search": True, "n": 2, "max_tokens": 3, "length_penalty": 0.5}
    answer = await getattr(speaker, kind)(**fields)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]
    assert all(choice["finish_reason"] == "length" for choice in answer["choices"])
    assert answer["usage"]["completion_tokens"] == 6
    sampled = [request.sampling for request in speaker.engine.requests]
    assert {(each.max_tokens, each.logprobs) for each in sampled} == {(1, 4)}
    assert len(sampled) == 1 + 2 + 2


async def test_a_stream_has_the_whole_answers_text(speaking: Any) -> None:
    fields: dict[str, Any] = {"use_beam_search": True, "n": 2, "max_tokens": 3, "logprobs": 1}
    whole = await speaking("x").complete(**fields)
    events = await speaking("x").complete_stream(**fields)
    for index, choice in enumerate(whole["choices"]):
        chunks = [c for e in events[:-1] for c in e["choices"] if c["index"] == index]
        assert "".join(c["text"] for c in chunks) == choice["text"]
        assert chunks[-1]["finish_reason"] == choice["finish_reason"]


async def test_a_prompt_is_echoed_without_a_search(speaking: Any) -> None:
    fields: dict[str, Any] = {"max_tokens": 0, "echo": True}
    plain = await speaking("x").complete(**fields)
    searched = await speaking("x").complete(use_beam_search=True, **fields)
    assert searched["choices"] == plain["choices"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 0.5}, "temperature"),
        ({"top_p": 0.5}, "top_p"),
        ({"presence_penalty": 1.0}, "presence_penalty"),
        ({"logit_bias": {"1": 1}}, "logit_bias"),
        ({"bad_words": ["a"]}, "bad_words"),
        ({"n": 11}, "n"),
        ({"best_of": 2}, "best_of"),
        ({"length_penalty": 1e300}, "length_penalty"),
        ({"use_beam_search": "yes"}, "use_beam_search"),
        ({"use_beam_search": False, "length_penalty": 2.0}, "length_penalty"),
    ],
)
async def test_what_beams_cannot_do_is_refused_by_name(
    speaking: Any, fields: dict[str, Any], param: str
) -> None:
    speaker = speaking("x")
    with pytest.raises(InvalidParameterError) as caught:
        await speaker.complete(**{"use_beam_search": True, "max_tokens": 3, **fields})
    assert caught.value.param == param
    assert speaker.engine.requests == []


@pytest.mark.parametrize("include", [False, True])
async def test_a_stop_string_ends_a_beam_within_the_search(
    speaking: Any, tokenizer: Any, include: bool
) -> None:
    """The likeliest beam says `xx`; what goes on after its stop is no other beam."""
    fields: dict[str, Any] = {"use_beam_search": True, "max_tokens": 4, "n": 4, "logprobs": 0}
    answer = await speaking("x").complete(
        stop=["xx"], include_stop_str_in_output=include, return_token_ids=True, **fields
    )
    choices = answer["choices"]
    ids = [tuple(choice["token_ids"]) for choice in choices]
    assert len(set(ids)) == 4
    assert ids[0] == tuple(tokenizer.encode("x") * 2)
    assert (choices[0]["finish_reason"], choices[0]["stop_reason"]) == ("stop", "xx")
    assert choices[0]["text"] == ("xx" if include else "")
    num_prompt = answer["usage"]["prompt_tokens"]
    scores = [
        sum(choice["logprobs"]["token_logprobs"]) / (num_prompt + len(choice["token_ids"]))
        for choice in choices
    ]
    assert scores == sorted(scores, reverse=True)


async def test_a_stop_string_counts_after_min_tokens(speaking: Any) -> None:
    fields: dict[str, Any] = {"use_beam_search": True, "max_tokens": 4, "n": 1, "stop": ["x"]}
    answer = await speaking("x").complete(min_tokens=2, return_token_ids=True, **fields)
    assert len(answer["choices"][0]["token_ids"]) == 3
