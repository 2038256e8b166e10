from __future__ import annotations

import resource
import subprocess
import sys

from api.cli import main


def test_version_is_printed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("servax ")


def test_without_a_command_the_usage_is_printed(capsys):
    assert main([]) == 2
    assert "servax COMMAND" in capsys.readouterr().out


def test_an_unknown_command_is_an_error(capsys):
    assert main(["sevre"]) == 2
    assert "'sevre'" in capsys.readouterr().err


def test_an_unknown_flag_is_exit_code_2_with_a_suggestion(capsys):
    assert main(["serve", "--max-modellen", "3"]) == 2
    assert "did you mean --max-model-len?" in capsys.readouterr().err


def test_bench_without_a_checkout_says_so(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("api.cli.__file__", str(tmp_path / "api" / "cli.py"))
    assert main(["bench", "serve"]) == 2
    assert "checkout" in capsys.readouterr().err


def children_s() -> float:
    """CPU time of the processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_serving_imports_no_jax_and_little_else():
    code = (
        "import sys, api.serve, api.app, api.flags.parser\n"
        "from api.app import create_app, make_state\n"
        "from api.settings import ServerSettings\n"
        "create_app(make_state(ServerSettings(), 'm'))\n"
        "heavy = {'jax', 'flax', 'models', 'pallas_kernels', 'torch', 'transformers'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    before_s = children_s()
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
    assert children_s() - before_s < 10
