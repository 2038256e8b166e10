"""What a row of the table of reasoning formats is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from api.parsers.events import OutputParser
from api.parsers.reasoning.tags import Tags, tagged
from api.parsers.script import Script, ScriptedParser


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReasoningFormat:
    """How a family of models marks its thoughts.

    Attributes:
        name: vLLM's name.
        models: which models write so, for people.
        start, end: the texts around the thoughts; `start` may be in the prompt already.
        other_starts, other_ends: variants of them.
        is_open_by_default: the model's answer begins within its thoughts, unless the prompt ended
            them; else it begins with `start`, if it thinks at all.
        ends_before: texts that end the thoughts as `end` does, and belong to what follows.
        around_answer: texts around the content, if the format has them.
        answer_begin: after which text the content begins, if that is not `end`.
        special: special tokens within `start` and `end`, where these are not tokens themselves.
        script: another state machine than that of marked thoughts; told whether the thoughts are
            open at the start.
        model_types, template_marks: as in `ToolFormat`.
    """

    name: str
    models: str
    start: str
    end: str
    other_starts: tuple[str, ...] = ()
    other_ends: tuple[str, ...] = ()
    is_open_by_default: bool = False
    ends_before: tuple[str, ...] = ()
    around_answer: tuple[str, str] | None = None
    answer_begin: str = ""
    special: tuple[str, ...] = ()
    script: Callable[[bool], Script] | None = None
    model_types: frozenset[str] = frozenset()
    template_marks: tuple[tuple[str, ...], ...] = ()

    @property
    def markers(self) -> tuple[str, ...]:
        """Texts the parser looks for; they must stay although special tokens are skipped."""
        around = self.around_answer or ()
        return (self.start, self.end, *self.ends_before, *around, *self.special)

    @property
    def answer_begins_after(self) -> str:
        """The text after which content begins, and a grammar of the content with it."""
        return self.answer_begin or self.end

    def is_open_at_start(self, prompt_text: str, *, is_continued: bool = False) -> bool:
        """Whether the answer begins within the thoughts.

        Arguments:
            prompt_text: the rendered prompt, or its end.
            is_continued: the prompt ends within the assistant's message, which `prompt_text` is.
        """
        if is_continued:
            return prompt_text.rfind(self.start) > prompt_text.rfind(self.end)
        tail = prompt_text.rstrip()
        if tail.endswith(self.start):
            return True
        return self.is_open_by_default and not tail.endswith(self.end)

    def make_parser(self, *, is_open: bool) -> OutputParser:
        """A parser of one sequence. Arguments: is_open: what `is_open_at_start` said."""
        if self.script is not None:
            return ScriptedParser(self.script(is_open))
        tags = Tags(
            starts=(self.start, *self.other_starts),
            ends=(self.end, *self.other_ends),
            ends_before=self.ends_before,
            around_answer=self.around_answer,
        )
        return ScriptedParser(tagged(tags, is_open=is_open))

    def is_native_for(self, model_type: str | None, chat_template: str | None) -> bool:
        """Whether a model with this config and chat template thinks so."""
        return self.is_in_template(chat_template) or model_type in self.model_types

    def is_in_template(self, chat_template: str | None) -> bool:
        """Whether the chat template shows this format."""
        text = chat_template or ""
        return any(all(mark in text for mark in group) for group in self.template_marks)
