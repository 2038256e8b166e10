"""The version of this server."""

from __future__ import annotations

import importlib.metadata


def server_version() -> str:
    """Version of the installed distribution."""
    try:
        return importlib.metadata.version("servax")
    except importlib.metadata.PackageNotFoundError:
        return "0+unknown"
