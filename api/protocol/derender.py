"""`*/derender`: answers of /inference/v1/generate on their way to OpenAI's."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import pydantic
from pydantic_core import PydanticKnownError

from api.protocol.base import RequestModel
from api.protocol.chat import ChatCompletionRequest, ChatCompletionResponse
from api.protocol.completions import CompletionRequest, CompletionResponse
from api.protocol.generate import PromptIds
from engine.request import MAX_SEQUENCES_PER_REQUEST

Count = Annotated[int, pydantic.Field(ge=0, le=2**31 - 1)]
FinishReason = Literal["stop", "length", "repetition", "abort"]
AnswerId = Annotated[str, pydantic.Field(min_length=1, max_length=256)]
ChoiceIndex = Annotated[int, pydantic.Field(ge=0, lt=MAX_SEQUENCES_PER_REQUEST)]
CallId = Annotated[str, pydantic.Field(max_length=64)]
MAX_CALLS = 1024


def _only_a_boolean(value: object) -> object:
    """0 equals False; as a literal it would pass for it."""
    if not isinstance(value, bool):
        raise PydanticKnownError("bool_type")
    return value


NotStreaming = Annotated[Literal[False], pydantic.BeforeValidator(_only_a_boolean)]


class GivenLogprob(RequestModel):
    """One token at a position."""

    token_id: Count
    logprob: float
    rank: int | None = None


class GivenPosition(GivenLogprob):
    """What was chosen at a position, and what else was likely."""

    top_logprobs: list[GivenLogprob] = pydantic.Field(default_factory=list[GivenLogprob])


class GivenLogprobs(RequestModel):
    """`logprobs` of a choice: one entry for each of its tokens."""

    content: Annotated[list[GivenPosition], pydantic.Field(fail_fast=True)] | None = None


class GivenChoice(RequestModel):
    """A whole choice.

    Attributes:
        stop_reason: the stop string or the id that ended it.
    """

    index: ChoiceIndex
    token_ids: PromptIds
    finish_reason: FinishReason = "stop"
    stop_reason: int | Annotated[str, pydantic.Field(max_length=4096)] | None = None
    logprobs: GivenLogprobs | None = None


class GivenPiece(RequestModel):
    """More of a choice; `finish_reason` in the last piece."""

    index: ChoiceIndex
    token_ids: list[Count] | None = None
    finish_reason: FinishReason | None = None
    stop_reason: int | Annotated[str, pydantic.Field(max_length=4096)] | None = None
    logprobs: GivenLogprobs | None = None


class GivenPromptDetails(RequestModel):
    """Of the prompt's tokens: how many were found in the prefix cache."""

    cached_tokens: Count | None = None


class GivenUsage(RequestModel):
    """What the generating server counted."""

    prompt_tokens: Count = 0
    completion_tokens: Count | None = 0
    prompt_tokens_details: GivenPromptDetails | None = None

    @property
    def num_cached_tokens(self) -> int:
        """0 where it is not told."""
        details = self.prompt_tokens_details
        return 0 if details is None else details.cached_tokens or 0


class GivenMetrics(RequestModel):
    """`api.protocol.usage.RequestMetrics`, read as strictly as everything a client sends."""

    time_to_first_token_ms: float | None
    generation_time_ms: float | None
    queue_time_ms: float | None
    mean_itl_ms: float | None
    tokens_per_second: float | None
    speculative_decoding: None = None


class GivenAnswer(RequestModel):
    """What streams and whole answers of /inference/v1/generate have in common."""

    request_id: AnswerId | None = None
    output_mode: Literal["tokens"] = "tokens"
    usage: GivenUsage | None = None
    prompt_token_ids: PromptIds | None = None
    metrics: GivenMetrics | None = None

    @property
    def metrics_body(self) -> dict[str, Any] | None:
        """`metrics` as an answer shows it."""
        return None if self.metrics is None else self.metrics.model_dump()


class GeneratedResponse(GivenAnswer):
    """A whole answer."""

    choices: Annotated[
        list[GivenChoice], pydantic.Field(min_length=1, max_length=MAX_SEQUENCES_PER_REQUEST)
    ]
    prompt_logprobs: list[dict[str, Any] | None] | None = None


class GeneratedChunk(GivenAnswer):
    """One event of a stream: a piece of one choice, or the usage alone."""

    choices: Annotated[list[GivenPiece], pydantic.Field(max_length=1)]


class DerenderStreamState(RequestModel):
    """What one choice's stream has come to; clients give it back as they got it.

    Attributes:
        output_token_ids: of all events so far.
        output_chunk_lens: how many each event brought.
        role_sent: the first delta went out.
        last_tool_call_ids: ids that were made for calls so far.
    """

    model_config = pydantic.ConfigDict(extra="forbid")

    output_token_ids: Annotated[list[Count], pydantic.Field(fail_fast=True)] = pydantic.Field(
        default_factory=list[int]
    )
    output_chunk_lens: Annotated[
        list[Annotated[int, pydantic.Field(ge=1)]], pydantic.Field(fail_fast=True)
    ] = pydantic.Field(default_factory=list[int])
    role_sent: bool = False
    last_tool_call_ids: Annotated[list[CallId], pydantic.Field(max_length=MAX_CALLS)] = (
        pydantic.Field(default_factory=list[str])
    )


class DerenderChatRequest(RequestModel):
    """The body of /v1/chat/completions/derender.

    Attributes:
        prompt_tokens: for the usage; else they are counted.
        prompt_token_ids: the prompt, which tells whether it opened the model's thoughts; else
            `chat_request` is rendered.
        chat_request: the body of the chat completion; only models without formats of calls and
            thoughts do without.
    """

    apart: ClassVar[frozenset[str]] = frozenset({"chat_request", "generate_response"})

    stream: NotStreaming | None = False
    model: str | None = None
    generate_response: GeneratedResponse
    prompt_tokens: Count | None = None
    prompt_token_ids: PromptIds | None = None
    chat_request: ChatCompletionRequest | None = None


class DerenderChatStreamRequest(RequestModel):
    """The same for one event of a stream.

    Attributes:
        stream_state: null for the first event of a choice.
    """

    apart: ClassVar[frozenset[str]] = frozenset({"chat_request", "generate_chunk"})

    stream: Literal[True]
    model: str | None = None
    generate_chunk: GeneratedChunk
    stream_state: DerenderStreamState | None = None
    prompt_tokens: Count | None = None
    prompt_token_ids: PromptIds | None = None
    chat_request: ChatCompletionRequest | None = None


class DerenderCompletionRequest(RequestModel):
    """The body of /v1/completions/derender: an answer for each prompt."""

    apart: ClassVar[frozenset[str]] = frozenset({"completion_request", "generate_responses"})

    stream: NotStreaming | None = False
    model: str | None = None
    generate_responses: Annotated[list[GeneratedResponse], pydantic.Field(min_length=1)]
    prompt_tokens: list[Count] | None = None
    prompt_token_ids: list[PromptIds | None] | None = None
    completion_request: CompletionRequest | None = None


class DerenderCompletionStreamRequest(RequestModel):
    """The same for one event of a stream."""

    apart: ClassVar[frozenset[str]] = frozenset({"completion_request", "generate_chunk"})

    stream: Literal[True]
    model: str | None = None
    generate_chunk: GeneratedChunk
    stream_state: DerenderStreamState | None = None
    prompt_tokens: Count | None = None
    prompt_token_ids: PromptIds | None = None
    completion_request: CompletionRequest | None = None


class DerenderChatBody(pydantic.RootModel[DerenderChatRequest | DerenderChatStreamRequest]):
    """A whole answer, or one event with `stream: true`."""


class DerenderCompletionBody(
    pydantic.RootModel[DerenderCompletionRequest | DerenderCompletionStreamRequest]
):
    """Whole answers, or one event with `stream: true`."""


class DerenderedChunk(pydantic.BaseModel):
    """A chunk for the client's client, and the state for the next call."""

    chunk: dict[str, Any]
    stream_state: DerenderStreamState


class DerenderedChat(pydantic.RootModel[ChatCompletionResponse | DerenderedChunk]):
    """The answer, or a chunk of it."""


class DerenderedCompletion(pydantic.RootModel[CompletionResponse | DerenderedChunk]):
    """The answer, or a chunk of it."""
