"""A launched step, and what it gave once it is on the host."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from collections.abc import Sequence as Items
from typing import Any, TypeAlias

import jax
import numpy as np
import numpy.typing as npt

from engine.request import SamplingParams, TokenLogprobs
from engine.runner.buckets import Bucket
from engine.runner.inputs import RowTable
from engine.runner.step import NUM_GREEDY_COLUMNS, NUM_SCORE_COLUMNS
from engine.scheduler.plan import PlannedRow, RowResult

Ints = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint32]
Floats = npt.NDArray[np.float32]
Allowed: TypeAlias = Mapping[int, Words]
"""Bits of the ids that a row may choose, by its index in the plan; others may choose any."""
LaunchSampler: TypeAlias = Callable[[Allowed], tuple[jax.Array, jax.Array]]


@dataclasses.dataclass(frozen=True, slots=True)
class RowPlaces:
    """Where a plan's rows are in a step's results, which have all data shards one after another.

    Attributes:
        lines: of each row in `results_RX`.
        first_tokens: index of each row's first token in `scores_TX`.
    """

    lines: Items[int]
    first_tokens: Items[int]

    @classmethod
    def of(cls, shards: Items[RowTable], shard_of_row: Items[int], bucket: Bucket) -> RowPlaces:
        """The places of rows that were dealt to shards in order."""
        starts = [(np.cumsum(shard.num_new_R) - shard.num_new_R).tolist() for shard in shards]
        if len(shards) == 1:
            return cls(range(len(shard_of_row)), starts[0])
        lines: list[int] = []
        first_tokens: list[int] = []
        num_dealt = [0] * len(shards)
        for shard in shard_of_row:
            lines.append(shard * bucket.num_rows + num_dealt[shard])
            first_tokens.append(shard * bucket.num_tokens + starts[shard][num_dealt[shard]])
            num_dealt[shard] += 1
        return cls(lines, first_tokens)


class StepHandle:
    """Results on their way from the device. Their copies start when they are launched.

    Args:
        rows: of the plan, in order.
        places: of these rows in the results.
        results_RX: see `engine.runner.step.StepOutputs`, or a function that launches the sampler
            and gives `results_RX` and `wanted_RK` of `engine.runner.step.SamplerOutputs`.
        scores_TX: see `engine.runner.step.StepOutputs`.
    """

    def __init__(
        self,
        rows: Items[PlannedRow],
        places: RowPlaces,
        results_RX: jax.Array | LaunchSampler,
        scores_TX: jax.Array,
    ) -> None:
        self._rows = rows
        self._places = places
        self._samplings = [row.sequence.request.sampling for row in rows]
        self._results_RX: jax.Array | None = None
        self._wanted_RK: jax.Array | None = None
        self._launch_sampler: LaunchSampler | None = None
        self._scores_TX = scores_TX
        if callable(results_RX):
            self._launch_sampler = results_RX
        else:
            self._expect(results_RX, None)
        if scores_TX.size:
            scores_TX.copy_to_host_async()

    def sample(self, allowed: Allowed) -> None:
        """Choose the tokens of a plan that `needs_settled`; everything before it is settled."""
        assert self._launch_sampler is not None, "the tokens of this step were chosen at launch"
        self._expect(*self._launch_sampler(allowed))

    def is_ready(self) -> bool:
        """Whether `results` would not block."""
        results: Any = self._results_RX
        return results is not None and results.is_ready()

    def _expect(self, results_RX: jax.Array, wanted_RK: jax.Array | None) -> None:
        self._results_RX = results_RX
        self._launch_sampler = None
        results_RX.copy_to_host_async()
        if wanted_RK is not None and any(each.logprob_token_ids for each in self._samplings):
            self._wanted_RK = wanted_RK
            wanted_RK.copy_to_host_async()

    def results(self) -> list[RowResult]:
        """Block until the step is done; one result per row of its plan, in order.

        Raises:
            Exception: whatever the device reports for a failed step.
        """
        assert self._results_RX is not None, "the sampler was launched"
        results_RX: Ints = np.asarray(self._results_RX)
        scores_TX: Ints | None = np.asarray(self._scores_TX) if self._scores_TX.size else None
        wanted_RK = None if self._wanted_RK is None else np.asarray(self._wanted_RK)
        tokens = results_RX[:, 0].tolist()
        are_invalid = results_RX[:, 1].tolist()
        return [
            RowResult(
                tokens[line] if row.is_sampling else None,
                are_invalid[line] != 0,
                None
                if sampling.logprobs is None
                else _sampled_logprobs(row, sampling, line, results_RX, wanted_RK),
                () if scores_TX is None else _prompt_logprobs(row, first_token, scores_TX),
            )
            for row, line, first_token, sampling in zip(
                self._rows,
                self._places.lines,
                self._places.first_tokens,
                self._samplings,
                strict=True,
            )
        ]


def _sampled_logprobs(
    row: PlannedRow,
    sampling: SamplingParams,
    line: int,
    results_RX: Ints,
    wanted_RK: Floats | None,
) -> TokenLogprobs | None:
    if not row.is_sampling:
        return None
    result_X, token_ids = results_RX[line], sampling.logprob_token_ids
    num_wanted = 0 if token_ids else sampling.logprobs or 0
    found = _token_logprobs(int(result_X[0]), result_X[NUM_GREEDY_COLUMNS:], num_wanted)
    if not token_ids:
        return found
    assert wanted_RK is not None, "ids with log-probabilities are never part of a greedy step"
    wanted = tuple(wanted_RK[line, : len(token_ids)].tolist())
    return TokenLogprobs(found.token_id, found.logprob, found.rank, token_ids, wanted)


def _prompt_logprobs(
    row: PlannedRow, first_token: int, scores_TX: Ints
) -> tuple[TokenLogprobs, ...]:
    """Of prompt tokens `[start + 1, min(end + 1, num_prompt_tokens))`, if the row is scored."""
    if not row.is_scoring:
        return ()
    num_wanted = row.sequence.request.sampling.prompt_logprobs or 0
    prompt = row.sequence.request.prompt_token_ids
    return tuple(
        _token_logprobs(token_id, scores_TX[first_token + offset], num_wanted)
        for offset, token_id in enumerate(prompt[row.start + 1 : row.end + 1])
    )


def _token_logprobs(token_id: int, score_X: Ints, num_wanted: int) -> TokenLogprobs:
    """One line of `engine.runner.step._pack_scores`, with the best `num_wanted` alternatives."""
    logprobs = score_X.view(np.float32)
    num_alternatives = (len(score_X) - NUM_SCORE_COLUMNS) // 2
    num_wanted = min(num_wanted, num_alternatives)
    top_logprobs = NUM_SCORE_COLUMNS + num_alternatives
    return TokenLogprobs(
        token_id,
        float(logprobs[0]),
        int(score_X[1]),
        tuple(score_X[NUM_SCORE_COLUMNS : NUM_SCORE_COLUMNS + num_wanted].tolist()),
        tuple(logprobs[top_logprobs : top_logprobs + num_wanted].tolist()),
    )
