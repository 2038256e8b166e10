"""Attention and sampling kernels alone, against what the device can do. See `command`."""

from bench.kernels.command import main

__all__ = ["main"]
