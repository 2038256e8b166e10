"""The tokenizer of a model folder."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.errors import ModelFormatError
from engine.text import Tokenizer


def save(tokenizer: Tokenizer, folder: Path, **config: object) -> Path:
    tokenizer._backend.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def test_pieces_bytes_and_text_of_a_token(tokenizer: Tokenizer) -> None:
    index = tokenizer.encode("say hello")[-1]
    assert tokenizer.token_string(index) == "Ġhello"
    assert tokenizer.token_bytes(index) == b" hello"
    assert tokenizer.token_text(index) == " hello"


def test_bytes_of_a_part_of_a_character_are_the_real_ones(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("ẞ")
    assert b"".join(map(tokenizer.token_bytes, ids)).decode() == "ẞ"
    assert tokenizer.token_text(ids[0]) == "\N{REPLACEMENT CHARACTER}"


def test_an_unknown_id_has_no_piece(tokenizer: Tokenizer) -> None:
    assert tokenizer.token_string(10**9) is None
    assert tokenizer.decode([10**9, 2**40]) == ""


def test_a_folder_gives_tokenizer_special_tokens_and_template(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    folder = save(
        tokenizer,
        tmp_path,
        bos_token="<|bos|>",
        eos_token={"content": "<|end|>"},
        chat_template=[{"name": "default", "template": "old"}, {"name": "rag", "template": "r"}],
    )
    (folder / "chat_template.jinja").write_text("new")
    loaded = Tokenizer.from_folder(folder)
    assert loaded.encode("hello") == tokenizer.encode("hello")
    assert loaded.bos_token_id == tokenizer.token_id("<|bos|>")
    assert loaded.eos_token_id == tokenizer.token_id("<|end|>")
    assert loaded.config.chat_templates == {"default": "new", "rag": "r"}


def test_add_bos_token_counts_for_the_classes_that_read_it(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    flags: dict[str, object] = {"bos_token": "<|bos|>", "add_bos_token": True}
    plain = Tokenizer.from_folder(save(tokenizer, tmp_path, **flags))
    llama = Tokenizer.from_folder(
        save(tokenizer, tmp_path, tokenizer_class="LlamaTokenizerFast", **flags)
    )
    assert plain.encode("hello") == tokenizer.encode("hello")
    assert llama.encode("hello") == [llama.bos_token_id, *tokenizer.encode("hello")]
    assert llama.encode("hello", add_special_tokens=False) == tokenizer.encode("hello")


def test_tokens_that_only_the_config_knows_are_added(tokenizer: Tokenizer, tmp_path: Path) -> None:
    extra = {str(tokenizer.vocab_size): {"content": "<|x|>", "special": True}}
    loaded = Tokenizer.from_folder(save(tokenizer, tmp_path, added_tokens_decoder=extra))
    assert loaded.encode("<|x|>") == [tokenizer.vocab_size]
    assert tokenizer.vocab_size in loaded.special_ids


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelFormatError, match=r"tokenizer\.json"):
        Tokenizer.from_folder(tmp_path)


def test_a_missing_file_is_named_in_one_line_without_importing_transformers(
    tmp_path: Path,
) -> None:
    script = (
        "import sys\n"
        "from engine.errors import ModelFormatError\n"
        "from engine.text import Tokenizer\n"
        "try:\n    Tokenizer.from_folder(sys.argv[1])\n"
        "except ModelFormatError as error:\n    print(error)\n"
        "assert 'transformers' not in sys.modules\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert told.startswith(f"{tmp_path / 'tokenizer.json'}: the file is missing")
    assert told.count("\n") == 1


def test_files_that_cannot_be_converted_are_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"no sentencepiece")
    with pytest.raises(ModelFormatError, match=r"tokenizer\.model cannot be made into") as caught:
        Tokenizer.from_folder(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_older_two_files_are_converted(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer._backend.model.save(str(tmp_path))
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer"}')
    assert Tokenizer.from_folder(tmp_path).encode("hello") == tokenizer.encode("hello")


def test_threads_share_one_tokenizer(tokenizer: Tokenizer) -> None:
    texts = [f"hello world {index}" for index in range(64)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(tokenizer.encode, texts))
    assert together == [tokenizer.encode(text) for text in texts]
