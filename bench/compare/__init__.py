"""servax beside transformers' `generate`, on the same weights, in one interleaved run."""

from bench.compare.command import main

__all__ = ["main"]
