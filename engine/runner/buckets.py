"""Which shapes of step are compiled, in which order, and which of them a plan takes. No jax.

A bucket is a pair (tokens, rows); a variant is what its last part computes:

    GREEDY           the most likely token, nothing else
    FULL             every sampling parameter, and logprobs
    PROMPT_LOGPROBS  FULL, and scores of every token of the step

A decode bucket has one token a row; a mixed bucket has any number. FULL serves what GREEDY does
and PROMPT_LOGPROBS what both do, a mixed bucket serves what a decode bucket does: so the smallest
mixed FULL bucket alone makes a server, and the others make it fast. There are no mixed GREEDY
buckets: beside a prompt's layers the sampler costs little, and compiling them costs seconds.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Collection, Iterable

from engine.config import SMALLEST_BUCKET, ResolvedConfig
from engine.scheduler.plan import StepLimits


class Variant(enum.IntEnum):
    """What a step computes after the last layer; a larger one serves all that a smaller does."""

    GREEDY = 0
    FULL = 1
    PROMPT_LOGPROBS = 2


@dataclasses.dataclass(frozen=True, order=True, slots=True)
class Bucket:
    """One executable. Ordered by cost: tokens, then rows, then variant.

    With several data shards the numbers are those of one shard.
    """

    num_tokens: int
    num_rows: int
    variant: Variant
    is_decode: bool

    def fits(self, demand: Demand) -> bool:
        """Whether a step of this bucket computes what is asked for."""
        return (
            self.num_tokens >= demand.num_tokens
            and self.num_rows >= demand.num_rows
            and self.variant >= demand.variant
            and (demand.is_decode or not self.is_decode)
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Demand:
    """What a plan needs of a bucket. `is_decode`: every row computes exactly one token."""

    num_tokens: int
    num_rows: int
    variant: Variant
    is_decode: bool


@dataclasses.dataclass(frozen=True, slots=True)
class BucketSizes:
    """Sizes of one platform, before they are cut to the configuration."""

    decode_rows: tuple[int, ...]
    first_mixed_tokens: int


CPU_SIZES = BucketSizes(
    decode_rows=tuple(SMALLEST_BUCKET * 2**n for n in range(12)), first_mixed_tokens=64
)
ACCELERATOR_SIZES = BucketSizes(
    decode_rows=(8, 16, 24, 32, 48, 64, 96, 128, 192, 256, *(256 * 2**n for n in range(1, 8))),
    first_mixed_tokens=256,
)


def all_buckets(config: ResolvedConfig) -> tuple[Bucket, ...]:
    """Every bucket of a configuration, in the order of compilation.

    The first one serves everything but scores of prompts (slowly); the next ones make short
    answers of few users fast; the one that scores prompts lets none of its users wait long; then
    the limits grow to the configured ones; the rest only save padding.
    """
    sizes = CPU_SIZES if config.platform == "cpu" else ACCELERATOR_SIZES
    max_rows = _padded(config.max_num_seqs // config.data_parallel_size)
    row_sizes = (*_narrow_rows(config), *_up_to(sizes.decode_rows, max_rows))
    token_sizes = _mixed_token_sizes(sizes.first_mixed_tokens, config.max_num_batched_tokens)
    first = Bucket(token_sizes[0], SMALLEST_BUCKET, Variant.FULL, is_decode=False)
    mixed_rows = sorted({SMALLEST_BUCKET, max_rows})
    mixed = [
        Bucket(num_tokens, num_rows, Variant.FULL, is_decode=False)
        for num_tokens in token_sizes
        for num_rows in mixed_rows
        if num_rows <= num_tokens
    ]
    decode = [
        Bucket(num_rows, num_rows, variant, is_decode=True)
        for num_rows in row_sizes
        for variant in (Variant.GREEDY, Variant.FULL)
    ]
    few_users = [bucket for bucket in decode if bucket.num_rows == row_sizes[0]]
    rest = sorted([*decode, *mixed], key=_warm_up_order)
    return tuple(dict.fromkeys((first, *few_users, _scoring_bucket(config), *rest)))


def _narrow_rows(config: ResolvedConfig) -> tuple[int, ...]:
    """A decode bucket below the smallest, for one or two users of a CPU."""
    is_narrow = config.min_decode_rows < SMALLEST_BUCKET
    return (config.min_decode_rows,) if is_narrow else ()


def _scoring_bucket(config: ResolvedConfig) -> Bucket:
    """The one bucket that scores prompts: it computes logits of all its tokens, so it is small,
    and the scheduler plans scoring steps of at most so many tokens."""
    num_tokens = _padded(config.prompt_logprobs_chunk_tokens)
    max_rows = _padded(config.max_num_seqs // config.data_parallel_size)
    return Bucket(num_tokens, min(num_tokens, max_rows), Variant.PROMPT_LOGPROBS, is_decode=False)


def _warm_up_order(bucket: Bucket) -> tuple[int, int, int]:
    """Widest rows first among equal tokens: they raise the limits."""
    return (bucket.num_tokens, -bucket.num_rows, bucket.variant)


def _padded(num_rows: int) -> int:
    return -(-num_rows // SMALLEST_BUCKET) * SMALLEST_BUCKET


def _up_to(sizes: Iterable[int], largest: int) -> tuple[int, ...]:
    return (*(size for size in sizes if size < largest), largest)


def _mixed_token_sizes(smallest: int, largest: int) -> tuple[int, ...]:
    largest = _padded(largest)
    return _up_to((smallest * 2**n for n in range(24)), largest)


def pick(compiled: Collection[Bucket], demand: Demand) -> Bucket:
    """The cheapest compiled bucket that fits.

    Raises:
        LookupError: none fits; the scheduler was told limits that forbid this.
    """
    fitting = [bucket for bucket in compiled if bucket.fits(demand)]
    if not fitting:
        raise LookupError(f"no compiled step serves {demand}")
    return min(fitting)


def limits_of(compiled: Collection[Bucket]) -> StepLimits:
    """The largest step that can be promised: the limits of one FULL mixed bucket, widest first."""
    serving = [
        bucket for bucket in compiled if not bucket.is_decode and bucket.variant is Variant.FULL
    ]
    widest = max(serving, key=lambda bucket: (bucket.num_rows, bucket.num_tokens))
    has_prompt_logprobs = any(bucket.variant is Variant.PROMPT_LOGPROBS for bucket in compiled)
    return StepLimits(widest.num_rows, widest.num_tokens, has_prompt_logprobs)
