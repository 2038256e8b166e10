"""Calls in nested special tokens, each with its name and bare JSON arguments.

Sources: the chat templates of DeepSeek-V3, DeepSeek-V3.1 and Kimi-K2.
"""

from __future__ import annotations

import dataclasses
import re

from api.parsers.answer import Answer
from api.parsers.json_text import json_value
from api.parsers.reader import Mismatch, Reader, Waiting
from api.parsers.script import Script, calls_after
from api.parsers.tool_spec import ToolSpec
from api.parsers.tools.format import ToolFormat
from api.parsers.tools.grammar import CallGrammar, GrammarWriter

_NAME = re.compile(r"[\w.:/\-]*")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sections:
    """The texts of one such format.

    Attributes:
        before_name: between a call's opening and its name.
        after_name: between the name and the arguments.
        names_calls: what stands for the name is the call's id, `functions.NAME:INDEX`.
    """

    begin: str
    end: str
    call: str
    call_end: str
    before_name: str = ""
    after_name: str
    names_calls: bool = False

    def script(self) -> Script:
        """The state machine."""
        return calls_after([self.begin, self.call], [self.call_end, self.end], self._read)

    def _read(self, reader: Reader, answer: Answer, marker: str) -> Waiting[None]:
        if marker == self.begin:
            yield from reader.spaces()
            yield from reader.expect(self.call)
        if self.before_name:
            yield from reader.expect(self.before_name)
        yield from reader.spaces()
        word = yield from reader.run(_NAME)
        yield from reader.spaces()
        # layout around the marker varies, the marker does not
        yield from reader.expect(self.after_name.strip())
        yield from reader.spaces()
        name = _named(word) if self.names_calls else word
        if not name:
            raise Mismatch
        answer.start_call(name, word if self.names_calls else None)
        reader.commit()
        yield from json_value(reader, answer.arguments)
        if "```" in self.after_name:
            yield from reader.spaces()
            yield from reader.expect("```")

    def grammar(self) -> CallGrammar:
        """The same as a grammar."""
        fence = "\n```" if "```" in self.after_name else ""
        return CallGrammar(
            trigger=self.begin,
            begin=self.begin,
            open=self.call + self.before_name,
            call=self._written,
            close=fence + self.call_end,
            between="\n" if fence else "",
            end=self.end,
        )

    def _written(self, writer: GrammarWriter, tool: ToolSpec) -> str:
        after = writer.literal(self.after_name)
        name = writer.literal(tool.name)
        if self.names_calls:
            name = f"{writer.literal(f'functions.{tool.name}:')} /[0-9]{{1,3}}/"
        return f"{name} {after} {writer.json_arguments(tool)}"


def _named(call_id: str) -> str:
    return call_id.rsplit(":", 1)[0].removeprefix("functions.")


_V3 = Sections(
    begin="<｜tool▁calls▁begin｜>",
    end="<｜tool▁calls▁end｜>",
    call="<｜tool▁call▁begin｜>",
    call_end="<｜tool▁call▁end｜>",
    before_name="function<｜tool▁sep｜>",
    after_name="\n```json\n",
)
_V31 = dataclasses.replace(_V3, before_name="", after_name="<｜tool▁sep｜>")
_KIMI = Sections(
    begin="<|tool_calls_section_begin|>",
    end="<|tool_calls_section_end|>",
    call="<|tool_call_begin|>",
    call_end="<|tool_call_end|>",
    after_name="<|tool_call_argument_begin|>",
    names_calls=True,
)
_DEEPSEEK_MARKERS = (_V3.begin, _V3.end, _V3.call, _V3.call_end, "<｜tool▁sep｜>")

DEEPSEEK_V3 = ToolFormat(
    name="deepseek_v3",
    models="DeepSeek-V3-0324, DeepSeek-R1-0528",
    sample="<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n"
    '```json\n{"city": "Paris"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
    script=lambda tools: _V3.script(),
    call_grammar=_V3.grammar(),
    markers=_DEEPSEEK_MARKERS,
    partner="deepseek_r1",
    model_types=frozenset({"deepseek_v3"}),
    template_marks=(("<｜tool▁call▁begin｜>", "```json"),),
)

DEEPSEEK_V31 = ToolFormat(
    name="deepseek_v31",
    models="DeepSeek-V3.1",
    sample="<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>"
    '{"city": "Paris"}<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
    script=lambda tools: _V31.script(),
    call_grammar=_V31.grammar(),
    markers=_DEEPSEEK_MARKERS,
    partner="deepseek_v3",
    template_marks=(("<｜tool▁call▁begin｜>",),),
)

KIMI_K2 = ToolFormat(
    name="kimi_k2",
    models="Kimi-K2, Kimi-K2-Thinking",
    sample="<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0"
    '<|tool_call_argument_begin|>{"city": "Paris"}<|tool_call_end|><|tool_calls_section_end|>',
    script=lambda tools: _KIMI.script(),
    call_grammar=_KIMI.grammar(),
    markers=(_KIMI.begin, _KIMI.end, _KIMI.call, _KIMI.call_end, _KIMI.after_name),
    partner="kimi_k2",
    model_types=frozenset({"kimi_k2", "kimi_k25"}),
    template_marks=(("<|tool_call_argument_begin|>",),),
)
