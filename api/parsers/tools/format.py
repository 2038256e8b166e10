"""What a row of the table of tool formats is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from api.parsers.events import OutputParser
from api.parsers.script import Script, ScriptedParser
from api.parsers.tool_spec import ToolSpec
from api.parsers.tools.grammar import CallGrammar, write_grammar


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToolFormat:
    """How a family of models writes calls.

    Attributes:
        name: vLLM's name.
        models: which models write so, for people.
        sample: one call of `get_weather(city="Paris")`, for people and tests.
        script: makes the state machine for the declared tools.
        call_grammar: what the grammar is made of.
        markers: texts the parser looks for; where the tokenizer has one as a special token, its
            text must stay in the output although special tokens are skipped.
        partner: the name of the reasoning parser that goes with it, if any.
        reads_reasoning: the parser tells the reasoning itself; no reasoning parser goes before it.
        model_types: `model_type` values of configs whose models write so.
        template_marks: texts that a chat template of these models has, all of one group.
    """

    name: str
    models: str
    sample: str
    script: Callable[[Sequence[ToolSpec]], Script]
    call_grammar: CallGrammar
    markers: tuple[str, ...] = ()
    partner: str | None = None
    reads_reasoning: bool = False
    model_types: frozenset[str] = frozenset()
    template_marks: tuple[tuple[str, ...], ...] = ()

    @property
    def needs_special_tokens(self) -> bool:
        """Whether `markers` may be special tokens, which must not be skipped then."""
        return bool(self.markers)

    def make_parser(self, tools: Sequence[ToolSpec]) -> OutputParser:
        """A parser of one sequence."""
        return ScriptedParser(self.script(tools))

    def grammar(
        self,
        tools: Sequence[ToolSpec],
        *,
        names: Sequence[str] | None = None,
        at_least_one: bool = True,
        parallel: bool = True,
        special_tokens: Mapping[str, int] | None = None,
    ) -> str:
        """A grammar for llguidance that has the model write valid calls in its own format.

        Arguments:
            names: only these tools may be called; None: all.
            at_least_one: the answer is calls and nothing else; else it is text, and calls in it
                are valid.
            parallel: more than one call is allowed.
            special_tokens: text → id of the tokenizer's special tokens.

        Raises:
            InvalidParameterError: the format cannot carry such a tool; says which and why.
        """
        chosen = [tool for tool in tools if names is None or tool.name in names]
        return write_grammar(
            self.name,
            self.call_grammar,
            chosen,
            at_least_one=at_least_one,
            parallel=parallel,
            special_tokens=special_tokens or {},
        )

    def is_native_for(self, model_type: str | None, chat_template: str | None) -> bool:
        """Whether a model with this config and chat template writes its calls so."""
        return self.is_in_template(chat_template) or model_type in self.model_types

    def is_in_template(self, chat_template: str | None) -> bool:
        """Whether the chat template shows this format."""
        text = chat_template or ""
        return any(all(mark in text for mark in group) for group in self.template_marks)
