from __future__ import annotations

from api.cli import main

HOST = "hooks.example.com"


def test_webhooks_are_added_shown_and_removed(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SERVAX_ALLOWED_WEBHOOK_DOMAINS", f"other.example.com, {HOST}")
    monkeypatch.setenv("SERVAX_DATA_DIR", str(tmp_path))
    assert main(["keys", "create", "--project", "proj_a"]) == 0
    capsys.readouterr()
    url = f"https://{HOST}/hook"
    assert main(["webhooks", "add", url, "--project", "proj_a", "--event", "batch.failed"]) == 0
    out, err = capsys.readouterr()
    secret, webhook_id = out.strip(), err.split()[0]
    assert "warning" not in err
    assert secret.startswith("whsec_")
    assert main(["webhooks", "list"]) == 0
    shown = capsys.readouterr().out
    assert all(text in shown for text in (webhook_id, "proj_a", url, "batch.failed"))
    assert secret not in shown
    assert main(["webhooks", "remove", webhook_id]) == 0
    capsys.readouterr()
    assert main(["webhooks", "remove", webhook_id]) == 2
    assert main(["webhooks", "add", "https://evil.org/", "--project", "proj_a"]) == 2
    assert "does not list evil.org:443" in capsys.readouterr().err


def test_a_project_without_keys_is_warned_of(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SERVAX_ALLOWED_WEBHOOK_DOMAINS", HOST)
    monkeypatch.setenv("SERVAX_DATA_DIR", str(tmp_path))
    main(["keys", "create", "--project", "proj_a"])
    for project, is_warned in (("proj_nope", True), ("proj_a", False), ("proj_default", False)):
        capsys.readouterr()
        assert main(["webhooks", "add", f"https://{HOST}/", "--project", project]) == 0
        warning = f"no key in this database is of {project}"
        assert (warning in capsys.readouterr().err) is is_warned
