"""Train the byte-level BPE tokenizer on a sample of the corpus.

Digits stand alone, so that arithmetic can be learnt, and so does a capitalised
word without the space before it, so that a name has the same tokens in a sentence
and in JSON. Bytes are the fallback: any UTF-8 text has tokens.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from bench.embedded_model.corpus import stream

VOCAB_SIZE = 1024
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
VISIBLE = (
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
)
_PIECES = r" ?\p{Ll}+|\p{Lu}\p{Ll}*|\p{L}|\p{N}| ?[^\s\p{L}\p{N}]+|\s"


def train_tokenizer(seed: int, num_texts: int = 20_000) -> Tokenizer:
    """A tokenizer of `VOCAB_SIZE` tokens, the same for the same seed."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - len(VISIBLE),
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    texts = (
        _without_marks(text.prompt + text.answer)
        for text in itertools.islice(stream(seed), num_texts)
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(mark, special=False, normalized=False) for mark in VISIBLE])
    assert tokenizer.get_vocab_size() == VOCAB_SIZE
    return tokenizer


def _without_marks(text: str) -> str:
    for mark in (*SPECIAL, *VISIBLE):
        text = text.replace(mark, "\n")
    return text


def write_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json."""
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": None,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "unk_token": None,
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 2048,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
