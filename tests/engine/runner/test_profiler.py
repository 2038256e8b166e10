from __future__ import annotations

import pytest

from engine.errors import ConflictError, SetupError
from engine.runner.profiler import make_profiler


def test_without_a_folder_there_is_no_profiler():
    assert make_profiler({}) is None
    assert make_profiler({"profiler": "torch"}) is None


def test_a_folder_is_made_and_a_file_is_refused(tmp_path):
    assert make_profiler({"torch_profiler_dir": str(tmp_path / "a" / "b")}) is not None
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="--profiler-config"):
        make_profiler({"dir": str(tmp_path / "file" / "x")})
    with pytest.raises(SetupError):
        make_profiler({"dir": 3})


def test_a_trace_that_was_not_begun_cannot_end(tmp_path):
    profiler = make_profiler({"dir": str(tmp_path)})
    assert profiler is not None
    with pytest.raises(ConflictError) as caught:
        profiler.stop()
    assert caught.value.code == "profiler_not_active"
