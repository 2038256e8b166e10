"""A tiny random Llama, a runner for it compiled once, its plain forward, and plans by hand."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Items
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from engine.config import EngineConfig
from engine.request import GenerateRequest, SamplingParams
from engine.runner.build import ReadyRunner, make_runner
from engine.runner.runner import Runner
from engine.scheduler.plan import PlannedRow, RowResult, StepPlan
from engine.sequence import Sequence

VOCAB_SIZE, WIDTH, NUM_LAYERS, NUM_HEADS, NUM_KV_HEADS, HEAD_DIM, FF = 96, 32, 2, 8, 4, 8, 64
MAX_LEN, PAGE_SIZE, MAX_SEQS, MAX_TOKENS = 128, 8, 16, 64
EPS, THETA = 1e-5, 10000.0

Tensors = dict[str, np.ndarray]


def random_tensors(seed: int = 0) -> Tensors:
    random = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return random.standard_normal(shape).astype(np.float32) * np.float32(0.3)

    tensors = {
        "model.embed_tokens.weight": normal(VOCAB_SIZE, WIDTH),
        "model.norm.weight": normal(WIDTH) + 1,
        "lm_head.weight": normal(VOCAB_SIZE, WIDTH),
    }
    for layer_index in range(NUM_LAYERS):
        layer = f"model.layers.{layer_index}"
        tensors |= {
            f"{layer}.self_attn.q_proj.weight": normal(NUM_HEADS * HEAD_DIM, WIDTH),
            f"{layer}.self_attn.k_proj.weight": normal(NUM_KV_HEADS * HEAD_DIM, WIDTH),
            f"{layer}.self_attn.v_proj.weight": normal(NUM_KV_HEADS * HEAD_DIM, WIDTH),
            f"{layer}.self_attn.o_proj.weight": normal(WIDTH, NUM_HEADS * HEAD_DIM),
            f"{layer}.mlp.gate_proj.weight": normal(FF, WIDTH),
            f"{layer}.mlp.up_proj.weight": normal(FF, WIDTH),
            f"{layer}.mlp.down_proj.weight": normal(WIDTH, FF),
            f"{layer}.input_layernorm.weight": normal(WIDTH) + 1,
            f"{layer}.post_attention_layernorm.weight": normal(WIDTH) + 1,
        }
    return tensors


def write_model(path: Path, tensors: Tensors) -> Path:
    path.mkdir(parents=True)
    save_file(tensors, path / "model.safetensors")
    config = {
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": VOCAB_SIZE,
        "hidden_size": WIDTH,
        "num_hidden_layers": NUM_LAYERS,
        "num_attention_heads": NUM_HEADS,
        "num_key_value_heads": NUM_KV_HEADS,
        "head_dim": HEAD_DIM,
        "intermediate_size": FF,
        "rms_norm_eps": EPS,
        "rope_theta": THETA,
        "max_position_embeddings": MAX_LEN,
        "torch_dtype": "float32",
        "eos_token_id": 2,
    }
    (path / "config.json").write_text(json.dumps(config))
    return path


@pytest.fixture(scope="session")
def tensors() -> Tensors:
    return random_tensors()


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("xla")


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory, tensors: Tensors) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "tiny", tensors)


@pytest.fixture(scope="session")
def engine_config(model_folder: Path, cache_folder: Path) -> EngineConfig:
    return EngineConfig(
        model=str(model_folder),
        max_num_seqs=MAX_SEQS,
        max_num_batched_tokens=MAX_TOKENS,
        block_size=PAGE_SIZE,
        max_logprobs=5,
        compile_cache_dir=str(cache_folder),
    )


@pytest.fixture(scope="session")
def ready(engine_config: EngineConfig) -> Iterator[ReadyRunner]:
    """A runner with every bucket compiled."""
    ready = make_runner(engine_config)
    ready.runner.warm_up()
    yield ready
    ready.runner.close()


@pytest.fixture
def runner(ready: ReadyRunner) -> Runner:
    """The shared runner with forgotten pages and slots."""
    ready.runner.recover()
    return ready.runner


@dataclasses.dataclass
class World:
    """Sequences and pages without a scheduler: every sequence has pages for all it may need."""

    runner: Runner
    num_taken_pages: int = 1
    num_steps: int = 0
    slots: list[Sequence] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        num_columns = self.runner.program.max_pages
        self.page_table_SP = np.zeros((MAX_SEQS + 1, num_columns), np.int32)

    def add(self, prompt: Items[int], *, num_output: int = 40, **sampling) -> Sequence:
        request = GenerateRequest(
            request_id=f"r{len(self.slots)}",
            prompt_token_ids=tuple(prompt),
            sampling=SamplingParams(**({"max_tokens": 99, "temperature": 0.0} | sampling)),
        )
        sequence = Sequence.from_request(request, 0)
        num_pages = -(-(len(prompt) + num_output) // PAGE_SIZE)
        sequence.page_ids = [*range(self.num_taken_pages, self.num_taken_pages + num_pages)]
        self.num_taken_pages += num_pages
        sequence.slot_index = len(self.slots)
        self.page_table_SP[sequence.slot_index, :num_pages] = sequence.page_ids
        self.slots.append(sequence)
        return sequence

    def row(self, sequence: Sequence, num_new: int | None = None, **changes) -> PlannedRow:
        start = sequence.num_computed_tokens
        num_new = sequence.num_tokens - start if num_new is None else num_new
        sequence.num_computed_tokens = start + num_new
        is_sampling = start + num_new == sequence.num_tokens
        uses_pending = sequence.num_pending_tokens > 0
        sequence.num_pending_tokens += is_sampling
        assert sequence.slot_index is not None
        fields = {
            "sequence": sequence,
            "slot_index": sequence.slot_index,
            "start": start,
            "num_new_tokens": num_new,
            "is_sampling": is_sampling,
            "is_new_slot": start == 0,
            "uses_pending_token": uses_pending,
            "page_ids": sequence.page_ids,
            "num_pages": len(sequence.page_ids),
        }
        return PlannedRow(**(fields | changes))

    def launch(self, rows: Items[PlannedRow]):
        self.num_steps += 1
        return self.runner.launch(StepPlan(self.num_steps, tuple(rows), self.page_table_SP))

    def settle(self, rows: Items[PlannedRow], results: Items[RowResult]) -> None:
        for row, result in zip(rows, results, strict=True):
            if result.token_id is not None:
                row.sequence.token_ids.append(result.token_id)
                row.sequence.num_pending_tokens -= 1

    def step(self, rows: Items[PlannedRow]) -> list[RowResult]:
        results = self.launch(rows).results()
        self.settle(rows, results)
        return results

    def generate(
        self, sequences: Items[Sequence], num_tokens: int, chunk_tokens: int = 1000
    ) -> list[list[RowResult]]:
        """Prompts in chunks, then decoding; the sampled results of each sequence."""
        sampled: list[list[RowResult]] = [[] for _ in sequences]
        while any(len(results) < num_tokens for results in sampled):
            unfinished = [
                index for index, results in enumerate(sampled) if len(results) < num_tokens
            ]
            rows: list[PlannedRow] = []
            budget = MAX_TOKENS
            for index in unfinished:
                sequence = sequences[index]
                num_new = sequence.num_tokens - sequence.num_computed_tokens
                num_new = min(num_new, chunk_tokens, budget)
                if num_new:
                    budget -= num_new
                    rows.append(self.row(sequence, num_new))
            for row, result in zip(rows, self.step(rows), strict=True):
                if row.is_sampling:
                    index = next(i for i in unfinished if sequences[i] is row.sequence)
                    sampled[index].append(result)
        return sampled


@pytest.fixture
def world(runner: Runner) -> World:
    return World(runner)


@pytest.fixture
def make_world(runner: Runner) -> Callable[[], World]:
    """Worlds with pages and slots of their own; each forgets the one before."""

    def make() -> World:
        runner.recover()
        return World(runner)

    return make


def plain_logits(tensors: Tensors, token_ids: Items[int]) -> np.ndarray:
    """Logits `[T, V]` of a whole sequence, float64, without a cache."""
    weights = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    x = weights["model.embed_tokens.weight"][list(token_ids)]
    positions = np.arange(len(token_ids))
    for layer_index in range(NUM_LAYERS):
        layer = f"model.layers.{layer_index}"
        normed = _norm(x, weights[f"{layer}.input_layernorm.weight"])
        x = x + _attention(normed, weights, f"{layer}.self_attn", positions)
        normed = _norm(x, weights[f"{layer}.post_attention_layernorm.weight"])
        gate = normed @ weights[f"{layer}.mlp.gate_proj.weight"].T
        up = normed @ weights[f"{layer}.mlp.up_proj.weight"].T
        x = x + (gate / (1 + np.exp(-gate)) * up) @ weights[f"{layer}.mlp.down_proj.weight"].T
    return _norm(x, weights["model.norm.weight"]) @ weights["lm_head.weight"].T


def _norm(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + EPS) * weight


def _rotate(x: np.ndarray, positions: np.ndarray) -> np.ndarray:
    angle = positions[:, None] / THETA ** (np.arange(0, HEAD_DIM, 2) / HEAD_DIM)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    left, right = np.split(x, 2, axis=-1)
    return np.concatenate([left * cos - right * sin, right * cos + left * sin], axis=-1)


def _attention(x: np.ndarray, weights: Tensors, name: str, positions: np.ndarray) -> np.ndarray:
    num_tokens = len(x)
    q, k, v = (
        (x @ weights[f"{name}.{part}_proj.weight"].T).reshape(num_tokens, -1, HEAD_DIM)
        for part in "qkv"
    )
    group = NUM_HEADS // NUM_KV_HEADS
    q, k = _rotate(q, positions), _rotate(k, positions)
    k, v = np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)
    scores = np.einsum("tqh,sqh->qts", q, k) / np.sqrt(HEAD_DIM)
    scores = np.where(positions[:, None] >= positions[None, :], scores, -np.inf)
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = np.einsum("qts,sqh->tqh", scores / scores.sum(-1, keepdims=True), v)
    return mixed.reshape(num_tokens, -1) @ weights[f"{name}.o_proj.weight"].T


@pytest.fixture(scope="session")
def plain_logprobs(tensors: Tensors) -> Callable[[Items[int]], np.ndarray]:
    """Log-softmax `[T, V]` of the plain forward."""

    def logprobs(token_ids: Items[int]) -> np.ndarray:
        logits = plain_logits(tensors, token_ids)
        logits = logits - logits.max(-1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(-1, keepdims=True))

    return logprobs


@pytest.fixture(scope="session")
def prompts() -> list[list[int]]:
    """Sixteen prompts of different lengths."""
    random = np.random.default_rng(7)
    return [random.integers(3, VOCAB_SIZE, 3 + 2 * index).tolist() for index in range(MAX_SEQS)]
