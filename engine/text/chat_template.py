"""Chat templates: messages to the text of a prompt, as transformers' `apply_chat_template` does.

The template is the operator's, the values in it are the client's. Values are data only: they
cannot take the place of the names a template gets from us (`RESERVED_NAMES`), and whatever a
template does with them ends within the sandbox's budget.
"""

from __future__ import annotations

import copy
import datetime
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jinja2
from jinja2 import meta, nodes

from engine.text.template_sandbox import (
    MAX_CHARACTERS,
    BoundedEnvironment,
    Budget,
    TemplateError,
    with_budget,
)

__all__ = ["RESERVED_NAMES", "ChatTemplate", "ContentFormat", "TemplateError"]

ContentFormat = Literal["string", "openai"]
Message = dict[str, Any]

RESERVED_NAMES = frozenset(
    {
        "messages",
        "tools",
        "documents",
        "add_generation_prompt",
        "continue_final_message",
        "chat_template",
        "tokenize",
        "return_dict",
        "return_tensors",
        "raise_exception",
        "strftime_now",
    }
)

MAX_TEMPLATE_CHARACTERS = 1024 * 1024

# Appended to the message to be continued and cut off again with all that follows it. Templates
# that strip messages take its last space away, which is how that is noticed.
_CONTINUE_TAG = "\ue000CONTINUE_FINAL_MESSAGE\ue001 "


class ChatTemplate:
    """One compiled template.

    Arguments:
        source: the Jinja text.
        special_tokens: `bos_token`, `eos_token` and the like, by name.

    Attributes:
        content_format: `openai` when the template goes through content parts itself, `string`
            when it wants each message's content as one text.
        takes_text: content may be one text; false only where `openai` is the sole format.
        source: the Jinja text.
        variables: every name the template reads from outside.
        knows_developer: the template handles the role `developer` itself.

    Raises:
        TemplateError: the source is too long or is not a template.
    """

    def __init__(self, source: str, special_tokens: Mapping[str, str] | None = None) -> None:
        self.source = source
        if len(source) > MAX_TEMPLATE_CHARACTERS:
            raise TemplateError("The chat template is too long.")
        environment = BoundedEnvironment()
        environment.filters["tojson"] = _tojson
        outside: dict[str, Any] = {"raise_exception": _raise, "strftime_now": _strftime_now}
        environment.globals.update(outside)
        self._special_tokens = dict(special_tokens or {})
        try:
            tree = environment.parse(source)
            self._template = environment.from_string(source)
        except (jinja2.TemplateError, RecursionError) as error:
            raise TemplateError(f"The chat template cannot be read: {error}") from error
        self.variables = frozenset(meta.find_undeclared_variables(tree))
        tests = {test.name for test in tree.find_all(nodes.Test)}
        self.takes_text = _content_format(tree) == "string" or "string" in tests
        self.knows_developer = "developer" in source
        self.content_format: ContentFormat = _content_format(tree)

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[dict[str, Any]] | None = None,
        documents: Sequence[dict[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        variables: Mapping[str, Any] | None = None,
        max_seconds: float = 5.0,
    ) -> str:
        """The prompt's text.

        Arguments:
            messages: each with `role` and, as `content_format` asks, text or parts as `content`.
            variables: the client's `chat_template_kwargs`.

        Raises:
            TemplateError: the template refuses the messages, fails, or exceeds its budget.
        """
        reserved = RESERVED_NAMES & set(variables or ())
        if reserved:
            raise TemplateError(f"'{min(reserved)}' cannot be set through template variables.")
        chat = _with_tag(messages) if continue_final_message else list(messages)
        values = {
            **self._special_tokens,
            **(variables or {}),
            "messages": chat,
            "tools": list(tools) if tools else None,
            "documents": list(documents) if documents else None,
            "add_generation_prompt": add_generation_prompt,
        }
        text = with_budget(lambda: self._render(values), Budget(max_seconds=max_seconds))
        return _cut_at_tag(text) if continue_final_message else text

    def _render(self, values: dict[str, Any]) -> str:
        pieces: list[str] = []
        length = 0
        try:
            for piece in self._template.generate(values):
                pieces.append(piece)
                length += len(piece)
                if length > MAX_CHARACTERS:
                    raise TemplateError("The chat template makes text that is too long.")
        except TemplateError:
            raise
        except jinja2.TemplateError as error:
            raise TemplateError(str(error) or "The chat template failed.") from error
        except (MemoryError, RecursionError) as error:
            raise TemplateError("The chat template needs too much memory.") from error
        except Exception as error:
            # Any other exception is the template's own bug with these messages.
            raise TemplateError(f"The chat template failed: {type(error).__name__}.") from error
        return "".join(pieces)


def _raise(message: object) -> None:
    raise jinja2.TemplateError(str(message)[:1000])


def _strftime_now(pattern: str) -> str:
    return datetime.datetime.now().strftime(pattern)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: Sequence[str] | None = None,
    sort_keys: bool = False,
) -> str:
    """As transformers': no HTML escaping, characters kept."""
    if indent is not None and indent > 16:
        raise jinja2.TemplateError("tojson's indent is too large.")
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=(separators[0], separators[1]) if separators else None,
        sort_keys=sort_keys,
    )


def _with_tag(messages: Sequence[Message]) -> list[Message]:
    if not messages:
        raise TemplateError("There is no final message to continue.")
    final = copy.deepcopy(messages[-1])
    content = final.get("content")
    if isinstance(content, str):
        final["content"] = content + _CONTINUE_TAG
    elif isinstance(content, list) and content and "text" in content[-1]:
        content[-1]["text"] = str(content[-1]["text"]) + _CONTINUE_TAG  # pyright: ignore[reportUnknownArgumentType]
    else:
        raise TemplateError("The final message has no text to continue.")
    return [*messages[:-1], final]


def _cut_at_tag(text: str) -> str:
    position = text.rfind(_CONTINUE_TAG.strip())
    if position < 0:
        raise TemplateError("The chat template does not show the final message as it is.")
    is_stripped = not text.startswith(_CONTINUE_TAG, position)
    return text[:position].rstrip() if is_stripped else text[:position]


def _content_format(tree: nodes.Template) -> ContentFormat:
    """`openai` if some loop goes through a `content`, directly or by a name assigned from one."""
    aliases = {
        assign.target.name
        for assign in tree.find_all(nodes.Assign)
        if isinstance(assign.target, nodes.Name) and _is_content(assign.node, frozenset())
    }
    loops = tree.find_all(nodes.For)
    return "openai" if any(_is_content(loop.iter, aliases) for loop in loops) else "string"


def _is_content(node: nodes.Node | None, aliases: frozenset[str] | set[str]) -> bool:
    while isinstance(node, nodes.Filter | nodes.Test):
        node = node.node
    if isinstance(node, nodes.Getattr):
        return node.attr == "content"
    if isinstance(node, nodes.Getitem):
        return isinstance(node.arg, nodes.Const) and node.arg.value == "content"
    return isinstance(node, nodes.Name) and node.name in aliases
