"""Two calls in every format: `f` with a value of each type, `g` with none."""

from __future__ import annotations

import json
import re

from api.parsers.tool_spec import ToolSpec

TYPED = ToolSpec(
    name="f",
    parameters={
        "type": "object",
        "properties": {
            "s": {"type": "string"},
            "i": {"type": "integer"},
            "x": {"type": "number"},
            "b": {"type": "boolean"},
            "n": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "l": {"$ref": "#/$defs/list"},
            "o": {"type": "object"},
        },
        "$defs": {"list": {"type": "array", "items": {"type": "integer"}}},
    },
)
VALUES = {
    "s": 'a "b"\n<c> \\d \N{GRINNING FACE}',
    "i": 3,
    "x": -1.5,
    "b": True,
    "n": None,
    "l": [1, 2],
    "o": {"k": [True, None, "v"], "e": {}},
}
PY = (
    "[f(s='a \"b\"\\n<c> \\\\d \N{GRINNING FACE}',"
    "i=3, x=-1.5, b=True, n=None, l=[1, 2], o={'k': (True, None, 'v'), 'e': {}}), g()]"
)
JSON = json.dumps(VALUES)
KV = "".join(
    f"<arg_key>{key}</arg_key>\n<arg_value>"
    f"{value if isinstance(value, str) else json.dumps(value)}</arg_value>\n"
    for key, value in VALUES.items()
)


def tags(before: str, key: str, end: str, after: str) -> str:
    return (
        before
        + "".join(
            f"{key.format(name)}{value if isinstance(value, str) else json.dumps(value)}{end}"
            for name, value in VALUES.items()
        )
        + after
    )


def gemma(opening: str, closing: str, quote: str) -> str:
    def written(value: object) -> str:
        if isinstance(value, str):
            return f"{quote}{value}{quote}"
        if isinstance(value, dict):
            return "{" + ",".join(f"{key}:{written(one)}" for key, one in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ",".join(map(written, value)) + "]"
        return json.dumps(value)

    return f"{opening}call:f{written(VALUES)}{closing}{opening}call:g{{}}{closing}"


QWEN_END = "\n</parameter>\n"
# two calls, f with VALUES and g with nothing
_TEXTS = {
    "apertus": '<|tools_prefix|>[{"f": @ARGS}, {"g": {}}]<|tools_suffix|>',
    "gigachat3": '<|function_call|>{"name": "f", "arguments": @ARGS}\n'
    '<|function_call|>{"name": "g", "arguments": {}}',
    "hermes": '<tool_call>\n{"name": "f", "arguments": @ARGS}\n</tool_call>\n'
    '<tool_call>\n{"arguments": {}, "name": "g"}</tool_call>\n',
    "longcat": '<longcat_tool_call>{"name": "f", "arguments": @ARGS}</longcat_tool_call>'
    '<longcat_tool_call>{"name": "g"}</longcat_tool_call>',
    "internlm": '<|action_start|><|plugin|>\n{"name": "f", "parameters": @ARGS}<|action_end|>'
    '<|action_start|><|plugin|>{"name": "g", "parameters": {}}<|action_end|>\n',
    "granite": '<|tool_call|> [{"name": "f", "arguments": @ARGS}, {"name": "g"}]',
    "phi4_mini_json": 'functools[{"name": "f", "arguments": @ARGS}, {"name": "g"}]',
    "hunyuan_a13b": '<tool_calls>[{"name": "f", "arguments": @ARGS}, {"name": "g"}]</tool_calls>',
    "cohere_command3": '<|START_ACTION|>[\n {"tool_call_id": "0", "tool_name": "f", '
    '"parameters": @ARGS},\n {"tool_call_id": "1", "tool_name": "g", "parameters": {}}\n]'
    "<|END_ACTION|>",
    "xlam": '[{"name": "f", "arguments": @ARGS}, {"name": "g", "arguments": {}}]',
    "llama3_json": '{"name": "f", "parameters": @ARGS}; {"name": "g", "parameters": {}}',
    "granite-20b-fc": '<function_call> {"name": "f", "arguments": @ARGS}\n<function_call> '
    '{"name": "g", "arguments": {}}',
    "mistral": "[TOOL_CALLS]f[CALL_ID]abc123DEF[ARGS]@ARGS[TOOL_CALLS]g{}",
    "deepseek_v3": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n"
    "```json\n@ARGS\n```"
    "<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>g\n```json\n{}\n```"
    "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    "deepseek_v31": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>@ARGS"
    "<｜tool▁call▁end｜>"
    "<｜tool▁call▁begin｜>g<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    "kimi_k2": "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0"
    "<|tool_call_argument_begin|>@ARGS<|tool_call_end|><|tool_call_begin|>functions.g:1 "
    "<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>",
    "glm45": f"<tool_call>f\n{KV}</tool_call>\n<tool_call>g\n</tool_call>",
    "glm47": "<tool_call>f" + KV.replace(">\n<", "><") + "</tool_call><tool_call>g</tool_call>",
    "qwen3_coder": tags("<tool_call>\n<function=f>\n", "<parameter={}>\n", QWEN_END, "</function>")
    + "\n</tool_call>\n<tool_call>\n<function=g>\n</function>\n</tool_call>",
    "seed_oss": tags(
        "<seed:tool_call>\n<function=f>\n", "<parameter={}>", "</parameter>\n", "</function>"
    )
    + "\n</seed:tool_call>\n<seed:tool_call><function=g></function></seed:tool_call>",
    "minimax_m2": tags(
        '<minimax:tool_call>\n<invoke name="f">\n',
        '<parameter name="{}">',
        "</parameter>\n",
        "</invoke>\n",
    )
    + '<invoke name="g">\n</invoke>\n</minimax:tool_call>',
    "deepseek_v32": re.sub(
        r'name="(\w)" string="true"',
        lambda m: f'name="{m[1]}" string="{"true" if m[1] == "s" else "false"}"',
        tags(
            '<｜DSML｜function_calls>\n<｜DSML｜invoke name="f">\n',
            '<｜DSML｜parameter name="{}" string="true">',
            "</｜DSML｜parameter>\n",
            "</｜DSML｜invoke>\n",
        ),
    )
    + '<｜DSML｜invoke name="g">\n</｜DSML｜invoke>\n</｜DSML｜function_calls>',
    "step3": "<｜tool_calls_begin｜><｜tool_call_begin｜>function<｜tool_sep｜>"
    + tags(
        '<steptml:invoke name="f">',
        '<steptml:parameter name="{}">',
        "</steptml:parameter>",
        "</steptml:invoke>",
    )
    + "<｜tool_call_end｜><｜tool_call_begin｜>function<｜tool_sep｜>"
    '<steptml:invoke name="g"></steptml:invoke><｜tool_call_end｜><｜tool_calls_end｜>',
    "pythonic": PY,
    "llama4_pythonic": f"<|python_start|>{PY}<|python_end|>",
    "olmo3": f"<function_calls>\n{PY[1:-1].replace(', g()', chr(10) + 'g()')}\n</function_calls>",
    "lfm2": f"<|tool_call_start|>{PY}<|tool_call_end|>",
    "gemma4": gemma("<|tool_call>", "<tool_call|>", '<|"|>'),
    "functiongemma": gemma("<start_function_call>", "<end_function_call>", "<escape>"),
    "openai": "<|channel|>commentary to=functions.f <|constrain|>json<|message|>@ARGS<|call|>"
    "<|start|>assistant to=functions.g<|channel|>commentary json<|message|>{}<|call|>",
}
RICH = {name: text.replace("@ARGS", JSON) for name, text in _TEXTS.items()}
RICH["deepseek_v4"] = RICH["deepseek_v32"].replace("function_calls", "tool_calls")
RICH_TOOLS = (TYPED, ToolSpec(name="g"))
