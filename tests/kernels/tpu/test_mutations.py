"""Kernels broken on purpose: each break turns one of the checks red."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import pallas as pl
from tpu_step import Bucket, Shape, compile_step, faults
from tpu_world import World, difference, has_raced

from pallas_kernels.paged_attention.tpu import copies, kernel, ranges

DECODE = World(((9, 1), (3, 1), (17, 1), (6, 1)))


def is_right(world: World, *, is_decode: bool) -> bool:
    """What the parity tests ask."""
    got = world.attended(is_decode=is_decode)
    return difference(got, world.expected()) < 3e-6 and not has_raced()


def test_the_unbroken_kernel_is_right() -> None:
    assert is_right(DECODE, is_decode=True)


class _Shifted:
    """A page table read one entry too far."""

    def __init__(self, ref: Any) -> None:
        self.ref = ref

    def __getitem__(self, index: Any) -> Any:
        return self.ref[(index + 1) % self.ref.shape[0]]


def test_a_wrong_page_index_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(page_table: Any, *rest: Any) -> copies.PageCopies:
        return copies.PageCopies(_Shifted(page_table), *rest)

    monkeypatch.setattr(kernel, "PageCopies", make)
    assert not is_right(DECODE, is_decode=True)


def test_a_copy_not_waited_for_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies.PageCopies, "wait", lambda *_: None)
    assert not is_right(DECODE, is_decode=True)


def test_a_copy_into_the_half_being_read_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next chunk arrives in the first half, whichever is being multiplied."""
    start = copies.PageCopies.start
    monkeypatch.setattr(
        copies.PageCopies, "start", lambda self, i, c, slot: start(self, i, c, 0 * slot)
    )
    monkeypatch.setattr(kernel._Block, "_visit", _visit_first_half_only)
    DECODE.attended(is_decode=True)
    assert has_raced()


def _visit_first_half_only(block: kernel._Block, item: ranges.Item, chunk: jax.Array) -> None:
    """As `_Block._visit` for rows of one chunk, but with one half and no wait for readers."""
    block.pages.wait(item, chunk, jnp.int32(0))
    block._start_item(block.ranges.next_item(item.block, item.row), jnp.int32(0))
    block._multiply(item, chunk, jnp.int32(0))


def test_a_token_seeing_the_next_one_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    positions = kernel._Block._positions
    monkeypatch.setattr(kernel._Block, "_positions", lambda *args: positions(*args) + 1)
    assert not is_right(World(((3, 9), (0, 4))), is_decode=False)


def test_a_range_cut_short_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ranges.Ranges.item
    monkeypatch.setattr(
        ranges.Ranges,
        "item",
        lambda *args: (item := whole(*args))._replace(high=jnp.maximum(item.high - 1, 0)),
    )
    assert not is_right(DECODE, is_decode=True)


@pytest.mark.parametrize("chip", ["v5e", "v6e"])
def test_a_lost_alias_is_seen(monkeypatch: pytest.MonkeyPatch, chip: str) -> None:
    def without_alias(*args: Any, input_output_aliases: Any = None, **kwargs: Any) -> Any:
        del input_output_aliases
        return pallas_call(*args, **kwargs)

    pallas_call = pl.pallas_call
    monkeypatch.setattr(pl, "pallas_call", without_alias)
    shape, bucket = Shape(8, 1, 128), Bucket(8, 8)
    found = faults(compile_step(shape, bucket, chip), shape, bucket)
    assert "pages are not aliased" in found or "temporaries are over budget" in found
