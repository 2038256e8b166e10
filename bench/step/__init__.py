"""The whole compiled step against the roofline of its device. See `command`."""

from bench.step.command import main

__all__ = ["main"]
