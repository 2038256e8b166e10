"""Helpers of these tests are modules beside them; tests have no packages to import them from."""

from __future__ import annotations

import sys
from pathlib import Path

FOLDERS = (Path(__file__).parent, Path(__file__).parent.parent)
sys.path[:0] = [str(folder) for folder in FOLDERS if str(folder) not in sys.path]
