"""`suffix`: the prompt is put together as the model's family was trained to read it."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers, processors

from api.services.completions.infill import FORMATS, infill_prompt
from engine.errors import InvalidParameterError
from engine.text import Tokenizer

BYTES = {char: i for i, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}


def tokenizer_with(*markers: str, bos: str = "") -> Tokenizer:
    backend = Backend(models.BPE(vocab=BYTES, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.add_special_tokens([*markers, *filter(None, [bos])])
    if bos:
        pair = (bos, backend.token_to_id(bos))
        backend.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[pair]
        )
    return Tokenizer(backend)


@pytest.mark.parametrize("layout", FORMATS, ids=lambda each: each.prefix)
def test_every_format_puts_its_markers_around_prompt_and_suffix(layout: Any) -> None:
    tokenizer = tokenizer_with(*layout.markers, bos="<s>")
    ids = infill_prompt(
        tokenizer, tokenizer.encode("ab", add_special_tokens=False),
        tokenizer.encode("yz", add_special_tokens=False), add_special_tokens=True,
    )  # fmt: skip
    text = "".join(tokenizer.token_string(i) or "" for i in ids)
    if layout.is_suffix_first:
        assert text == f"<s>{layout.suffix}yz{layout.prefix}ab"
    else:
        assert text == f"<s>{layout.prefix}ab{layout.suffix}yz{layout.middle}"


@pytest.mark.parametrize("prompt", ["ab", None])
async def test_a_completion_with_a_suffix_is_asked_for_what_lies_between(
    speaking: Any, prompt: str | None
) -> None:
    tokenizer = tokenizer_with("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
    speaker = speaking("c")
    object.__setattr__(speaker.context, "tokenizer", tokenizer)
    await speaker.complete(prompt or tokenizer.encode("ab"), suffix="yz")
    ids = speaker.engine.requests[0].prompt_token_ids
    text = "".join(tokenizer.token_string(i) or "" for i in ids)
    assert text == "<|fim_prefix|>ab<|fim_suffix|>yz<|fim_middle|>"


async def test_a_model_without_the_tokens_refuses_a_suffix(speaking: Any) -> None:
    speaker = speaking("c")
    with pytest.raises(InvalidParameterError) as caught:
        await speaker.complete("ab", suffix="yz")
    assert (caught.value.param, caught.value.code) == ("suffix", "unsupported_parameter")
    await speaker.complete("ab", suffix="")
    await speaker.complete("ab", suffix=None)


@pytest.mark.parametrize("field", [{"echo": True}, {"truncate_prompt_tokens": 3}])
async def test_what_would_tear_the_markers_apart_is_refused(
    speaking: Any, field: dict[str, Any]
) -> None:
    speaker = speaking("c")
    markers = ("<fim_prefix>", "<fim_suffix>", "<fim_middle>")
    object.__setattr__(speaker.context, "tokenizer", tokenizer_with(*markers))
    with pytest.raises(InvalidParameterError) as caught:
        await speaker.complete("ab", suffix="yz", **field)
    assert caught.value.param == next(iter(field))
