"""What all request models share."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, cast

import pydantic

Texts = Annotated[list[str], pydantic.Field(fail_fast=True)]
Ids = Annotated[list[int], pydantic.Field(fail_fast=True)]
TokenId = Annotated[int, pydantic.Field(ge=0, le=2**63 - 1)]
TokenIds = Annotated[list[TokenId], pydantic.Field(fail_fast=True)]
StopField = str | Texts | None
ItemId = Annotated[str, pydantic.Field(min_length=1, max_length=128, pattern=r"^[^\x00]*$")]
"""What a client may call an item; no database's text holds U+0000."""
Metadata = Annotated[
    dict[
        Annotated[str, pydantic.Field(max_length=64)],
        Annotated[str, pydantic.Field(max_length=512)],
    ],
    pydantic.Field(max_length=16),
]
ServiceTier = Literal["auto", "default", "flex", "scale", "priority", "fast"]


THINKING_SWITCHES = ("enable_thinking", "thinking")
"""Names that chat templates use for whether the model is to think."""


class RequestModel(pydantic.BaseModel):
    """Strict types (true is no number, "1" is no number, 1 is a fine decimal); unknown fields
    are left to `parse_body`.

    Attributes:
        unnoticed: members that clients send back as they got them and that ask for nothing.
        apart: fields whose members are not compared with what is known: they are parsed by
            themselves, or are answers of a server.
    """

    unnoticed: ClassVar[frozenset[str]] = frozenset()
    apart: ClassVar[frozenset[str]] = frozenset()

    model_config = pydantic.ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


def by_type(*tags: str) -> pydantic.Discriminator:
    """Choose a branch by `type`, the first when there is none."""

    def tag(value: Any) -> str | None:
        kind: Any = tags[0]
        if isinstance(value, dict):
            kind = cast(dict[str, Any], value).get("type", kind)
        elif isinstance(value, pydantic.BaseModel):
            kind = getattr(value, "type", kind)
        return f"T:{kind}" if kind in tags else None

    known = " or ".join(f"'{name}'" for name in tags)
    return pydantic.Discriminator(tag, "type_choice", f"its type must be {known}")


class StreamOptions(RequestModel):
    """Options of a stream.

    Attributes:
        include_usage: a last chunk without choices carries the usage.
        continuous_usage_stats: every chunk carries the usage so far (vLLM).
        include_obfuscation: every chunk carries a random `obfuscation` text that hides the
            length of its content from who watches the connection.
    """

    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None
    include_obfuscation: bool | None = None


class RepetitionDetectionField(RequestModel):
    """When an output counts as stuck; see `engine.request.RepetitionDetection`."""

    max_pattern_size: int = 0
    min_pattern_size: int = 0
    min_count: int = 0


class SamplingFields(RequestModel):
    """How tokens are chosen, when generation ends, and what becomes text."""

    # how tokens are chosen
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    allowed_token_ids: Ids | None = None
    bad_words: Texts | None = None
    seed: int | None = None
    n: int | None = 1
    best_of: int | None = None

    # when generation ends
    max_tokens: int | None = None
    min_tokens: int | None = 0
    stop: StopField = None
    stop_token_ids: Ids | None = None
    include_stop_str_in_output: bool | None = False
    ignore_eos: bool | None = False
    repetition_detection: RepetitionDetectionField | None = None
    thinking_token_budget: Annotated[int, pydantic.Field(ge=-1, le=2**31 - 1)] | None = None

    # what becomes text
    skip_special_tokens: bool | None = True
    spaces_between_special_tokens: bool | None = True
    prompt_logprobs: int | None = None
    logprob_token_ids: Ids | None = None

    @property
    def stop_strings(self) -> list[str]:
        """`stop` as a list."""
        return [self.stop] if isinstance(self.stop, str) else list(self.stop or ())

    @property
    def num_choices(self) -> int:
        """`n`, 1 when it is not given."""
        return 1 if self.n is None else self.n


class GenerationFields(SamplingFields):
    """Fields that /v1/chat/completions and /v1/completions have in common."""

    model: str | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    stream_interval: Annotated[int, pydantic.Field(ge=1, le=2**63 - 1)] | None = None
    user: str | None = None

    # what the prompt and the answer are made of
    echo: bool | None = False
    truncate_prompt_tokens: Annotated[int, pydantic.Field(ge=-1, le=2**63 - 1)] | None = None
    truncation_side: Literal["left", "right"] | None = None
    return_token_ids: bool | None = None
    return_tokens_as_token_ids: bool | None = None

    # another search than one token at a time (vLLM)
    use_beam_search: bool | None = False
    length_penalty: float | None = 1.0

    # how the request is handled
    priority: int | None = 0
    request_id: Annotated[str, pydantic.Field(min_length=1, max_length=128)] | None = None
    session_id: Annotated[str, pydantic.Field(max_length=1024)] | None = None
    cache_salt: Annotated[str, pydantic.Field(min_length=1, max_length=1024)] | None = None
