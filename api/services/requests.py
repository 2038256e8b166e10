"""What every generating service does first with a request."""

from __future__ import annotations

import dataclasses
import secrets
import time
from collections.abc import AsyncIterator, Sequence

from api.context import ServerContext
from api.errors import APIError
from api.protocol.base import GenerationFields, SamplingFields
from api.protocol.generate import GenerateTokensRequest
from engine.errors import InvalidParameterError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a service hands to its route: a body, or events.

    Attributes:
        body: JSON, encoded.
        events: complete server-sent events; the route owns and closes it.
        unknown_fields: for the `warning` header.
    """

    body: bytes = b""
    events: AsyncIterator[bytes] | None = None
    unknown_fields: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What the chunks of one answer have in common.

    Attributes:
        response_id: `chatcmpl-…` or `cmpl-…`, made of the request's id when it has one.
        given_id: the request's id.
    """

    response_id: str
    created: int
    model: str
    fingerprint: str
    given_id: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """What the client knows the answer by."""
        return (self.response_id, *filter(None, (self.given_id,)))


def make_identity(
    context: ServerContext, prefix: str, request: GenerationFields, http_request_id: str | None
) -> Identity:
    """The identity of a new answer. A `request_id` in the body overrules the header's."""
    given = request.request_id or http_request_id or secrets.token_hex(8)
    return dataclasses.replace(identify(context, prefix + given), given_id=given)


def identify(context: ServerContext, response_id: str) -> Identity:
    """The identity of a new answer with this id."""
    return Identity(
        response_id=response_id,
        created=int(time.time()),
        model=context.model_names[0],
        fingerprint=context.settings.fingerprint_value or context.engine.info.fingerprint,
    )


def engine_request_id(identity: Identity, prompt_index: int = 0) -> str:
    """Unique among live requests, whatever ids clients choose."""
    return f"{identity.response_id}-{prompt_index}-{secrets.token_hex(4)}"


def verify_model(context: ServerContext, model: str | None) -> None:
    """Raise APIError 404 unless `model` is served; None means the one that is."""
    if model is None or model in context.model_names:
        return
    if context.settings.skip_model_name_validation:
        return
    names = ", ".join(context.model_names)
    raise APIError(
        f"The model `{model[:256]}` does not exist. Valid aliases: {names}.",
        status=404,
        param="model",
        code="model_not_found",
    )


def verify_streaming(request: GenerationFields) -> None:
    """Raise InvalidParameterError for fields that do not go with `stream`."""
    verify_stream_options(request)
    if not request.stream:
        return
    if request.prompt_logprobs is not None:
        raise _needs("prompt_logprobs", "'stream' is false")
    if request.best_of is not None and request.best_of != request.num_choices:
        raise _needs("best_of", "'stream' is false, or it equals 'n'")


def verify_stream_options(request: GenerationFields | GenerateTokensRequest) -> None:
    """Raise InvalidParameterError for options of a stream that nobody asked for."""
    if request.stream_options is not None and not request.stream:
        raise _needs("stream_options", "'stream' is true")


def stream_interval(context: ServerContext, request: GenerationFields) -> int:
    """Tokens of a chunk at least, but for the first and the last; the server's is the least."""
    return max(context.settings.stream_interval, request.stream_interval or 1)


def verify_special_spacing(context: ServerContext, request: SamplingFields) -> None:
    """`spaces_between_special_tokens: false` is how tokens that are bytes always come out; a
    vocabulary that puts spaces between its tokens cannot do it."""
    if request.spaces_between_special_tokens is False and not context.tokenizer.is_byte_exact:
        raise InvalidParameterError(
            "Unsupported parameter: 'spaces_between_special_tokens' cannot be false "
            "with this model's tokenizer.",
            param="spaces_between_special_tokens",
            code="unsupported_parameter",
        )


def verify_count(items: Sequence[object], most: int, param: str) -> None:
    """Raise InvalidParameterError for more than `most` of what makes a request each."""
    if len(items) > most:
        raise InvalidParameterError(
            f"Invalid '{param}': array too long. Expected an array with maximum length "
            f"{most}, but got an array with length {len(items)} instead.",
            param=param,
            code="array_above_max_length",
        )


def cache_salt(parts: Sequence[str | None]) -> str:
    """One salt of several, each kept apart; "" when there is none."""
    if not any(parts):
        return ""
    return "\x1f".join(f"{len(part or '')}:{part or ''}" for part in parts)


def _needs(param: str, condition: str) -> InvalidParameterError:
    return InvalidParameterError(f"Invalid '{param}': only allowed when {condition}.", param=param)
