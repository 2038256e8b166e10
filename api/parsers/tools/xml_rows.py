"""The formats of `xml`."""

from __future__ import annotations

import dataclasses
import functools

from api.parsers.tools.format import ToolFormat
from api.parsers.tools.xml import Tags, tagged_calls
from api.parsers.tools.xml_grammar import tagged_grammar

_QWEN3_CODER = Tags(
    section=("<tool_call>", "</tool_call>"),
    call="<function=",
    key="<parameter=",
    name_end=">",
    call_end="</function>",
    value_end="</parameter>",
)
_SEED_OSS = Tags(
    section=("<seed:tool_call>", "</seed:tool_call>"),
    call="<function=",
    key="<parameter=",
    name_end=">",
    call_end="</function>",
    value_end="</parameter>",
    trims=False,
)
_MINIMAX_M2 = Tags(
    section=("<minimax:tool_call>", "</minimax:tool_call>"),
    call='<invoke name="',
    key='<parameter name="',
    name_end='">',
    call_end="</invoke>",
    value_end="</parameter>",
    trims=False,
)
_DEEPSEEK_V32 = Tags(
    section=("<｜DSML｜function_calls>", "</｜DSML｜function_calls>"),
    call='<｜DSML｜invoke name="',
    key='<｜DSML｜parameter name="',
    name_end='">',
    call_end="</｜DSML｜invoke>",
    value_end="</｜DSML｜parameter>",
    trims=False,
    is_string=(('" string="true">', True), ('" string="false">', False)),
)
_DEEPSEEK_V4 = dataclasses.replace(
    _DEEPSEEK_V32, section=("<｜DSML｜tool_calls>", "</｜DSML｜tool_calls>")
)
_STEP3 = Tags(
    section=("<｜tool_calls_begin｜>", "<｜tool_calls_end｜>"),
    before_call=("<｜tool_call_begin｜>", "function<｜tool_sep｜>"),
    call='<steptml:invoke name="',
    key='<steptml:parameter name="',
    name_end='">',
    call_end="</steptml:invoke>",
    after_call=("<｜tool_call_end｜>",),
    value_end="</steptml:parameter>",
    newline="",
    trims=False,
)

XML_FORMATS = (
    ToolFormat(
        name="qwen3_coder",
        models="Qwen3-Coder, Qwen3.5, Nemotron 3, Step-3.5",
        sample="<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n"
        "</function>\n</tool_call>",
        script=functools.partial(tagged_calls, _QWEN3_CODER),
        call_grammar=tagged_grammar(_QWEN3_CODER, is_section_per_call=True),
        markers=_QWEN3_CODER.section,
        partner="qwen3",
        model_types=frozenset({"qwen3_next", "qwen3_5", "qwen3_5_moe", "nemotron_h", "step3p5"}),
        template_marks=(("<function=", "<parameter=", "<tool_call>"),),
    ),
    ToolFormat(
        name="seed_oss",
        models="Seed-OSS",
        sample="<seed:tool_call>\n<function=get_weather>\n<parameter=city>Paris</parameter>\n"
        "</function>\n</seed:tool_call>",
        script=functools.partial(tagged_calls, _SEED_OSS),
        call_grammar=tagged_grammar(_SEED_OSS, is_section_per_call=True),
        markers=_SEED_OSS.section,
        partner="seed_oss",
        model_types=frozenset({"seed_oss"}),
        template_marks=(("seed:tool_call",),),
    ),
    ToolFormat(
        name="minimax_m2",
        models="MiniMax-M2",
        sample='<minimax:tool_call>\n<invoke name="get_weather">\n'
        '<parameter name="city">Paris</parameter>\n</invoke>\n</minimax:tool_call>',
        script=functools.partial(tagged_calls, _MINIMAX_M2),
        call_grammar=tagged_grammar(_MINIMAX_M2, is_section_per_call=False),
        markers=_MINIMAX_M2.section,
        partner="minimax_m2",
        model_types=frozenset({"minimax_m2"}),
        template_marks=(("minimax:tool_call",),),
    ),
    ToolFormat(
        name="deepseek_v32",
        models="DeepSeek-V3.2",
        sample='<｜DSML｜function_calls>\n<｜DSML｜invoke name="get_weather">\n'
        '<｜DSML｜parameter name="city" string="true">Paris</｜DSML｜parameter>\n'
        "</｜DSML｜invoke>\n</｜DSML｜function_calls>",
        script=functools.partial(tagged_calls, _DEEPSEEK_V32),
        call_grammar=tagged_grammar(_DEEPSEEK_V32, is_section_per_call=False),
        markers=("｜DSML｜",),
        partner="deepseek_v3",
        model_types=frozenset({"deepseek_v32"}),
        template_marks=(("｜DSML｜", "function_calls"),),
    ),
    ToolFormat(
        name="deepseek_v4",
        models="DeepSeek-V4",
        sample='<｜DSML｜tool_calls>\n<｜DSML｜invoke name="get_weather">\n'
        '<｜DSML｜parameter name="city" string="true">Paris</｜DSML｜parameter>\n'
        "</｜DSML｜invoke>\n</｜DSML｜tool_calls>",
        script=functools.partial(tagged_calls, _DEEPSEEK_V4),
        call_grammar=tagged_grammar(_DEEPSEEK_V4, is_section_per_call=False),
        markers=("｜DSML｜",),
        partner="deepseek_v4",
        model_types=frozenset({"deepseek_v4"}),
        template_marks=(("｜DSML｜", "tool_calls"),),
    ),
    ToolFormat(
        name="step3",
        models="Step-3",
        sample="<｜tool_calls_begin｜><｜tool_call_begin｜>function<｜tool_sep｜>"
        '<steptml:invoke name="get_weather"><steptml:parameter name="city">Paris'
        "</steptml:parameter></steptml:invoke><｜tool_call_end｜><｜tool_calls_end｜>",
        script=functools.partial(tagged_calls, _STEP3),
        call_grammar=tagged_grammar(_STEP3, is_section_per_call=False),
        markers=(
            *_STEP3.section,
            _STEP3.before_call[0],
            "<｜tool_sep｜>",
            *_STEP3.after_call,
        ),
        partner="step3",
        model_types=frozenset({"step3", "step3_vl"}),
        template_marks=(("steptml:invoke",),),
    ),
)
