"""What can be wrong with a model's config.json. The engine shows these to the operator."""

from __future__ import annotations

from collections.abc import Sequence


class UnsupportedModel(ValueError):
    """config.json asks for something no family here computes; the message names it."""


class UnsupportedArchitecture(UnsupportedModel):
    """No family has this architecture.

    Attributes:
        architectures: what config.json named.
        supported: every architecture that can be served.
    """

    def __init__(self, architectures: Sequence[str], supported: Sequence[str]) -> None:
        self.architectures, self.supported = tuple(architectures), tuple(supported)
        named = ", ".join(architectures) or "none"
        super().__init__(
            f"architecture {named} is not supported; supported are: {', '.join(supported)}"
        )
