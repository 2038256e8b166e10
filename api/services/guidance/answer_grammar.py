"""One grammar for all that an answer is held to: its calls, its format, after its thoughts.

    start: thoughts? (calls | format)

Pure: nothing is compiled here.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from api.model.formats import ModelFormats
from api.parsers.tool_spec import ToolSpec
from api.services.guidance.structured import Wanted, make_grammar
from api.services.guidance.tool_plan import ToolPlan
from engine.grammar.vocabulary import Vocabulary
from engine.request import Grammar

RESPONSE_FORMAT = "response_format"
_CALLS, _FORMAT = "calls", "format"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Enforced:
    """What a request's answers are held to.

    Attributes:
        wanted: the format of an answer that calls nothing; None: any text.
        may_think: the model may open thoughts itself, between two marks; never where it was not
            told to think, as thoughts could come just because the format forbids what it would say.
    """

    formats: ModelFormats
    plan: ToolPlan
    wanted: Wanted | None
    may_think: bool

    @property
    def holds_calls(self) -> bool:
        """Whether calls are part of the grammar.

        OpenAI's `response_format` is about answers that call nothing; vLLM's fields about all of
        the text.
        """
        plan = self.plan
        if plan.mode == "none":
            return False
        is_beside_calls = self.wanted is not None and self.wanted.param.startswith(RESPONSE_FORMAT)
        return plan.is_forced or plan.is_restricted or plan.has_strict or is_beside_calls

    @property
    def param(self) -> str:
        """The field that errors name."""
        return self.plan.source if self.wanted is None else self.wanted.param


def combined(enforced: Enforced, specs: Sequence[ToolSpec], vocabulary: Vocabulary) -> Grammar:
    """Calls, the format, or either; after thoughts that the model may open.

    Raises:
        InvalidParameterError: one of them cannot be written as a grammar.
    """
    special = vocabulary.special_ids
    sources = _sources(enforced, specs, special)
    thoughts = _thoughts(enforced, special)
    if len(sources) == 1 and not thoughts:
        return Grammar(source=next(iter(sources.values())), param=enforced.param)
    either = " | ".join(f"@{name}" for name in sources)
    start = f"start: thoughts? ({either})" if thoughts else f"start: {either}"
    lark = "\n".join(filter(None, ["%llguidance {}", start, thoughts]))
    parts = [part for name, source in sources.items() for part in _parts(name, source)]
    grammars = [{"name": "answer", "lark_grammar": lark}, *parts]
    return Grammar(source=json.dumps({"grammars": grammars}), param=enforced.param)


def _sources(
    enforced: Enforced, specs: Sequence[ToolSpec], special: Mapping[str, int]
) -> dict[str, str]:
    sources: dict[str, str] = {}
    form, plan = enforced.formats.tools, enforced.plan
    if form is not None and enforced.holds_calls:
        sources[_CALLS] = form.grammar(
            specs,
            at_least_one=plan.is_forced or enforced.wanted is not None,
            parallel=plan.is_parallel and plan.mode != "named",
            special_tokens=special,
        )
    if enforced.wanted is not None:
        sources[_FORMAT] = make_grammar(enforced.wanted, special).source
    return sources


def _thoughts(enforced: Enforced, special: Mapping[str, int]) -> str:
    """The rules of thoughts that the model may open; "" when it cannot."""
    reasoning = enforced.formats.reasoning
    if reasoning is None or not enforced.may_think:
        return ""
    # lazy: without a token of its own, the first text that reads like the end is the end
    attributes = "" if reasoning.end in special else "[lazy]"
    start, end = _literal(reasoning.start, special), _literal(reasoning.end, special)
    return f"thoughts: {start} thinking\nthinking{attributes}: /(.|\\n)*/ {end}"


def _literal(text: str, special: Mapping[str, int]) -> str:
    return f"<[{special[text]}]>" if text in special else json.dumps(text, ensure_ascii=False)


def _parts(name: str, source: str) -> list[dict[str, Any]]:
    """The grammars of a source, the first of them under a name of its own."""
    if not source.startswith('{"grammars"'):
        return [{"name": name, "lark_grammar": source}]
    first, *others = json.loads(source)["grammars"]
    return [{**first, "name": name}, *others]
