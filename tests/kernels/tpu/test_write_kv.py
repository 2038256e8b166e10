"""Writing keys and values into TPU pages: every token in its place, nothing else touched."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tpu_world import DETECTING, World, has_raced

from pallas_kernels.paged_attention import tpu
from pallas_kernels.paged_attention.tpu.layout import Layout

pytestmark = pytest.mark.usefixtures("quick_compiles")

PAGE = 8
STEPS = {
    "decode rows": ((0, 1), (PAGE - 1, 1), (PAGE, 1)),
    "prefills over page borders": ((5, 2 * PAGE + 3), (PAGE, PAGE), (0, 1)),
    "nothing but padding": (),
}


def written(world: World, interpret: Any) -> np.ndarray:
    def write(kv: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        return tpu.write_kv(kv, k, v, world.batch, interpret=interpret)

    return np.asarray(jax.jit(write, donate_argnums=0)(world.words(), *world.step_kv))


def expected(world: World) -> np.ndarray:
    words = np.array(world.words())
    layout = Layout(world.num_kv_heads, world.head_dim, world.dtype)
    new = np.asarray(layout.pack(*world.step_kv))
    table, row_of = np.asarray(world.batch.page_table_RP), np.asarray(world.batch.row_T)
    for token, position in enumerate(np.asarray(world.batch.positions_T)):
        if position >= 0:
            page = table[row_of[token], position // world.page_size]
            words[page, position % world.page_size] = new[token]
    return words


@pytest.mark.parametrize("rows", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("interpret", [DETECTING, True], ids=["detecting races", "plain"])
def test_tokens_land_in_their_places_and_nowhere_else(
    rows: tuple[tuple[int, int], ...], interpret: Any
) -> None:
    world = World(rows, num_tokens=32, num_rows=4, dtype="bfloat16")
    np.testing.assert_array_equal(written(world, interpret), expected(world))
    assert interpret is True or not has_raced()


def test_a_run_is_cut_where_a_tile_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pallas_kernels.paged_attention.tpu.write.TILE_TOKENS", 4)
    world = World(((3, 11),), num_tokens=14)
    np.testing.assert_array_equal(written(world, DETECTING), expected(world))
    assert not has_raced()


@pytest.mark.parametrize("head_dim", [64, 96, 128, 256])
@pytest.mark.parametrize("kv_dtype", ["float32", "bfloat16", "int8", "float8_e4m3fn"])
def test_what_a_model_shape_stores_is_what_pages_are_made_for(head_dim: int, kv_dtype: str) -> None:
    pages = tpu.make_kv_pages(5, PAGE, 4, head_dim, kv_dtype)
    new = jnp.ones((3, 4, head_dim), jnp.float32)
    assert Layout(4, head_dim, kv_dtype).pack(new, new).shape[1:] == pages.shape[2:]
    assert pages.nbytes == 5 * tpu.kv_page_bytes(PAGE, 4, head_dim, kv_dtype)
    assert not pages.any()


def test_no_lane_is_wasted_at_widths_64_and_128() -> None:
    for num_kv_heads, head_dim in ((8, 128), (8, 64), (1, 128), (2, 64)):
        plain = 2 * PAGE * num_kv_heads * head_dim * 2
        assert tpu.kv_page_bytes(PAGE, num_kv_heads, head_dim, "bfloat16") == plain


def test_pages_of_two_shards_are_two_times_the_pages_of_one() -> None:
    half = tpu.make_kv_pages(3, PAGE, 4, 128, "bfloat16")
    whole = tpu.make_kv_pages(3, PAGE, 8, 128, "bfloat16", num_shards=2)
    assert whole.shape[2] == 2 * half.shape[2]
