"""The child that measures torch's scaled-dot-product attention on the same card.

Keys and values are contiguous: torch's kernels know no pages, and gathering them is not timed.
The fastest of torch's backends that run a load is reported, with its name.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from bench.child import NotComparable
from bench.kernels.loads import HEADS, Heads, Load
from bench.timing import SAMPLE_S, spread

BACKENDS = (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION)
ROTATING_BYTES = 256 << 20
MOST_BUFFERS = 16

Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def describe() -> dict[str, Any]:
    """The card, as torch sees it."""
    has_card = torch.cuda.is_available()
    name = torch.cuda.get_device_name() if has_card else "none"
    return {"torch": torch.__version__, "cuda": torch.version.cuda, "device_kind": name}


def run_case(case: dict[str, Any]) -> dict[str, Any]:
    """Time the fastest backend.

    Raises:
        NotComparable: no card, or a load torch has no one call for.
    """
    if not torch.cuda.is_available():
        raise NotComparable("torch sees no CUDA device")
    return measure(Load.from_json(case["load"]), "cuda", time_on_card)


def measure(load: Load, device: str, clock: Callable[..., list[float]]) -> dict[str, Any]:
    """Every backend that runs the load on `device`; figures of the fastest."""
    buffers = [make_tensors(load, device) for _ in range(_num_buffers(load))]
    is_causal = not load.is_decode
    medians: dict[str, float] = {}
    samples_of: dict[str, list[float]] = {}
    refusals: dict[str, str] = {}
    for backend in (*BACKENDS, SDPBackend.MATH) if device == "cpu" else BACKENDS:
        try:
            with sdpa_kernel(backend):
                samples_of[backend.name] = clock(buffers, is_causal)
        except RuntimeError as error:
            refusals[backend.name] = str(error).splitlines()[0][:200]
            continue
        medians[backend.name] = statistics.median(samples_of[backend.name])
    if not medians:
        raise NotComparable(f"no backend of torch runs this: {refusals}")
    best = min(medians, key=lambda name: medians[name])
    return {
        "backend": best,
        "refused": refusals,
        "all_us": {name: round(value * 1e6, 3) for name, value in medians.items()},
        **spread(samples_of[best]),
        "bytes": load.num_bytes(),
        "flops": load.num_flops(),
        "bytes_per_s": load.num_bytes() / medians[best],
        "flops_per_s": load.num_flops() / medians[best],
        "note": "contiguous keys and values, page gather excluded",
    }


def make_tensors(load: Load, device: str) -> Tensors:
    """Random queries `[R, Q, T, H]`, keys and values `[R, K, C, H]`.

    Raises:
        NotComparable: rows differ, a chunk does not begin its prompt, or pages have 8 bits.
    """
    if load.kv_dtype != "bfloat16":
        raise NotComparable("torch's attention reads no 8-bit keys and values")
    if len(load.rows) != 1 or load.window:
        raise NotComparable("torch has no one call for rows of different lengths or windows")
    count, kv_len, num_new = load.rows[0]
    if num_new not in (1, kv_len):
        raise NotComparable("torch aligns a causal mask of fewer queries to the first key")
    heads: Heads = HEADS[load.heads]

    def random(num_heads: int, length: int) -> torch.Tensor:
        shape = (count, num_heads, length, heads.head_dim)
        return torch.randn(shape, device=device, dtype=torch.bfloat16)

    q = random(heads.num_heads, num_new)
    return q, random(heads.num_kv_heads, kv_len), random(heads.num_kv_heads, kv_len)


def attend(tensors: Tensors, is_causal: bool) -> torch.Tensor:
    """One call."""
    return torch.nn.functional.scaled_dot_product_attention(
        *tensors, is_causal=is_causal, enable_gqa=True
    )


def time_on_card(buffers: list[Tensors], is_causal: bool, repeats: int = 7) -> list[float]:
    """Seconds a call between CUDA events: replays of a graph that goes round the buffers."""
    for tensors in buffers:
        attend(tensors, is_causal)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for tensors in buffers:
            attend(tensors, is_causal)
    num_replays = max(1, min(2000, round(SAMPLE_S / _seconds_of(graph, 1))))
    return [_seconds_of(graph, num_replays) / num_replays / len(buffers) for _ in range(repeats)]


def _seconds_of(graph: torch.cuda.CUDAGraph, num_replays: int) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(num_replays):
        graph.replay()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1e3


def _num_buffers(load: Load) -> int:
    return max(1, min(MOST_BUFFERS, -(-ROTATING_BYTES // load.num_bytes())))
