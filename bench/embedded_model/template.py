"""The chat template of the embedded model, rendered as transformers renders it."""

from __future__ import annotations

import functools
import json
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from bench.embedded_model.example import Example
from models.embedded import embedded_model_dir


def _tojson(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


@functools.cache
def _template() -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = _tojson
    return environment.from_string((embedded_model_dir() / "chat_template.jinja").read_text())


def prompt_of(example: Example) -> str:
    """The text that the model continues; plain for the `completion` skill's lone texts."""
    return _template().render(
        messages=example.messages,
        tools=list(example.tools),
        enable_thinking=example.enable_thinking,
        add_generation_prompt=True,
    )


def transcript_of(example: Example) -> str:
    """The prompt and the answer, with the end mark."""
    return _template().render(
        messages=[*example.messages, example.answer],
        tools=list(example.tools),
        enable_thinking=example.enable_thinking,
    )
