from __future__ import annotations

import pathlib
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import pytest

from engine.private_folder import PREFIX, PrivateFolder

LEAVE_ONE = """
import os, sys
from engine.private_folder import PrivateFolder
folder = PrivateFolder()
open(os.path.join(folder.path, "engine.sock"), "w").close()
print(folder.path, flush=True)
os._exit(9)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pathlib.Path]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def left_behind() -> pathlib.Path:
    done = subprocess.run(
        [sys.executable, "-c", LEAVE_ONE], capture_output=True, text=True, check=False
    )
    return pathlib.Path(done.stdout.strip())


def test_nobody_else_can_enter_it_and_closing_removes_it() -> None:
    folder = PrivateFolder()
    assert stat.S_IMODE(pathlib.Path(folder.path).stat().st_mode) == 0o700
    folder.close()
    folder.close()
    assert not pathlib.Path(folder.path).exists()


def test_one_whose_owner_was_killed_is_removed_by_the_next_start() -> None:
    stale = left_behind()
    assert stale.is_dir()
    PrivateFolder().close()
    assert not stale.exists()


def test_one_whose_owner_lives_is_left_alone() -> None:
    first, second = PrivateFolder(), PrivateFolder()
    assert pathlib.Path(first.path).is_dir()
    first.close()
    second.close()


def test_other_files_are_left_alone(temporary: pathlib.Path) -> None:
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    (temporary / f"{PREFIX}link").symlink_to(elsewhere)
    (temporary / f"{PREFIX}file").write_text("")
    PrivateFolder().close()
    assert elsewhere.is_dir()
    assert (temporary / f"{PREFIX}file").exists()
