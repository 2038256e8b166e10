"""The child that measures transformers on the same card: one eager forward of the same load.

Weights and cache are random, attention is torch's `sdpa`. Decode appends to its cache as
`generate` does; every sample starts from a new one.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable
from typing import Any

import torch
import transformers

from bench.child import NotComparable
from bench.step.loads import StepLoad, roofline
from bench.step.models import MODELS
from bench.timing import spread
from models.registry import family_for

NUM_STEPS = 10
REPEATS = 5
BF16_BYTES = 2
UNTOLD = ("torch_dtype", "model_type", "architectures")


def describe() -> dict[str, Any]:
    """The card, as torch sees it."""
    has_card = torch.cuda.is_available()
    name = torch.cuda.get_device_name() if has_card else "none"
    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "device_kind": name,
    }


def run_case(case: dict[str, Any]) -> dict[str, Any]:
    """Time one load.

    Raises:
        NotComparable: no card, or it samples.
    """
    if not torch.cuda.is_available():
        raise NotComparable("torch sees no CUDA device")
    load = StepLoad(**case["loads"][case["index"]])
    return measure(case["model"], load, "cuda", time_on_card)


def measure(
    model_name: str, load: StepLoad, device: str, clock: Callable[[Callable[[], Any]], float]
) -> dict[str, Any]:
    """Seconds of a forward on `device`; `clock` gives those of one call."""
    if load.is_sampled:
        raise NotComparable("a forward of transformers samples nothing")
    model = _model(model_name, device)
    ids = torch.randint(0, model.config.vocab_size, (load.num_rows, load.num_new), device=device)
    num_steps = NUM_STEPS if load.num_new == 1 else 1

    def steps(cache: Any) -> None:
        for _ in range(num_steps):
            output = model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            output.logits.argmax(-1)

    with torch.inference_mode():
        samples = [
            clock(functools.partial(steps, _filled_cache(model, load, device))) / num_steps
            for _ in range(REPEATS + 1)
        ][1:]
    decoder = family_for(MODELS[model_name]).decoder_config(MODELS[model_name])
    needed = roofline(decoder, load, BF16_BYTES * decoder.num_matrix_parameters)
    return {
        **spread(samples),
        **needed,
        "attention": "sdpa",
        "tokens_per_s": needed["tokens"] / statistics.median(samples),
        "note": "eager, sdpa, dynamic cache, argmax",
    }


def time_on_card(work: Callable[[], Any]) -> float:
    """Seconds between CUDA events."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    work()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1e3


@functools.lru_cache(maxsize=1)
def _model(name: str, device: str) -> Any:
    given = {key: value for key, value in MODELS[name].items() if key not in UNTOLD}
    config: Any = transformers.AutoConfig.for_model(MODELS[name]["model_type"], **given)
    with torch.device(device):
        made: Any = transformers.AutoModelForCausalLM.from_config(
            config, dtype=torch.bfloat16, attn_implementation="sdpa"
        )
    return made.eval()


def _filled_cache(model: Any, load: StepLoad, device: str) -> Any:
    cache: Any = transformers.DynamicCache(config=model.config)
    heads = (model.config.num_key_value_heads, load.context, model.config.head_dim)
    for layer in range(model.config.num_hidden_layers if load.context else 0):
        k, v = (
            torch.randn((load.num_rows, *heads), device=device, dtype=torch.bfloat16)
            for _ in range(2)
        )
        cache.update(k, v, layer)
    return cache
