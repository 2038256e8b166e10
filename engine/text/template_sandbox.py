"""A jinja2 environment that ends every template within a budget of steps, seconds and memory.

jinja2's sandbox stops attribute access, not work: `{% for %}` over `range` inside `range`, macros
that call themselves, `'x' * 10**10`. Here the syntax tree is rewritten when a template is parsed,
so that each loop draws its items through `_bounded` and each `~` through `_concatenate`; calls,
filters and operators pass through the sandbox's own hooks. All count against one `Budget`, found
through a context variable, because a render runs from start to end in one thread.
"""

from __future__ import annotations

import contextvars
import functools
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from jinja2 import nodes, pass_eval_context
from jinja2.ext import Extension, loopcontrols
from jinja2.filters import do_join
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from engine.errors import EngineError

MAX_STEPS = 1_000_000
MAX_SECONDS = 5.0
MAX_CHARACTERS = 16 * 1024 * 1024
MAX_NUMBER = 1_000_000
"""Largest whole number given to a filter or method, and largest factor of a repetition."""


class TemplateError(EngineError):
    """A template could not be rendered; `str(error)` is fit for the client."""


class Budget:
    """What one render may still use."""

    def __init__(self, max_steps: int = MAX_STEPS, max_seconds: float = MAX_SECONDS) -> None:
        self._steps_left = max_steps
        self._deadline_s = time.monotonic() + max_seconds

    def spend(self) -> None:
        """Count one loop turn, call or filter.

        Raises:
            TemplateError: none is left, or the time is over.
        """
        self._steps_left -= 1
        if self._steps_left < 0 or time.monotonic() > self._deadline_s:
            raise TemplateError("The chat template takes too long to render.")


_BUDGET: contextvars.ContextVar[Budget] = contextvars.ContextVar("template_budget")


def with_budget(render: Callable[[], str], budget: Budget) -> str:
    """Call `render` with `budget` in force."""
    token = _BUDGET.set(budget)
    try:
        return render()
    finally:
        _BUDGET.reset(token)


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """The sandbox in which chat templates are compiled, with transformers' settings."""

    intercepted_binops = frozenset(["*", "**", "%", "+"])

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, loopcontrols]
        )
        self.globals.pop("lipsum", None)
        self.filters = {name: _checked(function) for name, function in self.filters.items()}
        self.filters |= {"join": _checked(_join)} | {
            "_bounded": _bounded,
            "_concatenate": _concatenate,
        }

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for loop in list(tree.find_all(nodes.For)):
            loop.iter = _filtered(loop.iter, "_bounded")
        _replace_concatenations(tree)
        return tree

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: D102
        _BUDGET.get().spend()
        _verify_arguments(getattr(obj, "__self__", None), obj, args, kwargs)
        return _verify_size(super().call(context, obj, *args, **kwargs))  # pyright: ignore[reportArgumentType]

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:  # noqa: D102
        if isinstance(getattr(value, "__self__", None), str):
            _verify_length(_formatted_length(value.__self__, []))
        return super().wrap_str_format(value)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: D102
        if operator in ("*", "**"):
            _verify_product(operator, left, right)
        if operator == "%" and isinstance(left, str):
            _verify_length(_formatted_length(left, []))
        return _verify_size(super().call_binop(context, operator, left, right))


class GenerationTag(Extension):
    """``{% generation %}…{% endgeneration %}``: marks what the model writes; here just its body."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The nodes between the tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _filtered(expression: nodes.Node, name: str) -> nodes.Filter:
    subject = cast(nodes.Expr, expression)
    wrapped = nodes.Filter(subject, name, [], [], None, None, lineno=expression.lineno)
    return wrapped.set_environment(expression.environment)  # pyright: ignore[reportReturnType, reportArgumentType]


def _replace_concatenations(node: nodes.Node) -> None:
    """Turn every `a ~ b ~ c` under `node` into `[a, b, c]|_concatenate`."""
    for field, value in node.iter_fields():
        if isinstance(value, list):
            setattr(node, field, [_without_concatenation(item) for item in value])
        else:
            setattr(node, field, _without_concatenation(value))


def _without_concatenation(value: Any) -> Any:
    if not isinstance(value, nodes.Node):
        return value
    _replace_concatenations(value)
    if not isinstance(value, nodes.Concat):
        return value
    parts = nodes.List(value.nodes, lineno=value.lineno)
    parts.set_environment(value.environment)  # pyright: ignore[reportArgumentType]
    return _filtered(parts, "_concatenate")


def _bounded(items: Iterable[Any]) -> Iterator[Any]:
    budget = _BUDGET.get()
    for item in items:
        budget.spend()
        yield item


def _concatenate(parts: list[Any]) -> str:
    return _verify_size("".join(map(str, parts)))


def _checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that spends budget and cannot make large text."""

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        _BUDGET.get().spend()
        position = 1 if hasattr(function, "jinja_pass_arg") else 0
        subject = args[position] if len(args) > position else None
        _verify_arguments(subject, function, args, kwargs)
        return _verify_size(function(*args, **kwargs))

    return checked


def _verify_arguments(subject: Any, function: Any, args: tuple[Any, ...], kwargs: Any) -> None:
    """Refuse what would make a huge text in one step, before it is made."""
    values = [value for value in (*args, *kwargs.values()) if value is not subject]
    for value in values:
        if isinstance(value, int) and abs(value) > MAX_NUMBER:
            raise TemplateError("The chat template uses a number that is too large.")
    estimate = _ESTIMATES.get(getattr(function, "__name__", ""))
    if estimate is not None and isinstance(subject, str):
        _verify_length(len(subject) + estimate(subject, values))


def _replaced_length(subject: str, values: list[Any]) -> int:
    texts = [value for value in values if isinstance(value, str)]
    return subject.count(texts[0]) * len(texts[1]) if len(texts) > 1 else 0


def _indented_length(subject: str, values: list[Any]) -> int:
    widths = [len(v) if isinstance(v, str) else int(v) for v in values if isinstance(v, str | int)]
    return (subject.count("\n") + 1) * max(widths, default=4)


def _joined_length(subject: str, values: list[Any]) -> int:
    return sum(len(subject) * len(value) for value in values if isinstance(value, list | tuple))


def _formatted_length(subject: str, values: list[Any]) -> int:
    """Widths of up to four digits count as 10 000 characters each, longer ones are refused."""
    if re.search(r"\d{5}", subject):
        raise TemplateError("The chat template uses a number that is too large.")
    is_padded = re.search(r"\d{3}", subject) is not None or "*" in subject or "{}}" in subject
    return 10_000 * (subject.count("%") + subject.count("{")) if is_padded else 0


_ESTIMATES: dict[str, Callable[[str, list[Any]], int]] = {
    "replace": _replaced_length,
    "do_replace": _replaced_length,
    "do_indent": _indented_length,
    "join": _joined_length,
    "format": _formatted_length,
    "format_map": _formatted_length,
    "do_format": _formatted_length,
}
"""Method or filter → an upper bound of the text it adds to its subject."""


@pass_eval_context
def _join(context: nodes.EvalContext, value: Iterable[Any], d: str = "", *args: Any) -> str:
    """jinja2's join, its length known before it works."""
    items = list(value)
    _verify_length(len(items) * len(d))
    return cast(str, do_join(context, items, d, *args))


def _verify_product(operator: str, left: Any, right: Any) -> None:
    if operator == "**":
        if max(abs(left), abs(right)) > 64:
            raise TemplateError("The chat template uses a number that is too large.")
        return
    for sized, factor in ((left, right), (right, left)):
        if isinstance(sized, str | list | tuple) and isinstance(factor, int):
            _verify_length(len(sized) * factor)  # pyright: ignore[reportUnknownArgumentType]


def _verify_size(value: Any) -> Any:
    if isinstance(value, str | list | tuple):
        _verify_length(len(value))  # pyright: ignore[reportUnknownArgumentType]
    elif isinstance(value, int) and value.bit_length() > 1024:
        raise TemplateError("The chat template uses a number that is too large.")
    return value


def _verify_length(length: int) -> None:
    if length > MAX_CHARACTERS:
        raise TemplateError("The chat template makes text that is too long.")
