"""The kernels in Mosaic's interpreter against the specification, with races watched for."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from gpu_world import SMALL, TOLERANCE, make_world, with_8_bits

from pallas_kernels.paged_attention import gpu

pytestmark = pytest.mark.usefixtures("quick_compiles")

SINKS = jnp.asarray([0.5, 3.0], jnp.float32)


@pytest.fixture(autouse=True)
def small_sizes(monkeypatch):
    monkeypatch.setattr(gpu, "tuning", lambda *_: SMALL)


def difference(world, *, is_decode, detect_races=False, num_blocks=1, **options):
    result = world.attend(
        is_decode=is_decode, detect_races=detect_races, num_blocks=num_blocks, **options
    )
    return np.max(np.abs(result - world.expected(**options)))


DECODE_ROWS = [(1, 1), (63, 1), (64, 1), (65, 1), (150, 1)]


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        pytest.param({"num_heads": 4, "num_kv_heads": 2}, {}, id="groups"),
        pytest.param({}, {"window": 64, "softcap": 2.0}, id="window and softcap"),
        pytest.param({}, {"sinks_Q": SINKS}, id="sinks"),
        pytest.param({"page_size": 128}, {"window": 70}, id="two tiles a page"),
    ],
)
def test_decode_equals_the_reference_at_every_border_of_a_page(shape, options):
    world = make_world(DECODE_ROWS, num_tokens=8, num_rows=8, **shape)
    assert difference(world, is_decode=True, **options) < TOLERANCE


@pytest.mark.parametrize(
    ("head_dim", "num_heads"), [(64, 1), (96, 3), (128, 16), (192, 2), (256, 2)]
)
def test_decode_knows_every_head_size_and_group(head_dim, num_heads):
    world = make_world([(70, 1)], num_tokens=1, head_dim=head_dim, num_heads=num_heads)
    assert difference(world, is_decode=True) < TOLERANCE


MIXED_ROWS = [(70, 70), (130, 5), (66, 1), (64, 2), (1, 1)]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="plain"),
        pytest.param({"window": 64}, id="window of a page", marks=pytest.mark.slow),
        pytest.param(
            {"window": 3, "softcap": 2.0, "sinks_Q": SINKS}, id="window, softcap and sinks"
        ),
        pytest.param({"sinks_Q": SINKS}, id="sinks", marks=pytest.mark.slow),
    ],
)
def test_a_mixed_batch_equals_the_reference(options):
    world = make_world(MIXED_ROWS, num_tokens=96, num_rows=6)
    assert difference(world, is_decode=False, **options) < TOLERANCE


def test_rows_that_start_between_two_blocks_of_loads_equal_the_reference(monkeypatch):
    monkeypatch.setattr(gpu, "tuning", lambda *_: SMALL.__class__(64, 2, 128, 2, 64))
    world = make_world([(9, 1), (70, 33), (129, 129), (131, 131)], num_tokens=296, num_rows=8)
    assert difference(world, is_decode=False) < TOLERANCE


@pytest.mark.parametrize("head_dim", [96, 256])
def test_prefill_knows_narrow_and_wide_heads(head_dim):
    world = make_world([(66, 66)], num_tokens=66, head_dim=head_dim)
    assert difference(world, is_decode=False) < TOLERANCE


def test_prefill_fills_a_tile_from_two_pages(monkeypatch):
    sizes = SMALL.__class__(64, 2, 128, 2, 64)
    monkeypatch.setattr(gpu, "tuning", lambda *_: sizes)
    world = make_world([(190, 130)], num_tokens=130)
    assert difference(world, is_decode=False) < TOLERANCE


@pytest.mark.parametrize("is_decode", [True, False], ids=["decode", "mixed"])
def test_a_batch_of_padding_alone_gives_zeros(is_decode):
    world = make_world([], num_tokens=2, num_rows=2)
    assert np.array_equal(world.attend(is_decode=is_decode), np.zeros((2, 2, 64)))


def test_no_race_is_found_in_decode():
    world = make_world([(200, 1), (64, 1)], num_tokens=2)
    assert difference(world, is_decode=True, detect_races=True, num_blocks=2) < TOLERANCE


def test_no_race_is_found_in_a_mixed_batch():
    world = make_world([(130, 70), (65, 1)], num_tokens=72)
    assert difference(world, is_decode=False, detect_races=True, num_blocks=2) < TOLERANCE


def test_a_row_of_more_pieces_than_are_joined_at_once_equals_the_reference():
    world = make_world([(64 * 10 - 5, 1), (70, 1)], num_tokens=2)
    assert difference(world, is_decode=True) < TOLERANCE


def test_a_row_cut_into_longer_pieces_equals_the_reference(monkeypatch):
    monkeypatch.setattr(gpu, "most_pieces", lambda _: 2)
    world = make_world([(64 * 5, 1), (70, 1)], num_tokens=2)
    assert difference(world, is_decode=True) < TOLERANCE


def test_blocks_share_the_work():
    world = make_world([(150, 1), (64, 1)], num_tokens=2)
    assert difference(world, is_decode=True, num_blocks=3) < TOLERANCE


def test_a_row_has_the_same_bits_in_any_batch():
    alone, among = (
        make_world([(150, 1)], num_tokens=1),
        make_world([(150, 1), (300, 1), (10, 1)], num_tokens=8, num_rows=8),
    )
    among = among.__class__(
        among.q_TQH.at[0].set(alone.q_TQH[0]),
        among.pages.at[among.batch.page_table_RP[0, :3]].set(
            alone.pages[alone.batch.page_table_RP[0, :3]]
        ),
        among.batch,
    )
    assert np.array_equal(among.attend(is_decode=True)[0], alone.attend(is_decode=True)[0])


@pytest.mark.parametrize(
    "kv_dtype", ["float8_e4m3fn", pytest.param("float8_e5m2", marks=pytest.mark.slow), "int8"]
)
def test_8_bit_pages_are_read_as_the_reference_reads_them(kv_dtype):
    rows = [(1, 1), (65, 1), (150, 1)]
    world = make_world(rows, num_tokens=4, num_heads=4, num_kv_heads=2, num_rows=4)
    assert difference(with_8_bits(world, kv_dtype), is_decode=True) < TOLERANCE
    world = with_8_bits(make_world([(70, 70), (66, 1), (64, 2)], num_tokens=80), kv_dtype)
    assert difference(world, is_decode=False, window=60) < TOLERANCE


@pytest.mark.parametrize(
    "head_dim",
    [pytest.param(96, marks=pytest.mark.slow), 128, pytest.param(192, marks=pytest.mark.slow)],
)
def test_8_bit_pages_of_other_heads(head_dim):
    world = with_8_bits(make_world([(66, 66)], num_tokens=66, head_dim=head_dim), "float8_e4m3fn")
    assert difference(world, is_decode=False) < TOLERANCE


def test_decode_reads_8_bit_pages_of_wide_heads():
    world = with_8_bits(make_world([(70, 1)], num_tokens=1, head_dim=192), "int8")
    assert difference(world, is_decode=True) < TOLERANCE


def test_no_race_is_found_over_8_bit_pages():
    world = with_8_bits(make_world([(200, 1), (64, 1)], num_tokens=2), "float8_e4m3fn")
    assert difference(world, is_decode=True, detect_races=True, num_blocks=2) < TOLERANCE
    world = with_8_bits(make_world([(130, 70), (65, 1)], num_tokens=72), "int8")
    assert difference(world, is_decode=False, detect_races=True, num_blocks=2) < TOLERANCE
