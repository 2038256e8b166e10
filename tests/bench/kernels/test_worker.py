"""The cases of `bench kernels` on this machine's own attention, in this process."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from bench.child import NotComparable
from bench.kernels import attention, worker
from bench.kernels.loads import QUICK, Load, decode
from bench.kernels.parity import NotEqual
from pallas_kernels.paged_attention import reference

SMALL = Load("tiny", ((2, 20, 1), (1, 24, 6)), 16)


def run(measure: str, load: Load | None = None, **arguments: Any) -> dict[str, Any]:
    given = {} if load is None else {"load": dataclasses.asdict(load)}
    return worker.run_case({"measure": measure, **given, **arguments})


def test_attention_is_compared_and_timed() -> None:
    figures = run("attention", SMALL, implementation="xla", quick=True)
    assert figures["kind"] == "xla"
    assert figures["median_us"] > 0
    assert figures["bytes_per_s"] * figures["median_us"] == pytest.approx(
        1e6 * SMALL.num_bytes(), rel=1e-2
    )


def test_wrong_attention_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(q_TQH: jax.Array, *arguments: Any, **options: Any) -> jax.Array:
        return jnp.ones(q_TQH.shape, jnp.float32)

    monkeypatch.setattr(attention, "attend", wrong)
    with pytest.raises(NotEqual, match="differs by"):
        run("attention", SMALL, implementation="chosen", quick=True)


def test_a_mask_that_is_off_by_one_does_not_pass_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_further(q_TQH: jax.Array, kv: Any, batch: Any, **options: Any) -> jax.Array:
        last_T = batch.kv_lens_R[batch.row_T] - 1
        later_T = jnp.minimum(batch.positions_T + 1, last_T)
        later = batch._replace(positions_T=later_T)
        return reference.attend(q_TQH, kv, later, scale=options["scale"])

    load = Load("tiny", ((1, 24, 24),), 16)
    run("check", load, check="future")
    monkeypatch.setattr("bench.kernels.attention.attend", one_further)
    with pytest.raises(NotEqual):
        run("check", load, check="future")


def test_a_window_is_checked_at_its_edge() -> None:
    load = Load("tiny", ((1, 24, 24),), 16, window=7)
    assert run("check", load, check="window")["tokens"] == 24
    with pytest.raises(NotComparable):
        run("check", dataclasses.replace(load, window=0), check="window")


@pytest.mark.slow
def test_bits_are_equal_on_a_cpu_however_a_token_is_computed() -> None:
    figures = run("check", Load("tiny", ((1, 33, 1),), 16), check="bits")
    assert set(figures["bit_equal"].values()) == {True}
    assert figures["repeats_itself"]


def test_the_sampler_and_every_search_are_timed() -> None:
    shape = {"num_rows": 8, "vocab_size": 64, "quick": True}
    assert set(run("searches", **shape)["searches"]) == {"plain"}
    assert run("sampler", **shape)["median_us"] > 0


def test_ceilings_are_measured() -> None:
    figures = run("ceilings", quick=True)
    assert figures["copy_bytes_per_s"] > 0
    assert figures["matmul_flops_per_s"] > 0


def test_only_gpu_kernels_have_sizes_to_tune() -> None:
    with pytest.raises(NotComparable):
        run("sizes", decode(1, 64, "tiny"), sizes={"decode_stages": 2})


def test_torch_runs_the_same_loads_where_it_has_one_call_for_them() -> None:
    pytest.importorskip("torch")
    from bench.kernels import torch_worker

    def clock(buffers: Any, is_causal: bool) -> list[float]:
        shape = torch_worker.attend(buffers[0], is_causal).shape
        assert shape[1:] == (4, 1, 64)
        return [1e-3]

    small = decode(2, 20, "tiny", 16)
    assert torch_worker.measure(small, "cpu", clock)["median_us"] == 1000
    with pytest.raises(NotComparable):
        torch_worker.measure(QUICK[-1], "cpu", clock)
    with pytest.raises(NotComparable, match="no CUDA device"):
        torch_worker.run_case({"load": dataclasses.asdict(small)})
