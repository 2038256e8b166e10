"""`suffix`: fill-in-the-middle prompts, for models that have the tokens for them.

Formats are those of the models' own cards: Qwen2.5-Coder, CodeGemma (`<|fim_prefix|>`), StarCoder
and Granite (`<fim_prefix>`), SantaCoder (`<fim-prefix>`), DeepSeek-Coder (`<｜fim▁begin｜>`), Code
Llama (`▁<PRE>`), GLM-4 (`<|code_prefix|>`), Codestral (`[SUFFIX]`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from api.protocol.completions import CompletionRequest
from engine.errors import InvalidParameterError
from engine.text.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True, slots=True)
class InfillFormat:
    """Marker tokens of a model family.

    Attributes:
        prefix, suffix: come before the prompt and before the suffix.
        middle: comes last; "" = the text to write simply follows.
        is_suffix_first: the suffix precedes the prompt.
    """

    prefix: str
    suffix: str
    middle: str
    is_suffix_first: bool = False

    @property
    def markers(self) -> tuple[str, ...]:
        """The tokens a vocabulary must have."""
        return tuple(filter(None, (self.prefix, self.suffix, self.middle)))


FORMATS = (
    InfillFormat("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    InfillFormat("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    InfillFormat("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),
    InfillFormat("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
    InfillFormat("▁<PRE>", "▁<SUF>", "▁<MID>"),
    InfillFormat("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"),
    InfillFormat("[PREFIX]", "[SUFFIX]", "", is_suffix_first=True),
)


def find_format(tokenizer: Tokenizer) -> InfillFormat | None:
    """The format whose markers are tokens of this vocabulary."""
    for each in FORMATS:
        if all(tokenizer.token_id(marker) is not None for marker in each.markers):
            return each
    return None


def verify_infill(tokenizer: Tokenizer, request: CompletionRequest) -> None:
    """Raise InvalidParameterError when `suffix` cannot be honoured."""
    if not request.suffix:
        return
    if find_format(tokenizer) is None:
        raise InvalidParameterError(
            "Unsupported parameter: 'suffix' is only supported for models that were trained to "
            "fill in the middle.",
            param="suffix",
            code="unsupported_parameter",
        )
    for name in ("echo", "truncate_prompt_tokens"):
        if getattr(request, name):
            message = f"Invalid '{name}': it does not go with 'suffix'."
            raise InvalidParameterError(message, param=name)


def infill_prompt(
    tokenizer: Tokenizer,
    prompt_ids: Sequence[int],
    suffix_ids: Sequence[int],
    *,
    add_special_tokens: bool,
) -> tuple[int, ...]:
    """The ids that make the model write what lies between prompt and suffix.

    Arguments:
        prompt_ids, suffix_ids: without special tokens.
        add_special_tokens: begin as the tokenizer begins a text.
    """
    found = find_format(tokenizer)
    assert found is not None, "verify_infill comes first"
    prefix = (*_ids(tokenizer, found.prefix), *prompt_ids)
    suffix = (*_ids(tokenizer, found.suffix), *suffix_ids)
    parts = (suffix, prefix) if found.is_suffix_first else (prefix, suffix)
    beginning = _beginning(tokenizer) if add_special_tokens else ()
    return (*beginning, *parts[0], *parts[1], *_ids(tokenizer, found.middle))


def _beginning(tokenizer: Tokenizer) -> tuple[int, ...]:
    """What the tokenizer puts before every text, which is no end of a text."""
    around = tokenizer.encode("", add_special_tokens=True)
    return tuple(around[:1]) if around[:1] != [tokenizer.eos_token_id] else ()


def _ids(tokenizer: Tokenizer, marker: str) -> tuple[int, ...]:
    token_id = tokenizer.token_id(marker) if marker else None
    return () if token_id is None else (token_id,)
