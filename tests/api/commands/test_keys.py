from __future__ import annotations

from datetime import date

import pytest

from api.cli import main
from api.commands.keys import duration_s, make_parser
from api.commands.keys import main as keys_main
from api.flags.parser import UsageError


@pytest.fixture
def run(tmp_path, capsys):
    """Runs `servax keys`; gives its exit code, output and messages."""

    def run(*arguments: str):
        code = main(["keys", *arguments, "--data-dir", str(tmp_path)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_keys_are_made_shown_and_closed(run):
    code, out, err = run("create", "--name", "laptop", "--role", "inference", "metrics")
    assert code == 0
    key, key_id = out.strip(), err.split()[0]
    assert key.startswith("sk-servax-")
    assert len(key) == 53
    _, out, _ = run("list")
    assert key not in out
    for shown in (key_id, "laptop", "inference,metrics", "open", f"…{key[-4:]}"):
        assert shown in out
    assert run("revoke", key_id)[0] == 0
    assert "revoked" in run("list")[1]


def test_limits_and_expiry_of_a_key_are_shown(run):
    run("create", "--name", "plain")
    run("create", "--name", "bounded", "--requests-per-minute", "77", "--tokens-per-minute", "8888",
        "--expires-in", "90d")  # fmt: skip
    heading, plain, bounded = run("list")[1].splitlines()
    for name in ("requests/min", "tokens/min", "expires"):
        assert name in heading
    assert plain.split()[-5:-3] == ["default", "default"]
    assert plain.endswith("never")
    assert bounded.split()[-6:-4] == ["77", "8888"]
    made, expires = (date.fromisoformat(bounded.split()[index]) for index in (-4, -2))
    assert (expires - made).days == 90


def test_an_unknown_key_is_one_line_and_exit_code_2(run):
    run("create")
    code, _, err = run("revoke", "key_nobody")
    assert code == 2
    assert err == "servax keys: error: No such key: key_nobody\n"


@pytest.mark.parametrize("words", [["list"], ["usage"], ["revoke", "key_a"]])
def test_a_database_that_is_not_there_is_not_made_by_who_only_looks(run, tmp_path, words):
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert err.startswith("servax keys: error: there is no database of servax at sqlite")
    assert str(tmp_path) in err
    assert not list(tmp_path.iterdir())


def test_a_file_without_tables_is_no_database(run, tmp_path):
    (tmp_path / "servax.db").write_bytes(b"")
    assert run("list")[0] == 2


def test_the_database_may_be_named_by_the_servers_variables():
    parser = make_parser({"SERVAX_DATA_DIR": "/d", "SERVAX_DATABASE_URL": "sqlite:///x"})
    options = parser.parse_args(["list"])
    assert (options.data_dir, options.database_url) == ("/d", "sqlite:///x")


@pytest.mark.parametrize(("word", "expected"), [("90d", 7776000), ("12h", 43200), ("5s", 5)])
def test_times_have_units(word, expected):
    assert duration_s(word) == expected


@pytest.mark.parametrize(
    "words",
    [
        ["--expires-in", "0d"],
        ["--expires-in", "9"],
        ["--role", "root"],
        ["--tokens-per-minute", "0"],
    ],
)
def test_wrong_words_are_exit_code_2(run, words):
    with pytest.raises(SystemExit) as caught:
        run("create", *words)
    assert caught.value.code == 2


def test_a_url_that_is_no_database_is_a_usage_error():
    with pytest.raises(UsageError, match="--database-url"):
        keys_main(["list", "--database-url", "mysql://a/b"], {})
