"""Checkpoints as transformers saves them, through the engine: other parts stay unused."""

from __future__ import annotations

import pathlib

import pytest
import torch
import transformers as hf

from engine.config import EngineConfig
from engine.core import EngineCore
from engine.request import GenerateRequest, SamplingParams
from engine.runner.build import make_runner
from engine.scheduler.scheduler import Scheduler

PROMPT = tuple(range(5, 38))
NUM_NEW = 24
TEXT = {
    "vocab_size": 131,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "intermediate_size": 80,
    "max_position_embeddings": 128,
    "sliding_window": 20,
    "sliding_window_pattern": 2,
    "pad_token_id": None,
}
VISION = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "image_size": 28,
    "patch_size": 14,
}


@pytest.fixture
def gemma(randomise) -> torch.nn.Module:
    config = hf.Gemma3Config(
        text_config=TEXT,
        vision_config=VISION,
        image_token_index=130,
        dtype="float32",
        eos_token_id=[7, 9],
    )
    config._attn_implementation = "eager"
    model = hf.Gemma3ForConditionalGeneration(config).eval()
    randomise(model, seed=3)
    return model


def greedy(model: torch.nn.Module) -> list[int]:
    ids = list(PROMPT)
    for _ in range(NUM_NEW):
        with torch.no_grad():
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(PROMPT) :]


def test_the_text_part_of_a_gemma_with_a_vision_tower_is_served(
    gemma: torch.nn.Module,
    tmp_path: pathlib.Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    gemma.save_pretrained(tmp_path / "gemma")
    options = {"max_num_seqs": 8, "max_num_batched_tokens": 64, "block_size": 8}
    ready = make_runner(
        EngineConfig(
            model=str(tmp_path / "gemma"), compile_cache_dir=str(tmp_path / "cache"), **options
        )
    )
    assert "stay unused, the first of them 'multi_modal_projector." in caplog.text
    assert ready.info.eos_token_ids == (7, 9)
    core = EngineCore(Scheduler(ready.scheduler_config, ready.info.eos_token_ids), ready.runner)
    sampling = SamplingParams(max_tokens=NUM_NEW, temperature=0, ignore_eos=True)
    core.add(GenerateRequest(request_id="0", prompt_token_ids=PROMPT, sampling=sampling))
    found: list[int] = []
    while core.has_work():
        found += [token for delta in core.step() for token in delta.token_ids]
    assert found == greedy(gemma)
