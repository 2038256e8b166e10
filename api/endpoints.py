"""Every route, as one table: the OpenAPI document and `docs/endpoints.md` are made from it.

A test compares it with the application's URL map, so a route cannot be forgotten. Schemas are
named by module and class and imported only when the document is asked for.
"""

from __future__ import annotations

from api.batch_endpoints import BATCHES
from api.endpoint import Endpoint
from api.file_endpoints import FILES
from api.management_endpoints import MANAGEMENT
from api.response_endpoints import CONVERSATIONS, RESPONSES
from api.stored_chat_endpoints import STORED_CHAT

__all__ = ["ENDPOINTS", "Endpoint"]

ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/chat/completions",
        summary="Answer a conversation.",
        tag="Generation",
        body="api.protocol.chat:ChatCompletionRequest",
        response="api.protocol.chat:ChatCompletionResponse",
        can_stream=True,
    ),
    Endpoint(
        method="POST",
        path="/v1/chat/completions/batch",
        summary="Answer several conversations at once, a choice for each.",
        tag="Generation",
        body="api.protocol.chat:BatchChatCompletionRequest",
        response="api.protocol.chat:ChatCompletionResponse",
    ),
    Endpoint(
        method="POST",
        path="/v1/completions",
        summary="Continue one or several prompts.",
        tag="Generation",
        body="api.protocol.completions:CompletionRequest",
        response="api.protocol.completions:CompletionResponse",
        can_stream=True,
    ),
    Endpoint(
        method="POST",
        path="/v1/messages",
        summary="Answer a conversation (Anthropic).",
        tag="Generation",
        body="api.protocol.anthropic:MessagesRequest",
        error="api.operation_schemas:AnthropicErrorEnvelope",
        response="api.protocol.anthropic:MessageResponse",
        can_stream=True,
    ),
    Endpoint(
        method="POST",
        path="/v1/messages/count_tokens",
        summary="Count the tokens of a conversation (Anthropic).",
        tag="Tokens",
        body="api.protocol.anthropic:CountTokensRequest",
        error="api.operation_schemas:AnthropicErrorEnvelope",
        response="api.protocol.anthropic:CountTokensResponse",
    ),
    Endpoint(
        method="POST",
        path="/inference/v1/generate",
        summary="Continue a prompt of token ids (vLLM).",
        tag="Generation",
        body="api.protocol.generate:GenerateTokensRequest",
        response="api.protocol.generate:GenerateTokensResponse",
        can_stream=True,
    ),
    Endpoint(
        method="POST",
        path="/invocations",
        summary="Whichever of the above the body's fields belong to (SageMaker).",
        tag="Generation",
        media="application/json",
        can_stream=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/models",
        summary="List the models that can be asked for.",
        tag="Models",
        response="api.protocol.models:ModelList",
    ),
    Endpoint(
        method="GET",
        path="/v1/models/{name}",
        summary="One model.",
        tag="Models",
        response="api.protocol.models:ModelCard",
    ),
    Endpoint(
        method="POST",
        path="/tokenize",
        summary="Token ids of a prompt or of a rendered conversation.",
        tag="Tokens",
        body="api.protocol.tokenize:TokenizeRequest",
        response="api.protocol.tokenize:TokenizeResponse",
    ),
    Endpoint(
        method="POST",
        path="/detokenize",
        summary="Text of token ids.",
        tag="Tokens",
        body="api.protocol.tokenize:DetokenizeRequest",
        response="api.protocol.tokenize:DetokenizeResponse",
    ),
    Endpoint(
        method="GET",
        path="/tokenizer_info",
        summary="tokenizer_config.json and chat template, with `--enable-tokenizer-info-endpoint`.",
        tag="Tokens",
        response="api.protocol.tokenize:TokenizerInfo",
    ),
    Endpoint(
        method="GET",
        path="/health",
        summary="200 while the engine process lives or is being started.",
        tag="Operation",
        reach="public",
    ),
    Endpoint(
        method="GET",
        path="/ping",
        summary="The same as /health.",
        tag="Operation",
        reach="public",
    ),
    Endpoint(
        method="POST",
        path="/ping",
        summary="The same as /health.",
        tag="Operation",
        reach="public",
    ),
    Endpoint(
        method="GET",
        path="/ready",
        summary="200 only if the device has just finished a step, or does when asked.",
        tag="Operation",
        reach="public",
    ),
    Endpoint(
        method="GET",
        path="/version",
        summary="Version of the server.",
        tag="Operation",
        response="api.operation_schemas:Version",
        reach="public",
    ),
    Endpoint(
        method="GET",
        path="/load",
        summary="Number of requests using the engine or waiting for it.",
        tag="Operation",
        response="api.operation_schemas:ServerLoad",
    ),
    Endpoint(
        method="GET",
        path="/metrics",
        summary="Prometheus metrics, with vLLM's names.",
        tag="Operation",
        media="text/plain",
        reach="metrics",
    ),
    Endpoint(
        method="GET",
        path="/openapi.json",
        summary="This API as an OpenAPI 3.1 document.",
        tag="Documentation",
        media="application/json",
    ),
    Endpoint(
        method="GET",
        path="/docs",
        summary="This API as a page to read and try.",
        tag="Documentation",
        media="text/html",
        reach="public",
    ),
    Endpoint(
        method="GET",
        path="/docs/{name}",
        summary="Script and style of the page.",
        tag="Documentation",
        media="text/plain",
        reach="public",
    ),
    *STORED_CHAT,
    *RESPONSES,
    *CONVERSATIONS,
    *FILES,
    *BATCHES,
    *MANAGEMENT,
)
