"""Tool calls in the models' own formats: one row a format, under vLLM's names."""

from __future__ import annotations

from collections.abc import Mapping

from api.parsers.tools.apertus import APERTUS
from api.parsers.tools.format import ToolFormat
from api.parsers.tools.gemma import FUNCTIONGEMMA, GEMMA4
from api.parsers.tools.glm import GLM45, GLM47
from api.parsers.tools.hermes import GIGACHAT3, HERMES, INTERNLM, LONGCAT
from api.parsers.tools.json_list import COHERE, GRANITE, HUNYUAN, PHI4_MINI, XLAM
from api.parsers.tools.llama import GRANITE_20B, LLAMA3
from api.parsers.tools.mistral import MISTRAL
from api.parsers.tools.openai import OPENAI
from api.parsers.tools.pythonic import LFM2, LLAMA4, OLMO3, PYTHONIC
from api.parsers.tools.sections import DEEPSEEK_V3, DEEPSEEK_V31, KIMI_K2
from api.parsers.tools.xml_rows import XML_FORMATS

# A template is matched from top to bottom, so a format whose marks are among another's is below it.
FORMATS: tuple[ToolFormat, ...] = (
    *XML_FORMATS,
    GLM45,
    GLM47,
    OPENAI,
    GEMMA4,
    FUNCTIONGEMMA,
    DEEPSEEK_V3,
    DEEPSEEK_V31,
    KIMI_K2,
    MISTRAL,
    GRANITE,
    COHERE,
    HUNYUAN,
    LFM2,
    OLMO3,
    LONGCAT,
    INTERNLM,
    APERTUS,
    GIGACHAT3,
    GRANITE_20B,
    PHI4_MINI,
    PYTHONIC,
    LLAMA4,
    LLAMA3,
    HERMES,
    XLAM,
)

# other names of the same format
ALIASES: Mapping[str, str] = {
    "ernie45": "hermes",
    "granite4": "hermes",
    "jamba": "hunyuan_a13b",
    "llama4_json": "llama3_json",
    "qwen3_json": "hermes",
    "qwen3_xml": "qwen3_coder",
    "step3p5": "qwen3_coder",
}

_BY_NAME = {row.name: row for row in FORMATS}

TOOL_PARSERS: Mapping[str, ToolFormat] = _BY_NAME | {
    alias: _BY_NAME[name] for alias, name in ALIASES.items()
}

# vLLM's names of formats that nobody here has seen written down; the flag refuses them by name
UNSUPPORTED: tuple[str, ...] = tuple(
    "beam cohere_command4 deepseek_v41 dots hf hy_v3 hy_v4 inkling "
    "k2_horizon kimi_k3 ling3 mimo minicpm5 minimax_m3 muse muse_glimmer musespark1x plamo3 "
    "poolside_v1 step5".split()
)
