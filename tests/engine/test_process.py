"""The real engine process with the embedded model; `test_client` has the many cases."""

from __future__ import annotations

import os
import signal

import pytest

from engine.client import EngineClient, EngineState
from engine.config import EngineConfig
from engine.errors import SetupError
from engine.request import FinishReason, GenerateRequest, SamplingParams


def make_request(name: str, max_tokens: int) -> GenerateRequest:
    sampling = SamplingParams(max_tokens=max_tokens, temperature=0.9, seed=3, ignore_eos=True)
    prompt = tuple(range(40, 60))
    return GenerateRequest(request_id=name, prompt_token_ids=prompt, sampling=sampling)


async def collect(client, request):
    return [delta async for deltas in client.generate(request) for delta in deltas]


async def test_a_restarted_engine_gives_the_same_bytes_to_requests_it_inherits(tmp_path):
    config = EngineConfig(
        max_num_seqs=4,
        max_model_len=128,
        max_num_batched_tokens=32,
        compile_cache_dir=str(tmp_path),
    )
    client = await EngineClient.start(config)
    try:
        info = await client.wait_ready()
        assert info.vocab_size > 0
        expected = await collect(client, make_request("before", 20))
        streaming = client.generate(make_request("streaming", 100))
        got = await anext(streaming)
        os.kill(client.process_id, signal.SIGKILL)
        inherited = await collect(client, make_request("inherited", 20))
        got += [delta async for deltas in streaming for delta in deltas]
        assert got[-1].finish_reason is FinishReason.ERROR
        assert [t for delta in inherited for t in delta.token_ids] == [
            t for delta in expected for t in delta.token_ids
        ]
        assert await client.probe(20.0) < 10.0
        assert client.num_restarts == 1
        assert client.stats.total_compilations_after_ready == 0
        assert client.stats.num_free_pages == client.stats.num_pages
    finally:
        await client.close()


async def test_a_model_that_is_not_there_is_reported_in_one_line(tmp_path):
    client = await EngineClient.start(EngineConfig(model=str(tmp_path / "nothing")))
    with pytest.raises(SetupError) as caught:
        await client.wait_ready()
    assert "nothing" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert client.state is EngineState.FAILED
    await client.close()
