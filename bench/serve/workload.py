"""Which requests are sent, and when. Seeded: the same arguments give the same workload."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator

WORDS = (
    "page slot step plan delta token cache prefix queue batch model layer head kernel mesh axis "
    "shard weight logit sample stream server client prompt answer number letter river stone cloud"
).split()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Workload:
    """What to ask for.

    Attributes:
        input_tokens, output_tokens: lengths of prompt and answer, in tokens. Prompts are sent as
            token ids on the completions endpoint (exact), as words on the chat endpoint (about
            one token a word).
        prefix_tokens: leading tokens that all prompts share.
        vocab_size: ids are drawn below it.
        range_ratio: lengths vary uniformly within ± this share.
    """

    num_requests: int
    input_tokens: int
    output_tokens: int
    prefix_tokens: int = 0
    range_ratio: float = 0.0
    vocab_size: int = 1000
    seed: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class PlannedRequest:
    """One request to send: exact ids, the same as words, and how many tokens to generate."""

    prompt_token_ids: tuple[int, ...]
    prompt_text: str
    output_tokens: int


def plan_requests(workload: Workload) -> list[PlannedRequest]:
    """All requests of a workload, in order."""
    generator = random.Random(workload.seed)
    prefix = [_token(generator, workload) for _ in range(workload.prefix_tokens)]
    return [_request(generator, workload, prefix) for _ in range(workload.num_requests)]


def arrival_gaps_s(num_requests: int, rate: float, burstiness: float, seed: int) -> Iterator[float]:
    """Seconds to wait before each request.

    Args:
        rate: requests a second; infinity sends all at once.
        burstiness: shape of the gamma distribution; 1 is a Poisson process, less is burstier.
    """
    generator = random.Random(seed + 1)
    for _ in range(num_requests):
        if rate == float("inf"):
            yield 0.0
        else:
            yield generator.gammavariate(burstiness, 1.0 / (rate * burstiness))


def _request(generator: random.Random, workload: Workload, prefix: list[int]) -> PlannedRequest:
    num_input = _vary(generator, workload.input_tokens, workload.range_ratio)
    num_output = _vary(generator, workload.output_tokens, workload.range_ratio)
    body = [_token(generator, workload) for _ in range(max(1, num_input - len(prefix)))]
    ids = tuple(prefix + body)
    text = " ".join(WORDS[token % len(WORDS)] for token in ids)
    return PlannedRequest(ids, text, num_output)


def _token(generator: random.Random, workload: Workload) -> int:
    # Ids below 10 are left out: special tokens usually live there.
    return generator.randrange(10, workload.vocab_size)


def _vary(generator: random.Random, length: int, ratio: float) -> int:
    return max(1, round(length * (1.0 + generator.uniform(-ratio, ratio))))
