"""The attention kernel in the TPU interpreter against the reference, over a table of tiny steps."""

from __future__ import annotations

import numpy as np
import pytest
from tpu_world import World, difference, has_raced

from pallas_kernels.paged_attention.tpu import tuning

pytestmark = pytest.mark.usefixtures("quick_compiles")

PAGE = 8
SMALL = tuning.Sizes(pages_per_chunk=2, decode_strip=2, tile_strip=1, tile=16)
TOLERANCE = {"float32": 3e-6, "bfloat16": 2e-2}
"""bfloat16 rounds weights and outputs to 8 bits; outputs are of the order of 1."""

DECODE = {
    "lengths around a page": ((0, 1), (PAGE - 2, 1), (PAGE - 1, 1), (PAGE, 1), (2 * PAGE, 1)),
    "one row": ((PAGE, 1),),
    "a full page table": ((4 * PAGE - 1, 1), (0, 1)),
}
MIXED = {
    "prefills around a page": ((0, PAGE - 1), (0, PAGE), (0, PAGE + 1)),
    "chunks after cached tokens": ((5, 6), (PAGE, PAGE), (PAGE - 1, 2)),
    "decode rows between prefills": ((9, 1), (0, 5), (0, 1), (PAGE, 3), (12, 1)),
    "one row over several tiles": ((3, 21), (0, 9)),
    "a single token": ((0, 1),),
}


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of two pages, so that tiny rows have several of them and both halves are used."""
    monkeypatch.setattr(tuning, "sizes_for", lambda *_: SMALL)


def agree(world: World, **options: object) -> None:
    got = world.attended(**options)
    options.pop("is_decode")
    assert difference(got, world.expected(**options)) < TOLERANCE[world.dtype]
    assert not has_raced()


@pytest.mark.parametrize("rows", DECODE.values(), ids=DECODE)
def test_decode_rows_agree_with_the_reference(rows: tuple[tuple[int, int], ...]) -> None:
    agree(World(rows, num_rows=8, num_tokens=8), is_decode=True)


@pytest.mark.parametrize("rows", MIXED.values(), ids=MIXED)
def test_mixed_steps_agree_with_the_reference(rows: tuple[tuple[int, int], ...]) -> None:
    agree(World(rows, num_rows=6, num_tokens=40), is_decode=False)


@pytest.mark.parametrize("is_decode", [True, False])
def test_bfloat16_agrees_within_its_rounding(is_decode: bool) -> None:
    rows = ((3, 1), (PAGE, 1), (0, 1)) if is_decode else ((3, 9), (PAGE, 1), (0, 8))
    num_tokens = 4 if is_decode else 24
    world = World(rows, num_rows=4, num_tokens=num_tokens, dtype="bfloat16")
    agree(world, is_decode=is_decode)


def test_a_decode_row_has_the_same_bits_in_a_mixed_step() -> None:
    world = World(((9, 1), (3, 1), (17, 1)), dtype="bfloat16")
    alone, mixed = (world.attended(is_decode=is_decode) for is_decode in (True, False))
    np.testing.assert_array_equal(alone, mixed)


@pytest.mark.parametrize("is_decode", [True, False])
def test_a_step_of_padding_only_gives_zeros(is_decode: bool) -> None:
    world = World((), num_rows=4, num_tokens=4)
    assert np.all(world.attended(is_decode=is_decode) == 0.0)
    assert not has_raced()


@pytest.mark.parametrize("window", [1, PAGE, PAGE + 1, 100])
def test_windows_around_a_page_agree(window: int) -> None:
    rows = ((0, 1), (PAGE - 1, 1), (PAGE, 1), (2 * PAGE, 1))
    agree(World(rows, num_rows=4, num_tokens=4), is_decode=True, window=window)


@pytest.mark.parametrize("window", [1, PAGE, PAGE + 3])
def test_windows_agree_in_mixed_steps(window: int) -> None:
    rows = ((3, 20), (17, 1), (0, PAGE))
    agree(World(rows, num_tokens=30), is_decode=False, window=window)


def test_pages_before_the_window_may_be_given_away() -> None:
    world = World(((3 * PAGE, 1),))
    expected = world.expected(window=PAGE)
    table = world.batch.page_table_RP.at[:, :2].set(0)
    got = _with_table(world, table).attended(is_decode=True, window=PAGE, kv=world.words())
    assert difference(got, expected) < TOLERANCE["float32"]


def _with_table(world: World, table: object) -> World:
    batch = world.batch._replace(page_table_RP=table)
    return type("Moved", (World,), {"batch": property(lambda _: batch)})(world.rows)


@pytest.mark.parametrize("is_decode", [True, False])
def test_a_softcap_agrees(is_decode: bool) -> None:
    rows = ((9, 1), (3, 1)) if is_decode else ((3, 9), (9, 1))
    agree(World(rows), is_decode=is_decode, softcap=0.7)


@pytest.mark.parametrize("group", [1, 3, 7, 16])
def test_groups_agree(group: int) -> None:
    agree(World(((9, 1), (3, 6)), num_heads=group, num_kv_heads=1), is_decode=False)


@pytest.mark.parametrize("head_dim", [32, 64, 96, 192, 256])
def test_head_sizes_agree(head_dim: int) -> None:
    agree(World(((9, 1), (3, 6)), head_dim=head_dim), is_decode=False)


@pytest.mark.parametrize("num_kv_heads", [1, 3, 5])
def test_odd_numbers_of_narrow_heads_agree(num_kv_heads: int) -> None:
    heads = {"num_heads": 2 * num_kv_heads, "num_kv_heads": num_kv_heads, "head_dim": 64}
    agree(World(((9, 1), (3, 6)), dtype="bfloat16", **heads), is_decode=False)


def test_the_sizes_of_the_rule_agree_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    agree(World(((9, 1), (0, 5), (PAGE, 3))), is_decode=False)


def test_the_plain_interpreter_gives_the_same() -> None:
    world = World(((9, 1), (0, 5), (PAGE, 3)), num_rows=4, num_tokens=16)
    got = world.attended(is_decode=False, interpret=True)
    assert difference(got, world.expected()) < TOLERANCE["float32"]
