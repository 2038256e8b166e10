"""Which folder `--model` means: the embedded model, a folder on disk, or a model of the hub."""

from __future__ import annotations

from pathlib import Path

from engine.config import EngineConfig
from engine.errors import ModelFormatError, SetupError

HUB_PATTERNS = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt")
"""Weights as safetensors and what tokenizers and templates need; never code, never pickles."""


def find_model_folder(model: str, revision: str = "", download_dir: str = "") -> Path:
    """The folder of a model, downloading it from the hub when its name is a hub id.

    Args:
        model: "" for the embedded model, a path, or a hub id such as "org/name".
        revision: branch, tag or commit of a hub model; "" = its main branch.
        download_dir: where hub models are kept; "" = the hub library's own folder.

    Raises:
        ModelFormatError: a path that is not a folder with a config.json.
        SetupError: the hub has no such model or cannot be reached.
    """
    if not model:
        from models.embedded import embedded_model_dir

        return _checked(embedded_model_dir())
    path = Path(model).expanduser()
    if path.exists() or not _is_hub_id(model):
        return _checked(path)
    return _checked(_download(model, revision, download_dir))


def find_tokenizer_folder(config: EngineConfig) -> Path:
    """The folder of `--tokenizer`, else of the model. Raises as `find_model_folder` does."""
    if config.tokenizer:
        return find_model_folder(config.tokenizer, config.tokenizer_revision, config.download_dir)
    revision = config.tokenizer_revision or config.revision
    return find_model_folder(config.model, revision, config.download_dir)


def verify_model_is_there(model: str) -> None:
    """What can be known of `--model` at once, without the hub and without opening a file.

    Raises:
        ModelFormatError: a path that is not a folder with a config.json.
    """
    path = Path(model).expanduser()
    if model and (path.exists() or not _is_hub_id(model)):
        _checked(path)


def _checked(path: Path) -> Path:
    if not path.is_dir():
        raise ModelFormatError(f"{path}: there is no model folder here.")
    if not (path / "config.json").exists():
        raise ModelFormatError(f"{path / 'config.json'}: the file is missing.")
    return path


def _is_hub_id(model: str) -> bool:
    """Whether the text can be a hub id: `name` or `org/name`, not a path."""
    parts = model.split("/")
    return len(parts) <= 2 and all(part and part[0].isalnum() for part in parts)


def _download(model: str, revision: str, download_dir: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                model,
                revision=revision or None,
                cache_dir=download_dir or None,
                allow_patterns=list(HUB_PATTERNS),
            )
        )
    except LocalEntryNotFoundError:
        reason = "it is not in the local hub cache and the hub cannot be reached"
    except HfHubHTTPError as error:
        reason = str(error).split("\n", maxsplit=1)[0]
    except (HFValidationError, OSError) as error:
        reason = str(error).split("\n", maxsplit=1)[0]
    raise SetupError(f"--model {model}: {reason}. Name a folder on disk, or check the name.")
