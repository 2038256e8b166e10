"""A tiny random llama, and the engine around it in this process."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import pytest

from bench.random_model import LlamaShape, make_llama
from engine.llm import LLM

# Weights this large make every logit depend on every token before it.
TINY = LlamaShape(
    d_model=64,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    d_ff=128,
    vocab_size=512,
    max_position_embeddings=256,
    weight_std=0.25,
)


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return make_llama(tmp_path_factory.mktemp("models") / "tiny-llama", TINY)


def load(folder: pathlib.Path, **options: object) -> LLM:
    defaults = {"check_invariants": True, "max_num_seqs": 32}
    return LLM(str(folder), **{**defaults, **options})


@pytest.fixture(scope="session")
def make_llm(tiny_llama: pathlib.Path) -> Callable[..., LLM]:
    def make(*, is_compiled: bool = True, **options: object) -> LLM:
        llm = load(tiny_llama, **options)
        if is_compiled:
            llm.wait_until_compiled()
        return llm

    return make
