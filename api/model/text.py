"""The text side of a model, loaded in the API process while the engine compiles.

Tokenizer, chat template, sampling defaults and names: all from the model's folder, all checked
before the server says it is ready.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

from api.model import sampling_defaults
from api.model.formats import ModelFormats, choose_formats
from api.settings import ServerSettings
from engine.config import EngineConfig
from engine.errors import SetupError
from engine.text import ChatTemplate, Tokenizer
from engine.weights.folder import ModelFolder
from engine.weights.source import find_model_folder, find_tokenizer_folder

GENERATION_CONFIG = "generation_config.json"
MAX_TEMPLATE_PATH_CHARS = 4096

log = logging.getLogger("servax")


@dataclasses.dataclass(frozen=True)
class ModelText:
    """What the API knows of a model besides `engine.request.ModelInfo`.

    Attributes:
        default_sampling: parameters for requests that do not set them, by vLLM's names;
            `max_new_tokens` is there as `max_tokens`.
        formats: how the model writes calls and thoughts.
        root: what `/v1/models` gives as `root`.
    """

    tokenizer: Tokenizer
    chat_template: ChatTemplate | None
    default_sampling: dict[str, Any]
    root: str
    formats: ModelFormats = dataclasses.field(default_factory=ModelFormats)


def load_model_text(settings: ServerSettings, config: EngineConfig) -> ModelText:
    """Read the folder the engine reads. Blocking: call it in a thread.

    Raises:
        SetupError: a file is missing or wrong; the sentence names it.
        engine.text.TemplateError: the chat template is not one.
    """
    folder = find_model_folder(config.model, config.revision, config.download_dir)
    tokenizer = Tokenizer.from_folder(find_tokenizer_folder(config))
    template = load_chat_template(settings.chat_template, tokenizer)
    return ModelText(
        tokenizer=tokenizer,
        chat_template=template,
        formats=choose_formats(settings, read_model_type(folder), template and template.source),
        default_sampling=load_default_sampling(settings, folder),
        root=config.model or folder.name,
    )


def read_model_type(folder: Path) -> str | None:
    """`model_type` of config.json; None when it has none."""
    source = ModelFolder(folder)
    if not source.has("config.json"):
        return None
    kind = source.json_object("config.json").get("model_type")
    return kind if isinstance(kind, str) else None


def load_chat_template(choice: str, tokenizer: Tokenizer) -> ChatTemplate | None:
    """The template of `--chat-template`, else the tokenizer's, else None."""
    source = read_template(choice) if choice else tokenizer.config.chat_template
    if source is None:
        return None
    return ChatTemplate(source, tokenizer.config.special_tokens)


def read_template(choice: str) -> str:
    """The content of the file named `choice`, or `choice` itself if it reads like a template.

    Raises:
        SetupError: neither a readable file nor a template.
    """
    path = Path(choice)
    if len(choice) < MAX_TEMPLATE_PATH_CHARS and "\n" not in choice and path.is_file():
        return path.read_text(encoding="utf-8")
    if "{" in choice:
        return choice.replace("\\n", "\n")
    raise SetupError(f"--chat-template {choice}: there is no such file, and it is not a template.")


def load_default_sampling(settings: ServerSettings, folder: Path) -> dict[str, Any]:
    """Sampling defaults from the chosen generation_config.json and the operator's overrides.

    A value of the file that no request could have is left out, with a warning.
    """
    values: dict[str, Any] = {}
    if settings.generation_config != "vllm":
        chosen = folder if settings.generation_config == "auto" else settings.generation_config
        values = read_generation_config(Path(chosen), settings.generation_config == "auto")
    for name, fault in sampling_defaults.find_faults(values).items():
        log.warning("%s: %s It is ignored.", GENERATION_CONFIG, fault)
        del values[name]
    return sampling_defaults.pick(values | settings.override_generation_config)


def read_generation_config(folder: Path, is_optional: bool) -> dict[str, Any]:
    """The file's object; empty when it is missing and may be.

    Raises:
        SetupError: it is missing and must not be, or cannot be read.
    """
    source = ModelFolder(folder)
    if is_optional and not source.has(GENERATION_CONFIG):
        return {}
    try:
        return source.json_object(GENERATION_CONFIG)
    except (OSError, json.JSONDecodeError) as error:
        raise SetupError(f"{folder / GENERATION_CONFIG}: {error}") from None
