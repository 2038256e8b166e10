"""`*/render`: requests whose prompt and sampling are wanted, and not yet their answer."""

from __future__ import annotations

from typing import Any, Literal

import pydantic

from api.protocol.chat import ChatCompletionRequest
from api.protocol.completions import CompletionRequest


class RenderChatRequest(ChatCompletionRequest):
    """The body of /v1/chat/completions/render.

    Attributes:
        return_token_offsets: say which characters of the rendered text each token stands for.
    """

    return_token_offsets: bool | None = None


class RenderCompletionRequest(CompletionRequest):
    """The body of /v1/completions/render."""

    return_token_offsets: bool | None = None


class RenderedRequest(pydantic.BaseModel):
    """A body for /inference/v1/generate.

    Attributes:
        token_offsets: `[start, end)` of each token; null for prompts that came as token ids.
        sampling_params: what was asked for, with the defaults of this server filled in.
        reasoning_ended: the answer does not begin within thoughts; null for models without them,
            and for completions without a budget of them.
    """

    request_id: str
    token_ids: list[int]
    token_offsets: list[list[int]] | None
    features: None
    content_parts: None
    sampling_params: dict[str, Any]
    model: str | None
    reasoning_ended: bool | None
    reasoning_parser_kwargs: None
    return_token_ids: bool | None
    output_mode: Literal["tokens"]
    stream: bool
    stream_options: dict[str, Any] | None
    cache_salt: str | None
    priority: int
    kv_transfer_params: None
    ec_transfer_params: None


class RenderedRequests(pydantic.RootModel[list[RenderedRequest]]):
    """One for each prompt of a completion."""
