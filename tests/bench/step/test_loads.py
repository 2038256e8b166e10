"""The roofline of a step."""

from __future__ import annotations

import pytest

from bench.step.loads import LOADS, StepLoad, roofline
from bench.step.models import MODELS
from models.registry import family_for


def of(model: str, load: StepLoad) -> dict[str, int]:
    decoder = family_for(MODELS[model]).decoder_config(MODELS[model])
    return roofline(decoder, load, 2 * decoder.num_matrix_parameters)


@pytest.mark.parametrize(("num_rows", "gigabytes"), [(1, 15.1), (32, 19.3), (128, 32.2)])
def test_decode_of_llama_8b_reads_weights_and_pages_once(num_rows: int, gigabytes: float) -> None:
    assert of("llama-3.1-8b", StepLoad(num_rows, 1024))["bytes"] / 1e9 == pytest.approx(
        gigabytes, abs=0.06
    )


def test_prefill_of_8192_tokens_takes_165_ms_at_800_tflops() -> None:
    flops = of("llama-3.1-8b", StepLoad(1, 0, 8192))["flops"]
    assert flops / 800e12 == pytest.approx(0.165, abs=0.003)


def test_a_tied_embedding_is_read_because_it_makes_the_logits() -> None:
    figures = of("qwen3-0.6b", StepLoad(1, 0, 2))
    assert figures["bytes"] > 2 * 596_000_000 * 0.99


def test_every_load_has_a_name_of_its_own() -> None:
    assert len({load.name for load in LOADS}) == len(LOADS)
