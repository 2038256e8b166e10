"""The small model that ships with servax, so that `servax serve` needs no download.

It is made by `python -m bench.embedded_model.make`; its model card is
`servax-tiny/README.md`.
"""

from __future__ import annotations

from pathlib import Path

EMBEDDED_MODEL_NAME = "servax-tiny"


def embedded_model_dir() -> Path:
    """The Hugging Face folder of the embedded model, inside this package."""
    return Path(__file__).parent / EMBEDDED_MODEL_NAME
