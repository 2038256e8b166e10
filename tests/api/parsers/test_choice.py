"""Which formats a model gets without being told, family by family."""

from __future__ import annotations

import pathlib

import pytest

from api.parsers.choice import native_reasoning_format, native_tool_format

EMBEDDED = pathlib.Path(__file__).parents[3] / "models/embedded/servax-tiny/chat_template.jinja"
QWEN = '<|im_start|>system\\n\\n# Tools <tool_call>\\n{{\\"name\\": <function-name>}}</tool_call>'

# model_type, what its chat template has, tool format, reasoning format
FAMILIES = [
    ("qwen2", QWEN.replace("{{", "{"), "hermes", None),
    ("qwen3", QWEN.replace("{{", "{") + "<think>", "hermes", "qwen3"),
    (
        "qwen3_moe",
        "<|im_start|><tool_call>\n<function=example>\n<parameter=a>",
        "qwen3_coder",
        "qwen3",
    ),
    (
        "qwen3_5",
        "<|im_start|><tool_call>\n<function=f>\n<parameter=a><think>",
        "qwen3_coder",
        "qwen3",
    ),
    (
        "llama",
        '<|start_header_id|> {"name": function name, "parameters": dictionary of',
        "llama3_json",
        None,
    ),
    ("llama", "<|start_header_id|>[func_name1(params_name1=params_value1", "pythonic", None),
    ("llama", "no tools", None, None),
    ("llama4", "<|python_start|>", "llama4_pythonic", None),
    ("mistral", "[AVAILABLE_TOOLS][TOOL_CALLS]", "mistral", None),
    ("mistral3", "[TOOL_CALLS][THINK]", "mistral", "mistral"),
    (
        "deepseek_v3",
        "<｜Assistant｜></think><｜tool▁call▁begin｜>```json",
        "deepseek_v3",
        "deepseek_r1",
    ),
    (
        "deepseek_v3",
        "thinking<｜Assistant｜></think><｜tool▁call▁begin｜>",
        "deepseek_v31",
        "deepseek_v3",
    ),
    (
        "qwen2",
        "<｜Assistant｜><think>\\n</think><｜tool▁call▁begin｜>```json",
        "deepseek_v3",
        "deepseek_r1",
    ),
    ("deepseek_v32", None, "deepseek_v32", "deepseek_v3"),
    ("glm4_moe", "[gMASK]<think><arg_key>k</arg_key>\n<arg_value>", "glm45", "glm45"),
    ("glm4_moe", "[gMASK]<think><arg_key>k</arg_key><arg_value>", "glm47", "glm45"),
    (
        "kimi_k2",
        "<|tool_calls_section_begin|><|tool_call_argument_begin|><think>",
        "kimi_k2",
        "kimi_k2",
    ),
    ("granite", "<|start_of_role|><|tool_call|>Here is my thought process:", "granite", "granite"),
    ("granitemoehybrid", None, "hermes", None),
    ("phi3", "<|tool|><|/tool|><|assistant|>", "phi4_mini_json", None),
    ("gpt_oss", "<|start|><|channel|>analysis<|message|>", "openai", "openai_gptoss"),
    ("minimax_m2", "<minimax:tool_call><think>", "minimax_m2", "minimax_m2"),
    ("gemma4", "<|tool_call>call:<|channel>thought", "gemma4", "gemma4"),
    ("gemma3_text", "<start_function_call>call:", "functiongemma", None),
    ("gemma3_text", "<start_of_turn>", None, None),
    ("seed_oss", "<seed:tool_call><seed:think>", "seed_oss", "seed_oss"),
    ("step3", "<steptml:invoke name=<think>", "step3", "step3"),
    ("hunyuan_v1_moe", "<tool_calls><think><answer>", "hunyuan_a13b", "hunyuan_a13b"),
    ("cohere2", "<|START_ACTION|><|START_THINKING|>", "cohere_command3", "cohere_command3"),
    ("lfm2", "<|tool_list_start|>", "lfm2", None),
    ("olmo3", "<function_calls>", "olmo3", None),
    (
        "nemotron_h",
        "<|im_start|><tool_call>\n<function=f>\n<parameter=a><think>",
        "qwen3_coder",
        "qwen3",
    ),
    ("deepseek_v4", None, "deepseek_v4", "deepseek_v4"),
    ("apertus", "<|tools_prefix|>", "apertus", None),
    ("gpt2", None, None, None),
    (None, None, None, None),
]


@pytest.mark.parametrize(("model_type", "template", "tools", "reasoning"), FAMILIES)
def test_a_family_gets_its_own_formats(
    model_type: str | None, template: str | None, tools: str | None, reasoning: str | None
) -> None:
    tool_format = native_tool_format(model_type, template)
    reasoning_format = native_reasoning_format(model_type, template)
    assert (tool_format.name if tool_format else None) == tools
    assert (reasoning_format.name if reasoning_format else None) == reasoning


def test_the_embedded_model_gets_hermes_and_qwen3() -> None:
    template = EMBEDDED.read_text()
    tool_format = native_tool_format("qwen3", template)
    reasoning_format = native_reasoning_format("qwen3", template)
    assert tool_format is not None
    assert reasoning_format is not None
    assert (tool_format.name, reasoning_format.name) == ("hermes", "qwen3")
