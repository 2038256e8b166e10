"""Sort the stream into batches of a few fixed lengths, one text in a row.

Each length has as many rows as texts of that length are frequent, so that no
skill is over-represented and little is padded. Padding is on the right, where a
causal model never looks. Every turn of the assistant is learnt, not only the last.
"""

from __future__ import annotations

import bisect
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer

from bench.embedded_model.corpus import stream

SHORT_ROWS = {40: 20, 56: 14, 80: 12}
ALL_ROWS = {40: 14, 56: 9, 80: 8, 128: 8, 208: 8, 352: 2}
"""Length of a row -> rows of that length in a batch of one process."""
IGNORED = -100


@dataclass(frozen=True)
class Batch:
    """tokens: int64 [rows, length]; labels: int64 [rows, length], the next token or IGNORED."""

    tokens: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class _Row:
    tokens: list[int]
    is_learnt: list[bool]


def _learnt(tokenizer: Tokenizer, tokens: list[int]) -> list[bool]:
    """Which tokens the model must predict: the assistant's turns, or all without any turns."""
    start, end = tokenizer.token_to_id("<|im_start|>"), tokenizer.token_to_id("<|im_end|>")
    opening = [start, *tokenizer.encode("assistant\n").ids]
    if start not in tokens:
        return [True] * len(tokens)
    learnt, inside = [False] * len(tokens), False
    for place, token in enumerate(tokens):
        learnt[place] = inside
        inside = (inside and token != end) or tokens[
            max(0, place + 1 - len(opening)) : place + 1
        ] == opening
    return learnt


def _batch(rows: list[_Row], length: int) -> Batch:
    tokens = torch.zeros(len(rows), length, dtype=torch.int64)
    labels = torch.full((len(rows), length), IGNORED)
    for index, row in enumerate(rows):
        end = len(row.tokens)
        tokens[index, :end] = torch.tensor(row.tokens)
        # The token at place p is predicted at place p - 1.
        following = torch.where(torch.tensor(row.is_learnt), tokens[index, :end], IGNORED)
        labels[index, : end - 1] = following[1:]
    return Batch(tokens, labels)


def _rows(tokenizer: Tokenizer, seed: int) -> Iterator[_Row]:
    for text in stream(seed):
        tokens = tokenizer.encode(text.prompt).ids + tokenizer.encode(text.answer).ids
        yield _Row(tokens, _learnt(tokenizer, tokens))


def steps(tokenizer: Tokenizer, seed: int, num_rows: dict[int, int]) -> Iterator[tuple[Batch, ...]]:
    """For ever: the batches of one optimizer step, one for each length."""
    lengths = list(num_rows)
    waiting: dict[int, list[_Row]] = {length: [] for length in lengths}
    for row in _rows(tokenizer, seed):
        if len(row.tokens) > lengths[-1]:
            continue
        waiting[lengths[bisect.bisect_left(lengths, len(row.tokens))]].append(row)
        if all(len(waiting[length]) >= num_rows[length] for length in lengths):
            yield tuple(_batch(waiting[length][: num_rows[length]], length) for length in lengths)
            # What is left over comes next; what the fixed proportions cannot use is dropped.
            waiting = {
                length: rows[num_rows[length] :][: 4 * num_rows[length]]
                for length, rows in waiting.items()
            }


def prefetched(
    tokenizer: Tokenizer, seed: int, num_rows: dict[int, int], depth: int = 4
) -> Iterator[tuple[Batch, ...]]:
    """The same steps, made ahead in a thread while the model computes."""
    ready: queue.Queue[tuple[Batch, ...]] = queue.Queue(depth)

    def make() -> None:
        for step in steps(tokenizer, seed, num_rows):
            ready.put(step)

    threading.Thread(target=make, daemon=True).start()
    while True:
        yield ready.get()
