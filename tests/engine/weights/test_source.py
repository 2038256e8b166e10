from __future__ import annotations

from pathlib import Path

import pytest

from engine.config import EngineConfig
from engine.errors import ModelFormatError, SetupError
from engine.weights.source import find_model_folder, find_tokenizer_folder
from models.embedded import embedded_model_dir


def test_no_name_means_the_embedded_model() -> None:
    assert find_model_folder("") == embedded_model_dir()


def test_a_folder_is_taken_as_it_is(folder: Path) -> None:
    assert find_model_folder(str(folder)) == folder


def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError, match=r"config\.json: the file is missing"):
        find_model_folder(str(tmp_path))


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError, match="there is no model folder here"):
        find_model_folder(str(tmp_path / "missing" / "model"))


def test_a_hub_model_without_a_network_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(SetupError) as caught:
        find_model_folder("no-such-org/no-such-model")
    assert "--model no-such-org/no-such-model" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_tokenizer_has_a_folder_of_its_own_or_the_models(tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text("{}")
    assert find_tokenizer_folder(EngineConfig()) == embedded_model_dir()
    assert find_tokenizer_folder(EngineConfig(tokenizer=str(other))) == other
