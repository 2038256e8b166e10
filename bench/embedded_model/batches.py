"""Sort the stream into batches of a few fixed lengths, one text in a row.

Each length has as many rows as texts of that length are frequent, so that no
skill is over-represented and little is padded. Padding is on the right, where a
causal model never looks. A step takes every other length, the next step the rest.
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

ROWS = {40: 28, 56: 20, 80: 16, 128: 14, 208: 13, 352: 8}
"""Length of a row -> rows of that length in two steps."""
IGNORED = -100
_LENGTHS = list(ROWS)


@dataclass(frozen=True)
class Batch:
    """tokens: int64 [rows, length]; labels: int64 [rows, length], the next token or IGNORED."""

    tokens: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class _Row:
    tokens: list[int]
    num_prompt_tokens: int


def _batch(rows: list[_Row], length: int) -> Batch:
    tokens = torch.zeros(len(rows), length, dtype=torch.int64)
    labels = torch.full((len(rows), length), IGNORED)
    for index, row in enumerate(rows):
        end = len(row.tokens)
        tokens[index, :end] = torch.tensor(row.tokens)
        # The token at place p is predicted at place p - 1.
        labels[index, row.num_prompt_tokens - 1 : end - 1] = tokens[index, row.num_prompt_tokens : end]
    return Batch(tokens, labels)


def _rows(tokenizer: Tokenizer, seed: int) -> Iterator[_Row]:
    for text in stream(seed):
        prompt, answer = tokenizer.encode(text.prompt).ids, tokenizer.encode(text.answer).ids
        if len(prompt) + len(answer) <= _LENGTHS[-1]:
            yield _Row(prompt + answer, len(prompt))


def steps(tokenizer: Tokenizer, seed: int) -> Iterator[tuple[Batch, ...]]:
    """For ever: the batches of one optimizer step, one for each second length."""
    waiting: dict[int, list[_Row]] = {length: [] for length in _LENGTHS}
    for row in _rows(tokenizer, seed):
        waiting[_LENGTHS[bisect.bisect_left(_LENGTHS, len(row.tokens))]].append(row)
        if all(len(waiting[length]) >= num_rows for length, num_rows in ROWS.items()):
            batches = tuple(_batch(waiting[length][:num_rows], length) for length, num_rows in ROWS.items())
            yield batches[0::2]
            yield batches[1::2]
            # What is left over comes next; only what the fixed proportions cannot use up is dropped.
            waiting = {length: rows[ROWS[length] :][: 4 * ROWS[length]] for length, rows in waiting.items()}


def prefetched(tokenizer: Tokenizer, seed: int, depth: int = 4) -> Iterator[tuple[Batch, ...]]:
    """The same steps, made ahead in a thread while the model computes."""
    ready: queue.Queue[tuple[Batch, ...]] = queue.Queue(depth)

    def make() -> None:
        for step in steps(tokenizer, seed):
            ready.put(step)

    threading.Thread(target=make, daemon=True).start()
    while True:
        yield ready.get()
