from __future__ import annotations

import json

import pytest

from api.model.names import model_names
from api.model.text import load_default_sampling, read_template
from api.settings import ServerSettings
from engine.config import EngineConfig
from engine.errors import SetupError


def test_names_default_to_the_model():
    assert model_names(ServerSettings(), EngineConfig(model="org/m")) == ("org/m",)
    assert model_names(ServerSettings(), EngineConfig()) == ("servax-tiny",)
    named = ServerSettings(served_model_name=("a", "b"))
    assert model_names(named, EngineConfig(model="org/m")) == ("a", "b")


@pytest.fixture
def folder(tmp_path):
    values = {"temperature": 0.7, "top_k": 20, "max_new_tokens": 9, "eos_token_id": 2}
    (tmp_path / "generation_config.json").write_text(json.dumps(values))
    return tmp_path


def test_sampling_defaults_come_from_the_models_file(folder):
    defaults = load_default_sampling(ServerSettings(), folder)
    assert defaults == {"temperature": 0.7, "top_k": 20, "max_tokens": 9}


def test_the_file_can_be_ignored_overridden_or_elsewhere(folder, tmp_path_factory):
    assert load_default_sampling(ServerSettings(generation_config="vllm"), folder) == {}
    override = ServerSettings(override_generation_config={"top_k": 3, "temperature": None})
    assert load_default_sampling(override, folder) == {"top_k": 3, "max_tokens": 9}
    empty = tmp_path_factory.mktemp("empty")
    elsewhere = ServerSettings(generation_config=str(folder))
    assert load_default_sampling(elsewhere, empty)["top_k"] == 20


def test_a_value_of_the_file_that_no_request_may_have_is_ignored_and_named(folder, caplog):
    values = {"temperature": 9, "top_p": "x", "top_k": -1, "min_p": True, "eos_token_id": 2}
    (folder / "generation_config.json").write_text(json.dumps(values))
    assert load_default_sampling(ServerSettings(), folder) == {"top_k": -1}
    for name in ("temperature", "top_p", "min_p"):
        assert any(f"Invalid '{name}'" in record.getMessage() for record in caplog.records)
    assert "Invalid 'top_k'" not in caplog.text


def test_a_missing_file_is_fine_unless_it_was_named(tmp_path):
    assert load_default_sampling(ServerSettings(), tmp_path) == {}
    with pytest.raises(SetupError, match=r"generation_config\.json"):
        load_default_sampling(ServerSettings(generation_config=str(tmp_path)), tmp_path)


def test_a_template_is_a_file_or_its_text(tmp_path):
    file = tmp_path / "t.jinja"
    file.write_text("{{ messages }}")
    assert read_template(str(file)) == "{{ messages }}"
    assert read_template("{{ a }}\\n{{ b }}") == "{{ a }}\n{{ b }}"
    with pytest.raises(SetupError, match="no such file"):
        read_template("missing.jinja")
