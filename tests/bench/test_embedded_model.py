"""The shipped folder is small and consistent, its template renders, and the score is honest."""

from __future__ import annotations

import json
import random
import re
import struct
from typing import Any

import pytest
from tokenizers import Tokenizer

from bench.embedded_model.corpus import stream, text_of
from bench.embedded_model.example import Example, Skill, assistant, system, user
from bench.embedded_model.skills import SKILLS
from bench.embedded_model.skills.arithmetic import is_held_out
from bench.embedded_model.template import prompt_of, transcript_of
from models.embedded import EMBEDDED_MODEL_NAME, embedded_model_dir

FOLDER = embedded_model_dir()
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CALL = {
    "id": "call_0",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city": "Zürich"}'},
}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(FOLDER / "tokenizer.json"))


def rendered(
    *messages: dict[str, Any], tools: tuple[dict[str, Any], ...] = (), think: bool = False
) -> str:
    return prompt_of(Example(messages, assistant(""), lambda text: True, tools, think))


def normalised(text: str) -> str:
    return re.sub(r"[^\w{}+*/<=\-]+", " ", text.lower()).strip()


def test_the_folder_has_the_name_of_the_model_and_is_at_most_8_mb() -> None:
    assert FOLDER.name == EMBEDDED_MODEL_NAME
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 8_000_000


def test_config_and_weights_and_tokenizer_agree(tokenizer: Tokenizer) -> None:
    config = json.loads((FOLDER / "config.json").read_text())
    with (FOLDER / "model.safetensors").open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    embedding = header["model.embed_tokens.weight"]
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["tie_word_embeddings"] is True
    assert embedding["shape"] == [tokenizer.get_vocab_size(), config["hidden_size"]]
    assert config["vocab_size"] == tokenizer.get_vocab_size()
    assert {value["dtype"] for name, value in header.items() if name != "__metadata__"} == {"BF16"}
    assert "lm_head.weight" not in header


def test_the_end_marks_are_special_and_the_visible_marks_are_one_token_of_text(
    tokenizer: Tokenizer,
) -> None:
    generation = json.loads((FOLDER / "generation_config.json").read_text())
    assert generation["eos_token_id"] == [
        tokenizer.token_to_id("<|im_end|>"),
        tokenizer.token_to_id("<|endoftext|>"),
    ]
    for mark in (
        "<tool_call>",
        "</tool_call>",
        "<tool_response>",
        "</tool_response>",
        "<think>",
        "</think>",
    ):
        (token,) = tokenizer.encode(mark).ids
        assert tokenizer.decode([token], skip_special_tokens=True) == mark
    for mark in ("<|endoftext|>", "<|im_start|>", "<|im_end|>"):
        (token,) = tokenizer.encode(mark).ids
        assert tokenizer.decode([token], skip_special_tokens=True) == ""


@pytest.mark.parametrize(
    "text", ["", "Zürich 東京 🙂 \x00\n\t", "<|im_not|> 1234", "ﬁ é  two  spaces "]
)
def test_any_text_survives_the_tokenizer(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_digits_stand_alone(tokenizer: Tokenizer) -> None:
    assert len(tokenizer.encode("1234567890").ids) == 10


def test_a_plain_chat_has_no_system_turn() -> None:
    assert rendered(user("Hi")) == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


def test_content_may_come_in_parts() -> None:
    parts = {
        "role": "user",
        "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
    }
    assert rendered(parts) == rendered(user("ab"))


@pytest.mark.parametrize("role", ["system", "developer"])
def test_the_first_system_message_opens_the_prompt(role: str) -> None:
    prompt = rendered({"role": role, "content": "You are Ada."}, user("Hi"))
    assert prompt.startswith(
        "<|im_start|>system\nYou are Ada.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    )


def test_tools_are_listed_one_json_a_line_after_the_system_message() -> None:
    prompt = rendered(system("Be kind."), user("Hi"), tools=(WEATHER, WEATHER))
    block = prompt.split("<tools>\n")[1].split("\n</tools>")[0]
    assert prompt.startswith("<|im_start|>system\nBe kind.\n")
    assert [json.loads(line) for line in block.splitlines()] == [WEATHER["function"]] * 2


@pytest.mark.parametrize("arguments", ['{"city": "Zürich"}', {"city": "Zürich"}])
def test_calls_and_their_results_are_rendered_in_hermes_form(arguments: object) -> None:
    call = CALL | {"function": {"name": "get_weather", "arguments": arguments}}
    calling = {"role": "assistant", "content": None, "tool_calls": [call, call]}
    result = {"role": "tool", "tool_call_id": "call_0", "content": "20"}
    prompt = rendered(user("Weather?"), calling, result, result, tools=(WEATHER,))
    written = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Zürich"}}\n</tool_call>'
    returned = "\n<tool_response>\n20\n</tool_response>"
    assert f"<|im_start|>assistant\n{written}\n{written}<|im_end|>\n" in prompt
    assert f"<|im_start|>user{returned}{returned}<|im_end|>\n" in prompt


def test_thinking_is_asked_for_and_off_by_default() -> None:
    assert "<think>" not in rendered(user("Hi"))
    assert "Think first, in <think>." in rendered(user("Hi"), think=True)


def test_thoughts_of_earlier_turns_are_dropped() -> None:
    earlier, later = assistant("1", reasoning="old"), assistant("2", reasoning="new")
    messages = (user("a"), earlier, user("b"))
    transcript = transcript_of(Example(messages, later, lambda text: True))
    assert "old" not in transcript
    assert "<think>\nnew\n</think>\n\n2<|im_end|>" in transcript


def test_transformers_renders_the_template_in_the_same_way() -> None:
    chat = pytest.importorskip("transformers.utils.chat_template_utils")
    messages = [
        system("Be kind."),
        user("Wetter in Zürich?"),
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
    ]
    (text,), _ = chat.render_jinja_template(
        [messages],
        tools=[WEATHER],
        chat_template=(FOLDER / "chat_template.jinja").read_text(),
        add_generation_prompt=True,
        enable_thinking=True,
    )
    assert text == rendered(*messages, tools=(WEATHER,), think=True)


def test_held_out_phrasings_are_not_training_phrasings_of_any_skill() -> None:
    trained = {
        normalised(text) for skill in SKILLS for kind in skill.phrasings for text in kind.training
    }
    held_out = {
        normalised(text) for skill in SKILLS for kind in skill.phrasings for text in kind.held_out
    }
    assert not trained & held_out


def test_training_never_shows_a_held_out_problem() -> None:
    texts = stream(seed=11)
    for _ in range(2000):
        text = next(texts)
        for left, sign, right in re.findall(
            r"(?<![+*-] )\b(\d+) ([+*-]) (\d+) = ", text.prompt + text.answer
        ):
            assert not is_held_out(int(left), int(right), sign), text


@pytest.mark.parametrize("skill", SKILLS, ids=lambda skill: skill.name)
def test_every_check_accepts_the_answer_we_teach(skill: Skill) -> None:
    rng = random.Random(3)
    for _ in range(100):
        example = skill.make(rng, "held_out")
        taught = (
            text_of(skill, example).answer.removesuffix("<|im_end|>").removesuffix("<|endoftext|>")
        )
        assert example.accepts(taught), taught
        assert not example.accepts("I am a teapot.")


def test_the_card_reports_every_skill() -> None:
    card = (FOLDER / "README.md").read_text()
    assert all(f"| {skill.name} |" in card for skill in SKILLS)
