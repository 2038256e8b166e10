"""When the parts of a training begin: short texts alone, all texts, the fall of the learning rate.

Where no numbers of steps are given, the clock decides them as it goes. Nothing
before a decision depends on it, so a later run that is given the same numbers
repeats the first one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

_LONG_FROM = 0.4
_FALL_FROM = 0.7
_WARM_UP = 40


@dataclass(frozen=True)
class Milestones:
    """Step numbers, None where not yet decided.

    Steps [0, long_from) see short texts only; in [fall_from, end) the rate falls.
    """

    long_from: int | None = None
    fall_from: int | None = None
    end: int | None = None

    def decided(self, step: int, share_of_time: float) -> Milestones:
        """The milestones as they stand at a step that begins after this share of the time."""
        if self.long_from is None and share_of_time >= _LONG_FROM:
            return replace(self, long_from=step)
        if self.long_from is not None and self.end is None and share_of_time >= _FALL_FROM:
            steps_per_share = (step - self.long_from) / (share_of_time - _LONG_FROM)
            return replace(
                self, fall_from=step, end=step + int(steps_per_share * (1 - share_of_time))
            )
        return self

    def has_long_texts(self, step: int) -> bool:
        """Whether the step learns from all texts."""
        return self.long_from is not None and step >= self.long_from

    def learning_share(self, step: int) -> float:
        """The share of the peak learning rate at the step: a trapezoid."""
        rise = min(1.0, (step + 1) / _WARM_UP)
        if self.fall_from is None or self.end is None or step < self.fall_from:
            return rise
        return rise * (self.end - step) / (self.end - self.fall_from)
