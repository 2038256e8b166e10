"""Eight fake devices compute what one does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parents[3]

GENERATE = """
import json, sys
import jax
from safetensors.numpy import load_file
from engine.config import EngineConfig
from engine.prompt_embeds import embedded_prompt
jax.config.update("jax_num_cpu_devices", 8)
from engine.core import EngineCore
from engine.request import GenerateRequest, PromptEmbeds, SamplingParams
from engine.runner.build import make_runner
from engine.scheduler.scheduler import Scheduler

folder, cache, data, model = sys.argv[1:]
ready = make_runner(EngineConfig(model=folder, compile_cache_dir=cache, max_num_seqs=8,
    max_num_batched_tokens=32, block_size=8, max_logprobs=2, check_invariants=True,
    enable_prompt_embeds=True,
    data_parallel_size=int(data), tensor_parallel_size=int(model)))
core = EngineCore(Scheduler(ready.scheduler_config, ready.info.eos_token_ids), ready.runner)
table = load_file(folder + "/model.safetensors")["model.embed_tokens.weight"]
for index in range(6):
    token_ids = tuple(3 + (7 * index + 5 * k) % 90 for k in range(3 + 6 * index))
    embeds = None
    if int(data) > 1 and index % 2:  # on many devices, every other prompt is embeddings
        embeds = PromptEmbeds(dtype="float32", num_tokens=len(token_ids), width=table.shape[1],
            data=table[list(token_ids)].tobytes())
        token_ids = embedded_prompt(embeds)
    core.add(GenerateRequest(
        request_id=str(index), prompt_token_ids=token_ids, prompt_embeds=embeds,
        sampling=SamplingParams(max_tokens=5, temperature=index % 2, seed=index, logprobs=2,
            ignore_eos=True, presence_penalty=0.5 * (index == 3))))
answers = {}
while core.has_work():
    for delta in core.step():
        assert delta.error is None, delta.error
        answer = answers.setdefault(delta.request_id, {"ids": [], "logprobs": []})
        answer["ids"] += delta.token_ids
        answer["logprobs"] += [one.logprob for one in delta.logprobs]
shards = ready.runner._weights[0].sharding.num_devices
print(json.dumps({"answers": answers, "num_devices": shards,
    "num_unplanned": ready.runner.num_compilations_after_ready}))
"""


def generate(folder: Path, cache: Path, data: int, model: int) -> dict:
    """Answers of an engine over `data` x `model` devices, in a process of its own."""
    arguments = [str(folder), str(cache), str(data), str(model)]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", GENERATE, *arguments],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A random Llama whose four KV heads split over four devices."""
    random = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return random.standard_normal(shape).astype(np.float32) * np.float32(0.3)

    path = tmp_path / "model"
    path.mkdir()
    layer = "model.layers.0"
    save_file(
        {
            "model.embed_tokens.weight": normal(96, 32),
            "model.norm.weight": normal(32),
            "lm_head.weight": normal(96, 32),
            f"{layer}.self_attn.q_proj.weight": normal(64, 32),
            f"{layer}.self_attn.k_proj.weight": normal(32, 32),
            f"{layer}.self_attn.v_proj.weight": normal(32, 32),
            f"{layer}.self_attn.o_proj.weight": normal(32, 64),
            f"{layer}.mlp.gate_proj.weight": normal(64, 32),
            f"{layer}.mlp.up_proj.weight": normal(64, 32),
            f"{layer}.mlp.down_proj.weight": normal(32, 64),
            f"{layer}.input_layernorm.weight": normal(32),
            f"{layer}.post_attention_layernorm.weight": normal(32),
        },
        path / "model.safetensors",
    )
    config = {
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": 96,
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 8,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        "torch_dtype": "float32",
        "eos_token_id": 2,
    }
    (path / "config.json").write_text(json.dumps(config))
    return path


def test_two_by_four_devices_answer_as_one_does(folder: Path, tmp_path: Path) -> None:
    one = generate(folder, tmp_path / "cache", 1, 1)
    eight = generate(folder, tmp_path / "cache", 2, 4)
    assert (one["num_devices"], eight["num_devices"]) == (1, 8)
    assert eight["num_unplanned"] == 0
    for request_id, answer in one["answers"].items():
        assert eight["answers"][request_id]["ids"] == answer["ids"]
        np.testing.assert_allclose(
            eight["answers"][request_id]["logprobs"], answer["logprobs"], atol=1e-5
        )
