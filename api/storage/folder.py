"""Where state is kept when nobody says where."""

from __future__ import annotations

import os
from pathlib import Path


def data_folder(data_dir: str) -> Path:
    """`--data-dir`, or `servax` in the user's folder for data of programs (XDG)."""
    if data_dir:
        return Path(data_dir).expanduser().absolute()
    home = os.environ.get("XDG_DATA_HOME", "")
    base = Path(home) if os.path.isabs(home) else Path.home() / ".local" / "share"
    return base / "servax"


def make_private(folder: Path) -> None:
    """Make the folder, open to its owner only if it is new."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
