"""A chat answer that is not streamed."""

from __future__ import annotations

from typing import Any

import orjson

from api.services import logprobs as wire
from api.services.chat_job import ChatJob, given_if
from api.services.chat_message import whole_message
from api.services.collect import Choice, collect
from api.services.generation import usage_of
from api.services.reading import ChoiceReader


async def whole_answer(job: ChatJob) -> bytes:
    """The answer when `stream` is false, encoded."""
    choices = (await collect([job.generation], job.request.num_choices))[0]
    tokenizer = job.context.tokenizer
    answer: dict[str, Any] = {
        "id": job.identity.response_id,
        "object": "chat.completion",
        "created": job.identity.created,
        "model": job.identity.model,
        "choices": [_choice(job, index, choice) for index, choice in enumerate(choices)],
        "service_tier": "default",
        "system_fingerprint": job.identity.fingerprint,
        "usage": usage_of([job.generation]).as_dict(),
        "prompt_logprobs": wire.prompt_logprobs(tokenizer, job.generation.prompt_logprobs),
        "prompt_token_ids": given_if(job.request.return_token_ids, job.prompt.token_ids),
        "prompt_text": given_if(job.request.return_prompt_text, job.prompt.text),
        "kv_transfer_params": None,
        "ec_transfer_params": None,
        "metrics": None,
    }
    if job.request.metadata is not None:
        answer["metadata"] = job.request.metadata
    return orjson.dumps(answer)


def _choice(job: ChatJob, index: int, choice: Choice) -> dict[str, Any]:
    reader = ChoiceReader(job.reading)
    deltas = reader.read(choice.text, is_last=True)
    return {
        "index": index,
        "message": whole_message(job.role, deltas, echoed=job.echoed, is_legacy=job.plan.is_legacy),
        "logprobs": job.logprobs(choice.logprobs),
        "finish_reason": job.finish_reason(choice.finish_reason, reader.num_calls),
        "stop_reason": choice.stop_reason,
        "token_ids": given_if(job.request.return_token_ids, choice.token_ids),
        "routed_experts": None,
    }
