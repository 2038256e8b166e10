"""A model that thinks and calls, asked through the Responses API."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import msgspec
import orjson
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from api.model.formats import ModelFormats
from api.parsers.reasoning import REASONING_PARSERS
from api.parsers.tools import TOOL_PARSERS
from api.services.requests import Answer
from api.services.responses.conversation import conversations
from api.services.responses.exchange import Exchange
from api.services.responses.service import create_response

TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>"
    "{% if m.reasoning %}<think>{{ m.reasoning }}</think>{% endif %}{{ m.content or '' }}"
    "{% for c in m.tool_calls or [] %}{{ c.id }}{{ c.function | tojson }}{% endfor %}"
    "{% endfor %}{% if tools %}{{ tools | tojson }}{% endif %}"
    "{{ enable_thinking }}{{ reasoning_effort }}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
FORMATS = ModelFormats(tools=TOOL_PARSERS["hermes"], reasoning=REASONING_PARSERS["qwen3"])
EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


@dataclasses.dataclass
class Asker:
    """Asks one server; answers and events are read by the types of OpenAI's SDK."""

    speaker: Any
    storage: Any = None
    store: bool = False
    dialect: str = ""

    @property
    def exchange(self) -> Exchange:
        return Exchange(context=self.speaker.context, opened=self.storage, dialect=self.dialect)

    async def answer(self, body: dict[str, Any]) -> Answer:
        return await create_response(self.exchange, {"store": self.store} | body)

    async def ask(self, given: Any = "hi", **fields: Any) -> dict[str, Any]:
        return orjson.loads((await self.answer({"input": given, **fields})).body)

    async def read(self, given: Any = "hi", **fields: Any) -> Response:
        return Response.model_validate(await self.ask(given, **fields))

    async def stream(self, given: Any = "hi", **fields: Any) -> list[dict[str, Any]]:
        return await read_stream(await self.answer({"input": given, "stream": True, **fields}))

    def prompt(self, index: int = -1) -> tuple[int, ...]:
        """The token ids of a prompt that the engine got."""
        return self.speaker.engine.requests[index].prompt_token_ids


async def read_stream(answer: Answer) -> list[dict[str, Any]]:
    """The events of a stream that must end with `[DONE]`."""
    assert answer.events is not None
    text = b"".join([event async for event in answer.events]).decode()
    assert text.endswith("\n\ndata: [DONE]\n\n")
    found: list[dict[str, Any]] = []
    for lines in text.removesuffix("\n\ndata: [DONE]\n\n").split("\n\n"):
        name, data = lines.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert event["type"] == name.removeprefix("event: ")
        found.append(event)
    return found


def make_asker(speaking: Any, *texts: str, **options: Any) -> Asker:
    options = {"template": TEMPLATE, "formats": FORMATS} | options
    speaker = speaking(*texts, **options)
    speaker.engine.info = msgspec.structs.replace(speaker.engine.info, max_model_len=4096)
    speaker.engine.ends_with_eos = True
    return Asker(speaker)


@pytest.fixture
def asking(speaking: Any) -> Any:
    """Makes an `Asker`: `asking("what the model says", **settings)`."""

    def make(*texts: str, **options: Any) -> Asker:
        return make_asker(speaking, *texts, **options)

    return make


@pytest.fixture
def sdk_events() -> TypeAdapter[Any]:
    """The types of events of OpenAI's SDK."""
    return EVENTS


@pytest.fixture
def conversation() -> Any:
    """Makes an empty conversation; gives its id."""

    async def make(asker: Asker) -> str:
        return (await conversations.create(asker.exchange, {}))["id"]

    return make
