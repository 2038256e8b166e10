"""Rows of responses and conversations, for `api.endpoints.table`."""

from __future__ import annotations

from api.endpoints.endpoint import Endpoint

_PROTOCOL = "api.protocol.responses"
_CONVERSATION = f"{_PROTOCOL}.conversations:Conversation"
_RESPONSE = f"{_PROTOCOL}.response:ResponseObject"

RESPONSES = (
    Endpoint(
        method="POST",
        path="/v1/responses",
        summary="Answer a conversation, as a response that is kept.",
        tag="Responses",
        body=f"{_PROTOCOL}.request:ResponsesRequest",
        response=_RESPONSE,
        can_stream=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/responses/{response_id}",
        summary="A response; with `stream=true` its events again, after `starting_after`.",
        tag="Responses",
        query=f"{_PROTOCOL}.queries:RetrieveQuery",
        response=_RESPONSE,
        can_stream=True,
    ),
    Endpoint(
        method="DELETE",
        path="/v1/responses/{response_id}",
        summary="Delete a response.",
        tag="Responses",
        response=f"{_PROTOCOL}.response:DeletedResponse",
    ),
    Endpoint(
        method="POST",
        path="/v1/responses/{response_id}/tool_outputs",
        summary="Go on with what tools gave: a stream that is held, or as a new response.",
        tag="Responses",
        body=f"{_PROTOCOL}.tool_outputs:ToolOutputsRequest",
        response=_RESPONSE,
        can_stream=True,
    ),
    Endpoint(
        method="POST",
        path="/v1/responses/{response_id}/cancel",
        summary="End a background response.",
        tag="Responses",
        response=_RESPONSE,
    ),
    Endpoint(
        method="GET",
        path="/v1/responses/{response_id}/input_items",
        summary="What a response was made of, in pages.",
        tag="Responses",
        query=f"{_PROTOCOL}.queries:ItemsQuery",
        response=f"{_PROTOCOL}.response:ItemList",
    ),
    Endpoint(
        method="POST",
        path="/v1/responses/input_tokens",
        summary="Count the tokens of the prompt that a request would make.",
        tag="Responses",
        body=f"{_PROTOCOL}.request:InputTokensRequest",
        response=f"{_PROTOCOL}.response:InputTokens",
    ),
    Endpoint(
        method="POST",
        path="/v1/responses/render",
        summary="What a request gives the engine: a body for /inference/v1/generate.",
        tag="Tokens",
        body=f"{_PROTOCOL}.request:ResponsesRequest",
        response="api.protocol.render:RenderedRequest",
    ),
    Endpoint(
        method="POST",
        path="/v1/responses/compact",
        summary="A shorter window that stands for a conversation.",
        tag="Responses",
        body=f"{_PROTOCOL}.request:CompactRequest",
        response=f"{_PROTOCOL}.response:Compaction",
    ),
)

CONVERSATIONS = (
    Endpoint(
        method="POST",
        path="/v1/conversations",
        summary="A new conversation.",
        tag="Conversations",
        body=f"{_PROTOCOL}.conversations:CreateConversationRequest",
        response=_CONVERSATION,
    ),
    Endpoint(
        method="GET",
        path="/v1/conversations/{conversation_id}",
        summary="One conversation.",
        tag="Conversations",
        response=_CONVERSATION,
    ),
    Endpoint(
        method="POST",
        path="/v1/conversations/{conversation_id}",
        summary="Change the metadata of a conversation.",
        tag="Conversations",
        body=f"{_PROTOCOL}.conversations:UpdateConversationRequest",
        response=_CONVERSATION,
    ),
    Endpoint(
        method="DELETE",
        path="/v1/conversations/{conversation_id}",
        summary="Delete a conversation with its items.",
        tag="Conversations",
        response=f"{_PROTOCOL}.conversations:DeletedConversation",
    ),
    Endpoint(
        method="POST",
        path="/v1/conversations/{conversation_id}/items",
        summary="Put items at the end of a conversation.",
        tag="Conversations",
        query=f"{_PROTOCOL}.queries:IncludeQuery",
        body=f"{_PROTOCOL}.conversations:CreateItemsRequest",
        response=f"{_PROTOCOL}.response:ItemList",
    ),
    Endpoint(
        method="GET",
        path="/v1/conversations/{conversation_id}/items",
        summary="Items of a conversation, in pages.",
        tag="Conversations",
        query=f"{_PROTOCOL}.queries:ItemsQuery",
        response=f"{_PROTOCOL}.response:ItemList",
    ),
    Endpoint(
        method="GET",
        path="/v1/conversations/{conversation_id}/items/{item_id}",
        summary="One item of a conversation.",
        tag="Conversations",
        query=f"{_PROTOCOL}.queries:IncludeQuery",
        media="application/json",
    ),
    Endpoint(
        method="DELETE",
        path="/v1/conversations/{conversation_id}/items/{item_id}",
        summary="Delete an item of a conversation.",
        tag="Conversations",
        response=_CONVERSATION,
    ),
)
