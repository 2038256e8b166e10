"""The loads attention is measured under, and the bytes and FLOPs they need. No jax."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

BF16_BYTES = 2


@dataclasses.dataclass(frozen=True)
class Heads:
    """Attention heads of one layer on one device."""

    num_heads: int
    num_kv_heads: int
    head_dim: int


HEADS = {
    "llama-3.1-8b": Heads(32, 8, 128),  # Qwen3-8B has the same
    "70b-tp8": Heads(8, 1, 128),
    "llama-3.2-1b": Heads(32, 8, 64),
    "gemma-3-12b": Heads(16, 8, 256),
    "tiny": Heads(4, 2, 64),
}


@dataclasses.dataclass(frozen=True)
class Load:
    """One step's rows for one layer.

    Attributes:
        heads: a name of `HEADS`.
        rows: (how many, tokens in pages, new tokens among them), one after another.
        page_size: tokens.
        window: positions a token sees; 0 for all.
        kv_dtype: of the pages.
    """

    heads: str
    rows: tuple[tuple[int, int, int], ...]
    page_size: int = 64
    window: int = 0
    kv_dtype: str = "bfloat16"

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Load:
        """What `dataclasses.asdict` and JSON made of one."""
        rows = tuple((row[0], row[1], row[2]) for row in value["rows"])
        return cls(value["heads"], rows, value["page_size"], value["window"], value["kv_dtype"])

    @property
    def row_lengths(self) -> list[tuple[int, int]]:
        """(tokens in pages, new tokens) of every row."""
        return [(kv_len, num_new) for count, kv_len, num_new in self.rows for _ in range(count)]

    @property
    def is_decode(self) -> bool:
        """One new token a row."""
        return all(num_new == 1 for _, _, num_new in self.rows)

    @property
    def name(self) -> str:
        """Short and unique, for tables."""
        rows = " + ".join(
            f"{count}x{_short(kv_len)}" + (f"+{_short(num_new)}" if num_new != kv_len else " whole")
            if num_new > 1
            else f"{count}x{_short(kv_len)}"
            for count, kv_len, num_new in self.rows
        )
        kind = "decode" if self.is_decode else "prefill" if len(self.rows) == 1 else "mixed"
        window = f" window {_short(self.window)}" if self.window else ""
        dtype = "" if self.kv_dtype == "bfloat16" else f" {self.kv_dtype}"
        return f"{kind} {rows} {self.heads} page {self.page_size}{window}{dtype}"

    def num_bytes(self) -> int:
        """Bytes that must move: keys and values that are seen, once a row; queries and outputs."""
        heads = HEADS[self.heads]
        item_bytes = BF16_BYTES if self.kv_dtype == "bfloat16" else 1
        kv_bytes = 2 * heads.num_kv_heads * heads.head_dim * item_bytes
        q_bytes = 2 * heads.num_heads * heads.head_dim * BF16_BYTES
        return sum(
            self._num_seen(kv_len, num_new) * kv_bytes + num_new * q_bytes
            for kv_len, num_new in self.row_lengths
        )

    def num_flops(self) -> int:
        """Multiplications and additions of both products, of pairs that are not masked."""
        heads = HEADS[self.heads]
        pairs = sum(self._num_pairs(kv_len, num_new) for kv_len, num_new in self.row_lengths)
        return 4 * pairs * heads.num_heads * heads.head_dim

    def _num_seen(self, kv_len: int, num_new: int) -> int:
        return min(kv_len, self.window + num_new - 1) if self.window else kv_len

    def _num_pairs(self, kv_len: int, num_new: int) -> int:
        if not self.window:
            # Token at position p sees p + 1: the sum over [kv_len - num_new, kv_len).
            return num_new * kv_len - num_new * (num_new - 1) // 2
        return sum(min(p + 1, self.window) for p in range(kv_len - num_new, kv_len))


def decode(num_rows: int, context: int, heads: str = "llama-3.1-8b", page_size: int = 64) -> Load:
    """Rows of one new token."""
    return Load(heads, ((num_rows, context, 1),), page_size)


def prefill(num_tokens: int, heads: str = "llama-3.1-8b", page_size: int = 64) -> Load:
    """One whole prompt."""
    return Load(heads, ((1, num_tokens, num_tokens),), page_size)


K = 1024
GOALS = (decode(64, 4 * K), decode(1, 32 * K), prefill(8 * K))
"""The loads that goals were set for; most important first."""
MAIN = (
    decode(256, K),
    decode(32, K),
    decode(1, K),
    Load("llama-3.1-8b", ((64, 4 * K, 1), (1, 4 * K, 2 * K))),  # a mixed step
    Load("llama-3.1-8b", ((1, 32 * K, 8 * K),)),  # the last chunk of a long prompt
    prefill(K),
    prefill(2 * K),
    prefill(4 * K),
    prefill(32 * K),
    Load("llama-3.1-8b", ((16, 512, 512),)),
    Load("llama-3.1-8b", ((64, 4 * K, 1),), window=K),
)
OTHER_HEADS = tuple(
    load
    for heads in ("70b-tp8", "llama-3.2-1b", "gemma-3-12b")
    for load in (decode(64, 4 * K, heads), decode(1, 32 * K, heads), prefill(8 * K, heads))
)
OTHER_PAGES = (decode(64, 4 * K, page_size=128), prefill(8 * K, page_size=128))
EIGHT_BITS = tuple(
    dataclasses.replace(load, kv_dtype=kv_dtype)
    for kv_dtype in ("float8_e4m3fn", "int8")
    for load in (decode(64, 4 * K), decode(1, 32 * K), prefill(8 * K))
)
SWEEP = tuple(
    decode(rows, context)
    for rows, context in itertools.product((1, 8, 32, 128), (K, 4 * K, 16 * K))
    if rows * context <= 512 * K
)
ALL = tuple(dict.fromkeys((*GOALS, *MAIN, *OTHER_HEADS, *OTHER_PAGES, *EIGHT_BITS, *SWEEP)))
QUICK = (
    decode(2, 100, "tiny", 16),
    prefill(48, "tiny", 16),
    Load("tiny", ((2, 100, 1), (1, 64, 16)), 16),
    Load("tiny", ((2, 100, 1),), 16, kv_dtype="int8"),
)
"""So small that they prove the command and nothing else."""


def _short(number: int) -> str:
    return f"{number // K}k" if number % K == 0 else str(number)
