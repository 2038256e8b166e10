"""Freeing the device for a while: pages are dropped, weights go to the host or nowhere.

Nothing compiles on the way back: pages come from the compiled reset, weights by plain transfers.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np

from engine.runner.runner import Runner
from engine.weights.checkpoint import WeightArray


class DeviceMemory:
    """Implements `engine.core_protocol.DeviceMemory`.

    Args:
        load_again: reads the weights onto the device as at the start.
    """

    def __init__(self, runner: Runner, load_again: Callable[[], list[jax.Array]]) -> None:
        self._runner = runner
        self._load_again = load_again
        self._copies: list[WeightArray] = []
        self._has_weights = True

    def release_pages(self) -> None:
        """See `engine.core_protocol.DeviceMemory`."""
        self._runner.release_pages()

    def restore_pages(self) -> None:
        """See `engine.core_protocol.DeviceMemory`."""
        self._runner.restore_pages()

    def release_weights(self, *, keeps_copy: bool) -> None:
        """See `engine.core_protocol.DeviceMemory`."""
        if not keeps_copy:
            self._copies = []
        if not self._has_weights:
            return
        weights = self._runner.give_up_weights()
        try:
            # On a CPU an array of numpy may be a view of jax's own memory: copy for certain.
            self._copies = [np.array(leaf, copy=True) for leaf in weights] if keeps_copy else []
        except Exception:
            self._runner.use_weights(weights)
            raise
        self._has_weights = False
        for leaf in weights:
            leaf.delete()

    def restore_weights(self) -> None:
        """See `engine.core_protocol.DeviceMemory`."""
        if self._has_weights:
            return
        self._runner.use_weights(self._from_copies() if self._copies else self._load_again())
        self._has_weights = True
        self._copies = []

    def _from_copies(self) -> list[jax.Array]:
        placements = self._runner.program.placements
        return [
            jax.device_put(copy, placement.sharding).block_until_ready()
            for copy, placement in zip(self._copies, placements, strict=True)
        ]
