"""Pictures of results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")


def test_a_result_is_drawn_beside_its_file(tmp_path: Path) -> None:
    from bench import plot

    record = {"name": "decode [chosen]", "status": "measured", "share_of_copy": 0.5}
    document = {
        "benchmark": "kernels",
        "environment": {"date": "today", "commit": "abc"},
        "devices": {"child": {"device_kind": "cpu"}},
        "result": [record, {"name": "left out", "status": "no time"}],
    }
    file = tmp_path / "result.json"
    file.write_text(json.dumps(document))
    assert plot.main([str(file)]) == 0
    assert (tmp_path / "result.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("text", ["", "[]", '{"benchmark": "host", "result": 1}'])
def test_what_is_no_result_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    from bench import plot

    file = tmp_path / "other.json"
    file.write_text(text)
    for path in (file, tmp_path / "missing.json"):
        with pytest.raises(SystemExit, match="is no result"):
            plot.main([str(path)])
