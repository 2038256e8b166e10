"""Chat templates: transformers' behaviour, within a budget."""

from __future__ import annotations

import time
from typing import Any

import jinja2
import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from engine.text import ChatTemplate, TemplateError

CHATML = """{%- for message in messages %}
    {{- '<|im_start|>' ~ message.role + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}"""

RICH = """{{ bos_token }}{% set ns = namespace(count=0) %}
{%- for m in messages %}{% set ns.count = ns.count + 1 %}
[{{ loop.index }}/{{ loop.length }}{{ '!' if loop.last }} {{ m.role | upper }}]
{%- if m.tool_calls %}{% for c in m.tool_calls %}{{ c.function.arguments | tojson }}{% endfor %}
{%- else %}{{ m.content | trim }}{% endif %}
{%- generation %}{% if loop.first %}first{% endif %}{% endgeneration %}
{%- if m.role == 'user' and not loop.last %}{% continue %}{% endif %}.
{%- endfor %}
{%- if tools %}{{ tools | map(attribute='name') | join(', ') }}{% endif %}
{%- macro twice(x) %}{{ x ~ x }}{% endmacro %}{{ twice('ab') }} {{ '%s-%d' % ('n', ns.count) }}"""

MESSAGES: list[dict[str, Any]] = [
    {"role": "user", "content": " <b>é</b> "},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"function": {"arguments": {"a": "é<"}}}],
    },
    {"role": "user", "content": "bye"},
]


@pytest.mark.parametrize(("source", "messages"), [(CHATML, MESSAGES[:1]), (RICH, MESSAGES)])
def test_text_is_what_transformers_renders(source: str, messages: list[dict[str, Any]]) -> None:
    tools = [{"name": "f"}, {"name": "g"}]
    wanted, _ = render_jinja_template(
        [messages], tools=tools, chat_template=source, add_generation_prompt=True, bos_token="<s>"
    )
    template = ChatTemplate(source, {"bos_token": "<s>"})
    assert template.render(messages, tools=tools) == wanted[0]


@pytest.mark.parametrize("content", ["The answer is", "ends in space "])
def test_a_final_message_is_continued_where_it_ends(content: str) -> None:
    chat = [{"role": "user", "content": "x"}, {"role": "assistant", "content": content}]
    text = ChatTemplate(CHATML).render(
        chat, add_generation_prompt=False, continue_final_message=True
    )
    assert text.endswith("<|im_start|>assistant\n" + content)


def test_the_content_format_follows_the_template() -> None:
    parts = "{% for m in messages %}{% for p in m['content'] %}{{ p.text }}{% endfor %}{% endfor %}"
    alias = "{% set c = messages[0].content %}{% for p in c %}{{ p.text }}{% endfor %}"
    assert ChatTemplate(CHATML).content_format == "string"
    assert ChatTemplate(parts).content_format == "openai"
    assert ChatTemplate(alias).content_format == "openai"


@pytest.mark.parametrize("name", ["messages", "tools", "add_generation_prompt"])
def test_variables_cannot_replace_what_the_server_gives(name: str) -> None:
    with pytest.raises(TemplateError, match=name):
        ChatTemplate(CHATML).render(MESSAGES[:1], variables={name: []})


BOMBS = {
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "repetition": "{{ 'a' * 10**10 }}",
    "doubling with ~": "{% set n = namespace(x='aa') %}{% for i in range(99) %}"
    "{% set n.x = n.x ~ n.x %}{% endfor %}",
    "doubling with +": "{% set n = namespace(x='aa') %}{% for i in range(99) %}"
    "{% set n.x = n.x + n.x %}{% endfor %}",
    "recursion": "{% macro f(n) %}{{ f(n - 1) }}{% endmacro %}{{ f(9) }}",
    "padding": "{{ 'a'.ljust(10**9) }}",
    "filter padding": "{{ 'a' | center(10**9) }}",
    "mapped filter": "{{ [1] | map('indent', 10**9) | list }}",
    "percent": "{{ '%1000000000d' % 1 }}",
    "many percents": "{{ ('%9999d' * 99999) % 1 }}",
    "format": "{{ '{:1000000000}'.format(1) }}",
    "replace": "{{ ('a' * 1000000).replace('a', 'b' * 1000000) }}",
    "join": "{{ range(99999) | map('string') | join('b' * 1000000) }}",
    "power": "{{ 9 ** 9 ** 9 ** 9 }}",
    "lipsum": "{{ lipsum(n=100000) }}",
    "output": "{% for i in range(99999) %}{{ messages[0].content * 9999 }}{% endfor %}",
    "underscore": "{{ ''.__class__.__mro__ }}",
    "mutation": "{{ messages.append(1) }}",
    "raise": "{{ raise_exception('no') }}",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_ends_as_an_error_in_little_time(name: str) -> None:
    began_s = time.process_time()
    with pytest.raises(TemplateError):
        ChatTemplate(BOMBS[name]).render(MESSAGES[:1])
    assert time.process_time() - began_s < 3


def test_a_slow_template_ends_at_its_deadline() -> None:
    source = (
        "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(40) }}"
    )
    began_s = time.process_time()
    with pytest.raises(TemplateError, match="too long"):
        ChatTemplate(source).render(MESSAGES[:1], max_seconds=0.1)
    assert time.process_time() - began_s < 2


def test_a_syntax_error_is_told() -> None:
    with pytest.raises(TemplateError, match="cannot be read") as caught:
        ChatTemplate("{% for %}")
    assert isinstance(caught.value.__cause__, jinja2.TemplateError)
