"""What is sent to an engine, and what is refused before."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from engine.errors import InvalidParameterError
from engine.prompt_embeds import embedded_prompt
from engine.request import GenerateRequest, ModelInfo, PromptEmbeds, SamplingParams
from engine.stream_table import StreamTable


@pytest.fixture
def info(model_info: ModelInfo) -> ModelInfo:
    return msgspec.structs.replace(model_info, prompt_embeds_width=2)


def embedded_request(width: int) -> GenerateRequest:
    embeds = PromptEmbeds(dtype="float32", num_tokens=3, width=width, data=b"\0" * (12 * width))
    return GenerateRequest(
        request_id="r",
        prompt_token_ids=embedded_prompt(embeds),
        sampling=SamplingParams(max_tokens=1),
        prompt_embeds=embeds,
    )


async def test_embeddings_are_sent_though_no_vocabulary_has_their_ids(info: ModelInfo) -> None:
    sent: list[GenerateRequest] = []
    table = StreamTable(0, sent.append)
    request = embedded_request(2)
    table.submit(table.open(request, info), info)
    assert sent == [request]


async def test_what_a_new_engine_cannot_take_is_refused(info: ModelInfo) -> None:
    sent: list[GenerateRequest] = []
    table = StreamTable(0, sent.append)
    others = msgspec.structs.replace(info, prompt_embeds_width=4)
    stream = table.open(embedded_request(2), info)
    table.submit(stream, others)
    with pytest.raises(InvalidParameterError) as caught:
        await asyncio.wait_for(stream.take(), 5)
    assert caught.value.param == "prompt_embeds"
    assert sent == []
