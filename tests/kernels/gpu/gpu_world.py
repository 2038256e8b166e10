"""Tiny worlds for the GPU kernels: rows in scattered pages, NaN wherever nobody wrote."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels.paged_attention import gpu, reference
from pallas_kernels.paged_attention.batch import RaggedBatch
from pallas_kernels.paged_attention.eight_bits import encode
from pallas_kernels.paged_attention.gpu import mosaic
from pallas_kernels.paged_attention.gpu.tuning import Tuning
from pallas_kernels.paged_attention.pages import KVScales, PlainPages, stored_dtype

SMALL = Tuning(decode_tile=64, decode_stages=2, prefill_tile=64, prefill_stages=2, split_tokens=64)
"""Sizes so small that tiny rows have several pieces and go round the ring of stages."""

TOLERANCE = 0.02
"""bfloat16 weights and results against float32: values reach 4, an error of 1e-2 is rounding."""


ARRAYS = {"q_TQH", "kv", "batch", "scales", "sinks_Q", "kv_lens_R", "query_starts_R1"}
"""Arguments of work lists and of the reference that are arrays."""


class RaceFound(AssertionError):
    """A kernel whose warpgroups do not wait for each other."""


@contextlib.contextmanager
def _work_lists_compiled():
    """Work lists compiled as one: operation by operation they take as long as the kernels."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("split_rows", "tile_queries"):
            patch.setattr(gpu.work_list, name, _compiled(getattr(gpu.work_list, name)))
        yield


@functools.cache
def _compiled(function):
    """`function` compiled for its arrays; its other arguments are part of the program."""
    names = list(inspect.signature(function).parameters)
    return jax.jit(function, static_argnames=set(names) - ARRAYS)


@contextlib.contextmanager
def _every_kernel_watched():
    """The interpreter knows the races of the last kernel alone: ask after each."""

    def watched(kernel):
        def call(*args, **kwargs):
            result = jax.block_until_ready(kernel(*args, **kwargs))
            if mosaic.races_found():
                raise RaceFound(kernel.__name__)
            return result

        return call

    with pytest.MonkeyPatch.context() as patch:
        for module, name in (
            (gpu.decode, "attend_splits"),
            (gpu.combine, "combine"),
            (gpu.prefill, "attend_tiles"),
        ):
            patch.setattr(module, name, watched(getattr(module, name)))
        yield


@dataclasses.dataclass(frozen=True)
class World:
    """One step: queries, pages and the batch that says what is where.

    Attributes:
        q_TQH: bfloat16; NaN for padding tokens.
        pages: bfloat16 `[N, 2, K, Z, H]`; NaN in every slot that no row has written.
    """

    q_TQH: jax.Array
    pages: jax.Array
    batch: RaggedBatch
    scales: KVScales | None = None

    def attend(self, *, is_decode, detect_races=False, num_blocks=1, **options):
        """The kernels' result in the interpreter, as float32.

        The interpreter compiles the kernel anew for every block, so one block is the default.

        Raises:
            RaceFound: with `detect_races`, a kernel has a race.
        """
        mosaic.reset_interpreter()
        watch = _every_kernel_watched() if detect_races else contextlib.nullcontext()
        with _work_lists_compiled(), watch:
            o_TQH = gpu.attend(
                self.q_TQH,
                self.pages,
                self.batch,
                scale=self.scale,
                is_decode=is_decode,
                num_blocks=num_blocks,
                scales=self.scales,
                interpret=mosaic.interpreter(detect_races=detect_races),
                **options,
            )
            return np.asarray(o_TQH.astype(jnp.float32))

    def expected(self, sinks_Q=None, **options):
        """What the specification computes; `sinks_Q` by its definition."""
        num_pages, _, num_kv_heads, page_size, head_dim = self.pages.shape
        dtype = str(self.pages.dtype)
        by_slot = jnp.moveaxis(self.pages, 3, 2).view(stored_dtype(dtype))
        shape = (num_pages, page_size, num_kv_heads * head_dim)
        kv = PlainPages(*(by_slot[:, which].reshape(shape) for which in (0, 1)), dtype)
        options = {"scale": self.scale, "scales": self.scales, **options}
        q_TQH = jnp.where(jnp.isnan(self.q_TQH), 0, self.q_TQH)
        o_TQH = np.asarray(_compiled(reference.attend)(q_TQH, kv, self.batch, **options))
        if sinks_Q is None:
            return o_TQH
        return o_TQH * self._weight_without_sink(sinks_Q, options)[:, :, None]

    @property
    def scale(self):
        return self.q_TQH.shape[2] ** -0.5

    def _weight_without_sink(self, sinks_Q, options):
        """`sum exp(s) / (sum exp(s) + exp(sink))` of every token and head, in float64."""
        q_TQH = np.asarray(self.q_TQH.astype(jnp.float32), np.float64)
        keys = np.asarray(self.pages[:, 0].astype(jnp.float32), np.float64)
        group = q_TQH.shape[1] // keys.shape[1]
        page_size = keys.shape[2]
        weight = np.ones(q_TQH.shape[:2])
        for token, position in enumerate(np.asarray(self.batch.positions_T)):
            table = np.asarray(self.batch.page_table_RP)[int(self.batch.row_T[token])]
            window = options.get("window", 0)
            first = max(0, position - window + 1) if window else 0
            where = np.arange(first, position + 1)
            for head in range(q_TQH.shape[1]) if position >= 0 else ():
                k_CH = keys[table[where // page_size], head // group, where % page_size]
                scores_C = k_CH @ q_TQH[token, head] * options["scale"]
                if options.get("softcap"):
                    scores_C = options["softcap"] * np.tanh(scores_C / options["softcap"])
                seen = np.exp(scores_C).sum()
                weight[token, head] = seen / (seen + np.exp(float(sinks_Q[head])))
        return weight


def make_world(
    rows, num_tokens, num_heads=2, num_kv_heads=1, head_dim=64, page_size=64, num_rows=None
):
    """A world of rows `(kv_len, new tokens)`, padded to `num_tokens` and `num_rows`."""
    num_rows = num_rows or len(rows)
    rng = np.random.default_rng(0)
    max_pages = max([1, *(-(-kv_len // page_size) for kv_len, _ in rows)])
    free = rng.permutation(np.arange(1, 2 + len(rows) * max_pages)).tolist()
    shape = (len(free) + 1, 2, num_kv_heads, page_size, head_dim)
    pages = np.full(shape, np.nan, np.float32)
    table = np.zeros((num_rows, max_pages), np.int32)
    positions, row_of = np.full(num_tokens, -1, np.int32), np.zeros(num_tokens, np.int32)
    starts, kv_lens = np.zeros(num_rows + 1, np.int32), np.zeros(num_rows, np.int32)
    q = np.full((num_tokens, num_heads, head_dim), np.nan, np.float32)
    for r, (kv_len, num_new) in enumerate(rows):
        for column in range(-(-kv_len // page_size)):
            page = table[r, column] = free.pop()
            written = min(page_size, kv_len - column * page_size)
            pages[page, :, :, :written] = rng.normal(size=(2, num_kv_heads, written, head_dim))
        tokens = slice(starts[r], starts[r] + num_new)
        positions[tokens], row_of[tokens] = np.arange(kv_len - num_new, kv_len), r
        q[tokens] = rng.normal(size=(num_new, num_heads, head_dim))
        starts[r + 1 :], kv_lens[r] = tokens.stop, kv_len
    arrays = (np.zeros(num_tokens, np.int32), positions, row_of, starts, kv_lens, table)
    bfloat16 = (jnp.asarray(values, jnp.bfloat16) for values in (q, pages))
    return World(*bfloat16, RaggedBatch(*map(jnp.asarray, arrays)))


def with_8_bits(world, kv_dtype):
    """The same world over 8-bit pages with scales; NaN where nobody wrote stays NaN."""
    scale_K = jnp.linspace(0.03, 0.04, world.pages.shape[2], dtype=jnp.float32)
    scales = KVScales(scale_K, scale_K * 1.25)
    scale_2K = jnp.stack(scales)[None, :, :, None, None]
    codes = encode(world.pages.astype(jnp.float32) / scale_2K, kv_dtype)
    return dataclasses.replace(world, pages=codes.view(kv_dtype), scales=scales)
