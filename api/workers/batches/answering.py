"""One line becomes one result, as the endpoint itself would have answered it.

success   {"id", "custom_id", "response": {"status_code": 200, "request_id", "body"},
           "error": null}                                                    output file
          and in "response" a "warning" where fields are unknown
refused   the same with another status and the error envelope as the body     error file
expired   "response": null, "error": {"code": "batch_expired", "message"}     error file
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import orjson

from api.batch_lines import BatchRequest, LineError, as_line, warned
from api.context import ServerContext
from api.errors import APIError, error_body, from_engine_error, server_error
from api.http.noted_fields import warning_of
from api.services.chat.service import create_chat_completion
from api.services.completions.service import create_completion
from api.services.requests import Answer
from api.services.responses.exchange import Exchange
from api.services.responses.once import respond_once
from api.storage.ids import derived_id, new_id
from api.storage.store import Storage
from api.workers.batches.reading import parse
from engine.errors import EngineError

RETRY_STATUSES = frozenset({429, 503})
"""The server is full, draining, or its engine is being restarted: the line has not had its turn."""
RETRY_S = 0.5
MAX_RETRY_S = 10.0
NO_USAGE = {"input": 0, "cached": 0, "output": 0, "reasoning": 0}

log = logging.getLogger("servax.jobs")


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of a line.

    Attributes:
        line: of the output or error file, with its line break.
        usage: tokens, by the names of `NO_USAGE`.
    """

    line_index: int
    is_success: bool
    line: bytes
    usage: Mapping[str, int]


class Answerer:
    """Calls the services as the routes do, for one tenant."""

    def __init__(
        self, context: ServerContext, storage: Storage, endpoint: str, batch_id: str
    ) -> None:
        self._context = context
        self._storage = storage
        self._batch_id = batch_id
        self._endpoint = endpoint
        self._call = _ENDPOINTS[endpoint]

    async def answer(self, line_index: int, line: bytes) -> Result:
        """The result of a line; waits as long as the server has no room for it."""
        request_id = f"req_{uuid.uuid4().hex}"
        try:
            request = await parse(
                line, self._endpoint, strict_fields=self._context.settings.strict_fields
            )
        except LineError as failure:
            return self._refused(line_index, failure.custom_id, request_id, failure.error)
        wait_s = RETRY_S
        while True:
            try:
                answer = await self._call(self, request, request_id, line_index)
            except (APIError, EngineError) as error:
                told = error if isinstance(error, APIError) else from_engine_error(error)
            except Exception:
                log.exception("a line of a batch failed")
                told = server_error()
            else:
                return _answered(line_index, request, request_id, answer)
            if told.status not in RETRY_STATUSES:
                return self._refused(line_index, request.custom_id, request_id, told)
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, MAX_RETRY_S)

    async def chat(self, request: BatchRequest, request_id: str, line_index: int) -> Answer:
        """As POST /v1/chat/completions."""
        return await create_chat_completion(self._context, request.body, request_id)

    async def complete(self, request: BatchRequest, request_id: str, line_index: int) -> Answer:
        """As POST /v1/completions."""
        return await create_completion(self._context, request.body, request_id)

    async def respond(self, request: BatchRequest, request_id: str, line_index: int) -> Answer:
        """As POST /v1/responses, once however often the line is run."""
        exchange = Exchange(context=self._context, opened=self._storage, request_id=request_id)
        response_id = derived_id("response", self._batch_id, line_index)
        return await respond_once(exchange, request.body, response_id)

    def _refused(self, line_index: int, custom_id: Any, request_id: str, error: APIError) -> Result:
        body = error_body(error, self._context.settings.error_format)
        response = {"status_code": error.status, "request_id": request_id, "body": body}
        return Result(line_index, False, _line(custom_id, response, None), NO_USAGE)


_ENDPOINTS: dict[str, Callable[[Answerer, BatchRequest, str, int], Awaitable[Answer]]] = {
    "/v1/chat/completions": Answerer.chat,
    "/v1/completions": Answerer.complete,
    "/v1/responses": Answerer.respond,
}


def expired_line(custom_id: Any) -> bytes:
    """Of a line that had no turn in time."""
    error = {
        "code": "batch_expired",
        "message": "This request could not be executed before the completion window expired.",
    }
    return _line(custom_id, None, error)


def _answered(line_index: int, request: BatchRequest, request_id: str, answer: Answer) -> Result:
    unknown = (*request.unknown, *answer.unknown_fields)
    response = {
        "status_code": 200,
        "request_id": request_id,
        "body": orjson.Fragment(answer.body),
    } | warned(warning_of(unknown) if unknown else None)
    usage = usage_of(orjson.loads(answer.body))
    return Result(line_index, True, _line(request.custom_id, response, None), usage)


def usage_of(body: dict[str, Any]) -> dict[str, int]:
    """Tokens of an answer of any endpoint."""
    usage: dict[str, Any] = body.get("usage") or {}
    inputs = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    outputs = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
    return {
        "input": usage.get("prompt_tokens") or usage.get("input_tokens") or 0,
        "cached": cast("dict[str, int]", inputs).get("cached_tokens") or 0,
        "output": usage.get("completion_tokens") or usage.get("output_tokens") or 0,
        "reasoning": cast("dict[str, int]", outputs).get("reasoning_tokens") or 0,
    }


def _line(custom_id: Any, response: Any, error: Any) -> bytes:
    whole = {
        "id": new_id("batch_line"),
        "custom_id": custom_id,
        "response": response,
        "error": error,
    }
    return as_line(whole)
