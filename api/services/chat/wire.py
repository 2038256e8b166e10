"""A chat answer that is not streamed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from api.services.chat.job import ChatAnswer, ChatJob, given_if
from api.services.chat.message import whole_message
from api.services.generation import logprobs as wire
from api.services.generation.collect import Choice, collect
from api.services.generation.reading import ChoiceReader
from api.services.generation.usage import Usage, metrics_of, usage_of

Member = dict[str, Any]


async def whole_answer(job: ChatJob) -> bytes:
    """The answer when `stream` is false, encoded."""
    return answer_of(job, (await collect([job.generation], job.request.num_choices))[0])


def answer_of(job: ChatJob, choices: Sequence[Choice]) -> bytes:
    """The answer that finished choices make, encoded."""
    scores = wire.prompt_logprobs(job.context.tokenizer, job.generation.prompt_logprobs)
    return encode_answer(
        job,
        [make_choice(job, index, choice) for index, choice in enumerate(choices)],
        usage_of([job.generation]),
        prompt_members(job, scores),
        metrics=metrics_of([job.generation]),
    )


async def batch_answer(jobs: Sequence[ChatJob]) -> bytes:
    """One answer to several conversations, a choice for each."""
    generations = [job.generation for job in jobs]
    found = await collect(generations, num_choices=1)
    choices = [make_choice(job, i, found[i][0]) for i, job in enumerate(jobs)]
    return encode_answer(jobs[0], choices, usage_of(generations), NO_PROMPT)


def encode_answer(
    answer: ChatAnswer,
    choices: Sequence[Member],
    usage: Usage,
    prompt: Member,
    *,
    metrics: Member | None = None,
) -> bytes:
    """The whole answer as JSON.

    Arguments:
        prompt: what is told of the prompt, as `prompt_members` makes it.
    """
    members: Member = {
        "id": answer.identity.response_id,
        "object": "chat.completion",
        "created": answer.identity.created,
        "model": answer.identity.model,
        "choices": choices,
        "service_tier": "default",
        "system_fingerprint": answer.identity.fingerprint,
        "usage": usage.as_dict(),
        **prompt,
        "kv_transfer_params": None,
        "ec_transfer_params": None,
        "metrics": metrics,
    }
    if answer.request.metadata is not None:
        members["metadata"] = answer.request.metadata
    return orjson.dumps(members)


NO_PROMPT: Member = {"prompt_logprobs": None, "prompt_token_ids": None, "prompt_text": None}


def prompt_members(answer: ChatAnswer, scores: list[Any] | None) -> Member:
    """What an answer tells of its prompt; `scores` are its log-probabilities."""
    return {
        "prompt_logprobs": scores,
        "prompt_token_ids": given_if(answer.request.return_token_ids, answer.prompt.token_ids),
        "prompt_text": given_if(answer.request.return_prompt_text, answer.prompt.text),
    }


def make_choice(answer: ChatAnswer, index: int, choice: Choice) -> Member:
    """One choice of an answer."""
    reader = ChoiceReader(answer.reading)
    deltas = reader.read(choice.text, is_last=True)
    is_legacy = answer.plan.is_legacy
    return {
        "index": index,
        "message": whole_message(answer.role, deltas, echoed=answer.echoed, is_legacy=is_legacy),
        "logprobs": answer.logprobs(choice.logprobs),
        "finish_reason": answer.finish_reason(choice.finish_reason, reader.num_calls),
        "stop_reason": choice.stop_reason,
        "token_ids": given_if(answer.request.return_token_ids, choice.token_ids),
        "routed_experts": None,
    }
