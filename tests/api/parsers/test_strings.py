"""What strict strings are held to in formats that write them as they are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.parsers.loosening import FORMATS as KNOWN
from api.parsers.tool_spec import ToolSpec
from api.parsers.tools import TOOL_PARSERS
from api.parsers.tools.strings import FORMATS
from tests.api.parsers.vocabulary import vocabulary

WORDS = vocabulary(())
CODER, HERMES = TOOL_PARSERS["qwen3_coder"], TOOL_PARSERS["hermes"]
Q = {"type": "string", "enum": ["q"]}


def admits(schema: Any, said: str, *, is_json: bool = False) -> bool:
    """Whether a call may say this of its one argument."""
    parameters = {
        "type": "object", "properties": {"a": schema}, "required": ["a"],
        "additionalProperties": False,
        "$defs": {"q": Q, "short": {"type": "string", "maxLength": 2}},
    }  # fmt: skip
    tool = ToolSpec(name="f", parameters=parameters)
    call = (
        f"<tool_call>\n<function=f>\n<parameter=a>\n{said}\n</parameter>\n</function>\n</tool_call>"
    )
    row = CODER
    if is_json:
        row = HERMES
        call = f'<tool_call>\n{{"name": "f", "arguments": {json.dumps({"a": said})}}}\n</tool_call>'
    return WORDS.admits(row.grammar([tool]), call)


@pytest.mark.parametrize(
    ("schema", "said", "never_said"),
    [
        ({"allOf": [Q]}, ["q"], ["x", ""]),
        ({"allOf": [{"$ref": "#/$defs/q"}], "description": "d", "default": "q"}, ["q"], ["x"]),
        ({"$ref": "#/$defs/short", "pattern": "^a"}, ["ab", "a"], ["abc", "b"]),
        ({"type": "string", "pattern": "a", "maxLength": 3}, ["xay", "a"], ["xyz", "xxxa"]),
        ({"type": "string", "pattern": "^[0-9-]+$", "format": "date"}, ["2026-01-31"],
         ["2026-01-32", "1", "--"]),
        ({"type": "string", "enum": ["a", 1, "long"], "maxLength": 2}, ["a"], ["1", "long"]),
        ({"type": "string", "anyOf": [{"maxLength": 1}, {"const": "long"}]}, ["x", "long"], ["xy"]),
        ({"maxLength": 3, "anyOf": [{"type": "string"}, {"type": "null"}]}, ["abc", "null"],
         ["abcde"]),
        ({"oneOf": [Q, {"type": "boolean"}]}, ["q", "true"], ["x"]),
        ({"type": "string", "minLength": 20}, ["x" * 20], ["x", "</parameter>" + "x" * 20]),
        ({"$ref": "#/$defs/short"}, ["ab"], ["abc"]),
    ],
)  # fmt: skip
def test_all_that_a_schema_says_of_a_string_holds(
    schema: Any, said: list[str], never_said: list[str]
) -> None:
    assert [text for text in said if not admits(schema, text)] == []
    assert [text for text in never_said if admits(schema, text)] == []


SAMPLES = {
    "date": (["2026-11-28", "2024-02-29"], ["2026-02-30", "26-11-28", "2026-11-28 "]),
    "time": (["12:30:59Z", "00:00:60.5+01:00"], ["24:00:00Z", "12:30Z"]),
    "date-time": (["2026-11-28T12:30:00Z"], ["2026-11-28", "2026-11-28 12:30:00Z"]),
    "duration": (["P1Y2M3DT4H5M6S", "P2W", "PT3M", "P1D"], ["P", "1D", "PT", "P1D2W"]),
    "email": (["a.b+c@x.org"], ["a@", "a b@x.org", ".a@x.org"]),
    "hostname": (["x", "a-b.example"], ["-a", "a..b", ""]),
    "ipv4": (["255.0.10.1"], ["256.0.0.1", "1.2.3"]),
    "ipv6": (
        ["1:2:3:4:5:6:7:8", "::1", "fe80::1", "::", "fe80::", "1:2::7:8"],
        ["1:2:3", "g::1", "1::2::3"],
    ),
    "uuid": (["123e4567-e89b-12d3-a456-426614174000"], ["123e4567e89b12d3a456426614174000"]),
    "uri": (["https://x.org/a?b=c#d", "mailto:a@x.org", "urn:x:y"], ["x.org", "://x", "a:b c"]),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("is_json", [False, True], ids=["text", "json"])
def test_a_format_means_the_same_as_text_and_as_json(name: str, is_json: bool) -> None:
    good, bad = SAMPLES[name]
    schema = {"type": "string", "format": name}
    assert [text for text in good if not admits(schema, text, is_json=is_json)] == []
    assert [text for text in bad if admits(schema, text, is_json=is_json)] == []


def test_every_format_that_json_knows_is_known_to_texts() -> None:
    assert {*FORMATS, "unknown"} == KNOWN
