"""A file of requests in, a file of answers out; one run of the real engine."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest

from api.commands.run_batch import parse_batch
from api.flags.parser import UsageError

ROOT = pathlib.Path(__file__).resolve().parents[3]


def line(custom_id: str, url: str = "/v1/completions", **body: object) -> str:
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": body})


@pytest.mark.parametrize(
    "words",
    [["-i", "a"], ["-o", "b"], ["-i", "http://x/a", "-o", "b"], ["-i", "a", "-o", "s3://b"]],
)
def test_files_on_this_machine_are_needed(words):
    with pytest.raises(UsageError):
        parse_batch(words)


def test_the_servers_flags_choose_the_engine():
    batch = parse_batch(
        ["-i", "a", "-o", "b", "--model", "m", "--max-num-seqs", "3", "--api-key", "k"]
    )
    assert (batch.choices.engine.model, batch.choices.engine.max_num_seqs) == ("m", 3)
    assert batch.choices.server.api_keys == ()


def test_a_file_is_answered_in_its_order_and_bad_lines_have_their_errors(tmp_path):
    lines = [
        line("first", prompt="servax", max_tokens=24, temperature=0),
        line("chat", "/v1/chat/completions", messages=[{"role": "user", "content": "hi"}],
             max_tokens=4, temperature=0),
        "{this is no JSON",
        line("wrong", prompt="servax", temperature=9),
        line("elsewhere", "/v1/audio/speech", input="x"),
        line("last", prompt="servax", max_tokens=1, foo=1)[:-1] + ', "priority": 2}',
    ]  # fmt: skip
    source, sink = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("\n".join(lines) + "\n\n", encoding="utf-8-sig")
    command = [sys.executable, "-m", "api.cli", "run-batch", "-i", str(source), "-o", str(sink)]
    run = subprocess.run(
        [*command, "--max-num-seqs", "4"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stderr
    assert "6 lines" in run.stderr
    results = [json.loads(each) for each in sink.read_text().splitlines()]
    assert [each["custom_id"] for each in results] == [
        "first", "chat", None, "wrong", "elsewhere", "last",
    ]  # fmt: skip
    assert [each["response"]["status_code"] for each in results] == [200, 200, 400, 400, 400, 200]
    assert results[0]["response"]["body"]["usage"]["completion_tokens"] == 24
    assert results[3]["error"]["error"]["param"] == "temperature"
    of_line, of_body = results[5]["response"]["warning"].split(", ")
    assert of_line.endswith('no effect: priority"')
    assert of_body.endswith('no effect: foo"')
    assert "warning" not in results[0]["response"]
    assert not list(tmp_path.glob("*.part"))


def test_a_model_that_is_not_there_leaves_no_output(tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_text("")
    command = [sys.executable, "-m", "api.cli", "run-batch", "--model", str(tmp_path / "none")]
    run = subprocess.run(
        [*command, "-i", str(source), "-o", str(tmp_path / "out")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 1
    assert "there is no model folder" in run.stderr
    assert not (tmp_path / "out").exists()
