"""What a model folder says of itself, as the engine's own records. Imports no jax."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from engine.config import EngineConfig
from engine.errors import ModelFormatError
from engine.weights.folder import ModelFolder
from engine.weights.source import find_model_folder
from models.config import DecoderConfig
from models.errors import UnsupportedModel
from models.families.reading import text_part
from models.family import HFConfig
from models.registry import family_for
from models.weight_rules import WeightRule

CONFIG_FILE = "config.json"
GENERATION_CONFIG_FILE = "generation_config.json"


@dataclasses.dataclass(frozen=True)
class ModelFiles:
    """A model folder, read but for its weights.

    Attributes:
        config_json: what config.json and the overrides say, as JSON.
        tensor_prefixes: how names of tensors begin in some checkpoints, to how `rules` has them.
        eos_token_ids: of generation_config.json, else of config.json; may be empty.
    """

    folder: ModelFolder
    config_json: bytes
    decoder: DecoderConfig
    rules: tuple[WeightRule, ...]
    tensor_prefixes: Mapping[str, str]
    eos_token_ids: tuple[int, ...]


def read_model_files(config: EngineConfig) -> ModelFiles:
    """Find a model and read its configuration, `hf_overrides` laid over it.

    Raises:
        SetupError: it cannot be found, or its files cannot be used; names the file.
    """
    found = find_model_folder(config.model, config.revision, config.download_dir)
    folder = ModelFolder(found)
    hf_config = laid_over(folder.json_object(CONFIG_FILE), config.hf_overrides)
    shown_as = folder.path / CONFIG_FILE
    try:
        family = family_for(hf_config)
        decoder = family.decoder_config(hf_config)
        rules = family.weight_rules(decoder)
    except UnsupportedModel as error:
        raise ModelFormatError(f"{shown_as}: {error}.") from None
    except KeyError as error:
        raise ModelFormatError(f"{shown_as}: the entry {error} is missing.") from None
    except (TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise ModelFormatError(f"{shown_as}: it has an unusable entry ({error}).") from None
    generation_config = folder.optional_json_object(GENERATION_CONFIG_FILE)
    eos = generation_config.get("eos_token_id", _eos_token_id(hf_config))
    return ModelFiles(
        folder=folder,
        config_json=msgspec.json.encode(hf_config, order="deterministic"),
        decoder=decoder,
        rules=rules,
        tensor_prefixes=family.tensor_prefixes,
        eos_token_ids=_token_ids(eos, decoder.vocab_size, folder),
    )


def _eos_token_id(hf_config: HFConfig) -> Any:
    return hf_config.get("eos_token_id", text_part(hf_config).get("eos_token_id"))


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of both, those of `above` where both have one; objects are joined likewise."""
    joined = dict(below)
    for name, value in above.items():
        old = joined.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            joined[name] = laid_over(cast("dict[str, Any]", old), cast("dict[str, Any]", value))
        else:
            joined[name] = value
    return joined


def _token_ids(value: Any, vocab_size: int, folder: ModelFolder) -> tuple[int, ...]:
    """`eos_token_id` as it comes: null, an id, or a list of ids."""
    ids = [] if value is None else value if isinstance(value, list) else [value]
    if not all(type(item) is int and 0 <= item < vocab_size for item in ids):
        raise ModelFormatError(
            f"{folder.path / CONFIG_FILE}: eos_token_id {value!r} is not in the vocabulary."
        )
    return tuple(dict.fromkeys(ids))
