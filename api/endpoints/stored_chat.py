"""Rows of stored chat completions, for `api.endpoints.table`."""

from __future__ import annotations

from api.endpoints.endpoint import Endpoint

_PROTOCOL = "api.protocol.stored_chat"
_QUERIES = "api.protocol.responses.queries"
_ONE = "/v1/chat/completions/{completion_id}"

STORED_CHAT = (
    Endpoint(
        method="GET",
        path="/v1/chat/completions",
        summary="Stored chat completions (`store: true`), in pages; by `model`, `metadata[key]`.",
        tag="Stored chat completions",
        query=f"{_QUERIES}:CompletionsQuery",
        response=f"{_PROTOCOL}:ChatCompletionList",
    ),
    Endpoint(
        method="GET",
        path=_ONE,
        summary="One stored chat completion.",
        tag="Stored chat completions",
        response="api.protocol.chat:ChatCompletionResponse",
    ),
    Endpoint(
        method="POST",
        path=_ONE,
        summary="Change the metadata of a stored chat completion.",
        tag="Stored chat completions",
        body=f"{_PROTOCOL}:UpdateChatCompletionRequest",
        response="api.protocol.chat:ChatCompletionResponse",
    ),
    Endpoint(
        method="DELETE",
        path=_ONE,
        summary="Delete a stored chat completion.",
        tag="Stored chat completions",
        response=f"{_PROTOCOL}:DeletedChatCompletion",
    ),
    Endpoint(
        method="GET",
        path=f"{_ONE}/messages",
        summary="The messages that a stored chat completion answered, in pages.",
        tag="Stored chat completions",
        query=f"{_QUERIES}:MessagesQuery",
        response=f"{_PROTOCOL}:StoredMessages",
    ),
)
