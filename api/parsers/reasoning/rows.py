"""The rows. Most models differ only in their tags and in whether the prompt opens them.

A template is matched from top to bottom, so a format whose marks are among another's is below it.
"""

from __future__ import annotations

import functools

from api.parsers.harmony import CHANNEL, END, MARKERS, MESSAGE, harmony
from api.parsers.reasoning.format import ReasoningFormat
from api.parsers.reasoning.tags import all_content
from api.parsers.script import Script

_START, _END = "<think>", "</think>"
_think = functools.partial(ReasoningFormat, start=_START, end=_END)
_FINAL = f"{CHANNEL}final{MESSAGE}"


def _append_think(is_open: bool) -> Script:
    return all_content(_START, is_open=is_open)


FORMATS: tuple[ReasoningFormat, ...] = (
    ReasoningFormat(
        name="openai_gptoss",
        models="gpt-oss",
        start=f"{CHANNEL}analysis{MESSAGE}",
        end=END,
        answer_begin=_FINAL,
        special=MARKERS,
        script=lambda is_open: harmony(has_calls=False),
        model_types=frozenset({"gpt_oss"}),
        template_marks=(("<|channel|>", "<|message|>"),),
    ),
    ReasoningFormat(
        name="gemma4",
        models="Gemma 4",
        start="<|channel>thought",
        end="<channel|>",
        special=("<|channel>",),
        model_types=frozenset({"gemma4", "gemma4_text"}),
        template_marks=(("<|channel>",),),
    ),
    ReasoningFormat(
        name="mistral",
        models="Magistral, Ministral 3 Reasoning",
        start="[THINK]",
        end="[/THINK]",
        template_marks=(("[THINK]",),),
    ),
    ReasoningFormat(
        name="seed_oss",
        models="Seed-OSS",
        start="<seed:think>",
        end="</seed:think>",
        model_types=frozenset({"seed_oss"}),
        template_marks=(("seed:think",),),
    ),
    ReasoningFormat(
        name="granite",
        models="Granite 3.2, 3.3",
        start="Here is my thought process:",
        end="Here is my response:",
        other_starts=("Here's my thought process:",),
        other_ends=("Here's my response:",),
        template_marks=(("Here is my thought process:",),),
    ),
    ReasoningFormat(
        name="cohere_command3",
        models="Command R7B and Command A Reasoning",
        start="<|START_THINKING|>",
        end="<|END_THINKING|>",
        around_answer=("<|START_RESPONSE|>", "<|END_RESPONSE|>"),
        model_types=frozenset({"cohere2"}),
        template_marks=(("<|START_THINKING|>",),),
    ),
    _think(
        name="minimax_m2",
        models="MiniMax-M2",
        is_open_by_default=True,
        model_types=frozenset({"minimax_m2"}),
        template_marks=(("minimax:tool_call", _START),),
    ),
    _think(
        name="minimax_m2_append_think",
        models="MiniMax-M2, for clients that send the thoughts back within the content",
        is_open_by_default=True,
        script=_append_think,
    ),
    _think(
        name="kimi_k2",
        models="Kimi-K2-Thinking, Kimi-K2.5",
        ends_before=("<|tool_calls_section_begin|>",),
        template_marks=(("<|tool_calls_section_begin|>", _START),),
    ),
    _think(
        name="hunyuan_a13b",
        models="Hunyuan-A13B",
        around_answer=("<answer>", "</answer>"),
        model_types=frozenset({"hunyuan_v1_moe", "hunyuan_v1_dense"}),
        template_marks=((_START, "<answer>"),),
    ),
    _think(
        name="ernie45",
        models="ERNIE 4.5 Thinking",
        around_answer=("<response>", "</response>"),
        is_open_by_default=True,
        template_marks=((_START, "<response>"),),
    ),
    _think(
        name="glm45",
        models="GLM-4.5, 4.6, 4.7 and 5",
        model_types=frozenset({"glm4_moe", "glm4v_moe", "glm4_moe_lite", "glm_moe_dsa"}),
        template_marks=(("[gMASK]", _START),),
    ),
    _think(
        name="deepseek_v4",
        models="DeepSeek-V4",
        ends_before=("<｜DSML｜tool_calls>",),
        special=("｜DSML｜",),
        model_types=frozenset({"deepseek_v4"}),
        template_marks=(("<｜DSML｜tool_calls>", _END),),
    ),
    _think(
        name="deepseek_v3",
        models="DeepSeek-V3.1 and V3.2",
        model_types=frozenset({"deepseek_v32"}),
        template_marks=(("<｜Assistant｜>", "thinking", _END),),
    ),
    _think(
        name="deepseek_r1",
        models="DeepSeek-R1 and its distillations, QwQ",
        is_open_by_default=True,
        template_marks=(("<｜Assistant｜>", _END),),
    ),
    _think(
        name="step3",
        models="Step-3",
        is_open_by_default=True,
        model_types=frozenset({"step3", "step3_vl"}),
        template_marks=(("steptml:invoke", _START),),
    ),
    _think(
        name="step3p5",
        models="Step-3.5",
        is_open_by_default=True,
        model_types=frozenset({"step3p5"}),
    ),
    _think(
        name="olmo3",
        models="OLMo 3 Think",
        is_open_by_default=True,
    ),
    _think(
        name="qwen3",
        models="Qwen3, Qwen3.5, Nemotron 3, MiMo, the embedded model",
        model_types=frozenset({"qwen3", "qwen3_moe", "qwen3_next", "qwen3_5", "qwen3_5_moe"}),
        template_marks=(("<|im_start|>", _START), ("<|im_start|>", _END)),
    ),
)
