"""Kinds of flag values: how a word of the command line becomes a value, and how help names it."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

DECIMAL = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
BINARY = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclasses.dataclass(frozen=True)
class Kind:
    """How a flag's value is written.

    Attributes:
        label: what help shows for the value; "" for a flag without one.
        convert: one word to a value; raises argparse.ArgumentTypeError with a sentence.
        is_list: takes one word or more.
        is_json: also takes dotted sub-arguments, `--flag.key value`.
    """

    label: str
    convert: Callable[[str], Any]
    is_list: bool = False
    is_json: bool = False

    @property
    def is_boolean(self) -> bool:
        """Whether the flag is given without a value, and has a `--no-` form."""
        return self.label == ""


def fail(message: str) -> argparse.ArgumentTypeError:
    """The error argparse prints with the name of the flag."""
    return argparse.ArgumentTypeError(message)


def to_boolean(word: str) -> bool:
    """`true`, `1`, `yes`, `on` and their opposites, as in environment variables."""
    if word.lower() in {"1", "true", "yes", "on"}:
        return True
    if word.lower() in {"0", "false", "no", "off", ""}:
        return False
    raise fail(f"{word!r} is neither true nor false")


def to_size(word: str) -> int:
    """`4096`, `16k` (16 000), `16K` (16 384), `1.5M` (1 572 864)."""
    unit = DECIMAL.get(word[-1:]) or BINARY.get(word[-1:]) or 1
    digits = word if unit == 1 else word[:-1]
    try:
        value = float(digits) * unit
        if not value.is_integer():
            raise ValueError
    except (ValueError, OverflowError):
        raise fail(f"{word!r} is not a whole number such as 4096, 16k or 1.5M") from None
    return int(value)


def to_model_len(word: str) -> int | None:
    """A size, or `auto` or `-1` for the model's own."""
    if word in {"auto", "-1"}:
        return None
    return in_range(to_size, 1, 2**31)(word)


def to_json_object(word: str) -> dict[str, Any]:
    """A JSON object."""
    try:
        value: Any = json.loads(word)
    except ValueError:
        raise fail(f"{word!r} is not JSON") from None
    if not isinstance(value, dict):
        raise fail(f"{word!r} is not a JSON object")
    return cast(dict[str, Any], value)


def to_profiler_config(word: str) -> dict[str, Any]:
    """vLLM's object, or the folder alone."""
    return to_json_object(word) if word.startswith("{") else {"torch_profiler_dir": word}


STRUCTURED_OUTPUTS_KEYS: dict[str, tuple[object, ...]] = {
    "backend": ("auto", "guidance", "llguidance", "xgrammar", "outlines", "lm-format-enforcer"),
    "disable_fallback": (True, False),
    "disable_any_whitespace": (True, False),
    "disable_additional_properties": (True, False),
    "enable_in_reasoning": (False,),
}
"""vLLM's keys and what each may be: llguidance serves all backends, and thoughts stay free."""


def to_structured_outputs_config(word: str) -> dict[str, Any]:
    """vLLM's object."""
    config = to_json_object(word)
    for key, value in config.items():
        allowed = STRUCTURED_OUTPUTS_KEYS.get(key)
        if allowed is None:
            raise fail(f"{key!r} is not one of {', '.join(STRUCTURED_OUTPUTS_KEYS)}")
        if type(value) is not type(allowed[0]) or value not in allowed:
            raise fail(f"{key!r} must be one of {', '.join(map(json.dumps, allowed))}")
    return config


def to_words(word: str) -> tuple[str, ...]:
    """One word, or a JSON list of words as vLLM takes for origins."""
    if not word.startswith("["):
        return (word,)
    try:
        values: Any = json.loads(word)
    except ValueError:
        raise fail(f"{word!r} is not a JSON list") from None
    return tuple(str(value) for value in values)


def to_names(word: str) -> tuple[str, ...]:
    """Words as `to_words` gives, none of them blank."""
    words = to_words(word)
    if not words or not all(name.strip() for name in words):
        raise fail(f"{word!r} is not a name")
    return words


def in_range(convert: Callable[[str], Any], low: float, high: float) -> Callable[[str], Any]:
    """`convert`, refusing values outside [low, high]."""

    def checked(word: str) -> Any:
        try:
            value = convert(word)
        except ValueError:
            raise fail(f"{word!r} is not a number") from None
        if not low <= value <= high:
            raise fail(f"{word} is outside {low:g}..{high:g}")
        return value

    return checked


def choice(*words: str, synonyms: Mapping[str, str] | None = None) -> Kind:
    """One of `words`, in upper or lower case; `synonyms` are accepted and replaced."""
    accepted = {word: word for word in words} | dict(synonyms or {})

    def convert(word: str) -> str:
        if word.lower() not in accepted:
            raise fail(f"{word!r} is not one of {', '.join(accepted)}")
        return accepted[word.lower()]

    return Kind("{" + ",".join(words) + "}", convert)


def only(words: Sequence[str]) -> Callable[[str], str]:
    """One of `words`; the error says that servax does nothing else."""

    def convert(word: str) -> str:
        if word.lower() not in words:
            raise fail(f"{word!r} is not supported: servax does {' or '.join(words)} only")
        return word.lower()

    return convert


def integer(low: int, high: int = 2**31) -> Kind:
    """A whole number in [low, high]."""
    return Kind("N", in_range(int, low, high))


def size(low: int, high: int = 2**62) -> Kind:
    """A whole number with an optional suffix, in [low, high]."""
    return Kind("SIZE", in_range(to_size, low, high))


def number(low: float, high: float) -> Kind:
    """A number in [low, high]."""
    return Kind("X", in_range(float, low, high))


BOOLEAN = Kind("", to_boolean)
TEXT = Kind("TEXT", str)
PATH = Kind("PATH", str)
WORDS = Kind("TEXT", to_words, is_list=True)
NAMES = Kind("TEXT", to_names, is_list=True)
JSON = Kind("JSON", to_json_object, is_json=True)
STRUCTURED_OUTPUTS = Kind("JSON", to_structured_outputs_config, is_json=True)
PROFILER = Kind("JSON|PATH", to_profiler_config, is_json=True)
MODEL_LEN = Kind("SIZE|auto", to_model_len)
SECONDS = number(0.0, 1e7)


def join_words(values: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The words of all given values, in order."""
    return tuple(word for value in values for word in value)
