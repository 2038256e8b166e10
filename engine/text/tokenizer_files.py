"""The files of a tokenizer: tokenizer.json, tokenizer_config.json, chat templates."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any, cast

from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend
from tokenizers.processors import TemplateProcessing

from engine.errors import ModelFormatError

_logger = logging.getLogger(__name__)

_DEFAULT_TEMPLATE = "default"
_CONVERTIBLE_FILES = (("tokenizer.model",), ("vocab.json", "merges.txt"))
"""Older formats: each a set of files of which transformers can make a tokenizer."""
# Classes whose transformers counterpart rebuilds the post-processor from add_bos_token and
# add_eos_token; for all others tokenizer.json alone decides.
_CLASSES_WITH_ADD_FLAGS = ("LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer")


@dataclasses.dataclass(frozen=True, slots=True)
class TokenizerConfig:
    """What tokenizer_config.json says.

    Attributes:
        chat_templates: by name; the usual one is called ``default``.
        special_tokens: every ``*_token`` of the file, for chat templates.
        source: the file as it stands.
    """

    tokenizer_class: str = ""
    bos_token: str | None = None
    eos_token: str | None = None
    add_bos_token: bool | None = None
    add_eos_token: bool | None = None
    chat_templates: dict[str, str] = dataclasses.field(default_factory=dict[str, str])
    special_tokens: dict[str, str] = dataclasses.field(default_factory=dict[str, str])
    added_tokens: dict[int, dict[str, Any]] = dataclasses.field(
        default_factory=dict[int, dict[str, Any]]
    )
    source: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])

    @property
    def chat_template(self) -> str | None:
        """Source of the usual chat template."""
        return self.chat_templates.get(_DEFAULT_TEMPLATE)


def read_tokenizer_config(folder: Path) -> TokenizerConfig:
    """Read tokenizer_config.json and the chat template files beside it.

    Raises:
        ModelFormatError: a file is there and cannot be read.
    """
    raw = _read_json(folder / "tokenizer_config.json")
    specials = {
        name: text
        for name, value in raw.items()
        if name.endswith("_token") and (text := _token_text(value)) is not None
    }
    return TokenizerConfig(
        tokenizer_class=str(raw.get("tokenizer_class") or ""),
        bos_token=specials.get("bos_token"),
        eos_token=specials.get("eos_token"),
        add_bos_token=raw.get("add_bos_token"),
        add_eos_token=raw.get("add_eos_token"),
        chat_templates=_chat_templates(folder, raw),
        special_tokens=specials,
        added_tokens={int(k): v for k, v in (raw.get("added_tokens_decoder") or {}).items()},
        source=raw,
    )


def load_backend(folder: Path, config: TokenizerConfig) -> Backend:
    """The tokenizer itself, from tokenizer.json or, without one, converted by transformers.

    Raises:
        ModelFormatError: neither works; one line names the file.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        return _convert(folder)
    try:
        backend = Backend.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        raise ModelFormatError(f"{path} is not a tokenizer: {error}") from error
    _add_missing_tokens(backend, config)
    _apply_add_flags(backend, config)
    return backend


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ModelFormatError(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ModelFormatError(f"{path} is not a JSON object.")
    return cast(dict[str, Any], value)


def _token_text(value: object) -> str | None:
    """A special token is stored as its text or as ``{"content": text, ...}``."""
    if isinstance(value, dict):
        value = cast(dict[str, Any], value).get("content")
    return value if isinstance(value, str) else None


def _chat_templates(folder: Path, raw: dict[str, Any]) -> dict[str, str]:
    """Templates by name: tokenizer_config.json's, overruled by the files of newer folders."""
    stored = raw.get("chat_template")
    found: dict[str, str] = {}
    if isinstance(stored, str):
        found[_DEFAULT_TEMPLATE] = stored
    elif isinstance(stored, list):
        for entry in cast(list[dict[str, str]], stored):
            found[entry["name"]] = entry["template"]
    for path in sorted((folder / "additional_chat_templates").glob("*.jinja")):
        found[path.stem] = path.read_text("utf-8")
    single = folder / "chat_template.jinja"
    if single.is_file():
        found[_DEFAULT_TEMPLATE] = single.read_text("utf-8")
    return found


def _add_missing_tokens(backend: Backend, config: TokenizerConfig) -> None:
    """Tokens that only tokenizer_config.json knows, added where their ids come next."""
    for token_id, entry in sorted(config.added_tokens.items()):
        if backend.id_to_token(token_id) is not None:
            continue
        if token_id != backend.get_vocab_size(with_added_tokens=True):
            return
        flags = {key: bool(entry.get(key)) for key in ("lstrip", "rstrip", "single_word")}
        token = AddedToken(
            entry["content"],
            normalized=bool(entry.get("normalized", True)),
            special=bool(entry.get("special")),
            **flags,
        )
        backend.add_tokens([token])


def _apply_add_flags(backend: Backend, config: TokenizerConfig) -> None:
    """Make encode() add begin and end tokens as the flags say, where they have the say."""
    name = config.tokenizer_class.removesuffix("Fast")
    if name not in _CLASSES_WITH_ADD_FLAGS or config.add_bos_token is None:
        return
    wanted = [
        token
        for token, is_added in (
            (config.bos_token, config.add_bos_token),
            (config.eos_token, config.add_eos_token),
        )
        if is_added and token is not None
    ]
    if backend.encode("").tokens == wanted:
        return
    bos = [config.bos_token] if config.add_bos_token and config.bos_token else []
    eos = [config.eos_token] if config.add_eos_token and config.eos_token else []
    special = [(token, backend.token_to_id(token)) for token in wanted]
    backend.post_processor = TemplateProcessing(
        single=[*bos, "$A", *eos], pair=[*bos, "$A", "$B", *eos], special_tokens=special
    )


def _convert(folder: Path) -> Backend:
    """A tokenizer of an older format. Looks for its files before importing transformers (20 s on
    a small machine)."""
    missing = f"{folder / 'tokenizer.json'}: the file is missing"
    for names in _CONVERTIBLE_FILES:
        if all((folder / name).is_file() for name in names):
            return _convert_with_transformers(folder, f"{missing}, and {' and '.join(names)}")
    raise ModelFormatError(
        f"{missing}, and there is neither tokenizer.model nor vocab.json with merges.txt to make "
        "it of."
    )


def _convert_with_transformers(folder: Path, complaint: str) -> Backend:
    from transformers import AutoTokenizer

    try:
        loaded: Any = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    except Exception as error:
        # What transformers says runs over many lines and speaks of packages and of the hub.
        _logger.debug("transformers cannot convert %s", folder, exc_info=error)
        loaded = None
    backend = getattr(loaded, "backend_tokenizer", None)
    if not isinstance(backend, Backend):
        raise ModelFormatError(f"{complaint} cannot be made into one by transformers.")
    return backend
