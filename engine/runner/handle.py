"""A launched step, and what it gave once it is on the host."""

from __future__ import annotations

from collections.abc import Sequence as Items

import jax
import numpy as np
import numpy.typing as npt

from engine.request import TokenLogprobs
from engine.runner.step import NUM_GREEDY_COLUMNS, NUM_SCORE_COLUMNS
from engine.scheduler.plan import PlannedRow, RowResult

Ints = npt.NDArray[np.int32]


class StepHandle:
    """Results on their way from the device. The copies were started at launch.

    Args:
        rows: of the plan, in order.
        result_lines: line of each row in `results_RX`.
        first_tokens: index on T of each row's first token.
        results_RX, scores_TX: see `engine.runner.step.StepOutputs`.
    """

    def __init__(
        self,
        rows: Items[PlannedRow],
        result_lines: Items[int],
        first_tokens: Items[int],
        results_RX: jax.Array,
        scores_TX: jax.Array,
    ) -> None:
        self._rows = rows
        self._result_lines = result_lines
        self._first_tokens = first_tokens
        self._results_RX = results_RX
        self._scores_TX = scores_TX
        results_RX.copy_to_host_async()
        if scores_TX.size:
            scores_TX.copy_to_host_async()

    def is_ready(self) -> bool:
        """Whether `results` would not block."""
        return self._results_RX.is_ready()

    def results(self) -> list[RowResult]:
        """Block until the step is done; one result per row of its plan, in order.

        Raises:
            Exception: whatever the device reports for a failed step.
        """
        results_RX: Ints = np.asarray(self._results_RX)
        scores_TX: Ints = np.asarray(self._scores_TX)
        tokens = results_RX[:, 0].tolist()
        are_invalid = results_RX[:, 1].tolist()
        return [
            RowResult(
                tokens[line] if row.is_sampling else None,
                are_invalid[line] != 0,
                self._sampled_logprobs(row, results_RX[line]),
                self._prompt_logprobs(row, first, scores_TX) if row.is_scoring else (),
            )
            for row, line, first in zip(
                self._rows, self._result_lines, self._first_tokens, strict=True
            )
        ]

    def _sampled_logprobs(self, row: PlannedRow, result_X: Ints) -> TokenLogprobs | None:
        num_wanted = row.sequence.request.sampling.logprobs
        if num_wanted is None or not row.is_sampling:
            return None
        return _token_logprobs(int(result_X[0]), result_X[NUM_GREEDY_COLUMNS:], num_wanted)

    def _prompt_logprobs(
        self, row: PlannedRow, first_token: int, scores_TX: Ints
    ) -> tuple[TokenLogprobs, ...]:
        """Of prompt tokens `[start + 1, min(end + 1, num_prompt_tokens))`."""
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
