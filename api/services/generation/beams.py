"""`use_beam_search`: which requests may ask for it, and what answers them."""

from __future__ import annotations

from functools import partial

from api.context import ServerContext
from api.protocol.base import GenerationFields
from api.services.generation.output import OutputSettings
from api.services.generation.run import Run
from engine.beam_search import beam_search
from engine.errors import InvalidParameterError
from engine.request import ModelInfo
from engine.text import IncrementalDetokenizer, StopStringMatcher, TextWatch
from engine.validation import max_alternatives, verify_stop_strings

NEUTRAL = {
    "temperature": (None, 0, 1),
    "top_p": (None, 1),
    "top_k": (None, 0, -1),
    "min_p": (None, 0),
    "presence_penalty": (None, 0),
    "frequency_penalty": (None, 0),
    "repetition_penalty": (None, 1),
    "logit_bias": (None, {}),
    "allowed_token_ids": (None,),
    "bad_words": (None, []),
    "repetition_detection": (None,),
    "logprob_token_ids": (None, []),
    "best_of": (None,),
}
"""Fields that would change what is likely, with the values that do not: beams are chosen by the
model's own log-probabilities."""

MAX_LENGTH_PENALTY = 10
"""Either way, so that scores stay numbers at any length."""


def runner(
    context: ServerContext,
    request: GenerationFields,
    shown_special_ids: frozenset[int] = frozenset(),
) -> Run:
    """What runs the engine requests of `request`.

    Arguments:
        shown_special_ids: see `OutputSettings`.

    Raises:
        InvalidParameterError: it asks for something that beams cannot do.
    """
    if not request.use_beam_search:
        if request.length_penalty not in {None, 1}:
            raise _refused("length_penalty", "only allowed with 'use_beam_search'")
        return context.engine.generate
    _verify(request, context.engine.info)
    penalty = 1.0 if request.length_penalty is None else request.length_penalty
    text = _text(context, request, shown_special_ids) if request.stop_strings else None
    return partial(beam_search, context.engine, length_penalty=penalty, text=text)


def _text(
    context: ServerContext, request: GenerationFields, shown_special_ids: frozenset[int]
) -> TextWatch:
    """As `SequenceOutput` reads it."""
    verify_stop_strings(request.stop_strings)
    settings = OutputSettings.of(request)
    detokenizer = IncrementalDetokenizer(
        context.tokenizer,
        skip_special_tokens=settings.skip_special_tokens,
        shown_special_ids=shown_special_ids,
    )
    return TextWatch(detokenizer, StopStringMatcher(settings.stop), settings.min_tokens)


def _verify(request: GenerationFields, info: ModelInfo) -> None:
    for name, values in NEUTRAL.items():
        if getattr(request, name) not in values:
            raise _refused(name, "it does not go with 'use_beam_search'")
    most = max_alternatives(info) // 2
    if request.num_choices > most:
        raise InvalidParameterError(
            f"Invalid 'n': integer above maximum value. Expected a value <= {most} with "
            f"'use_beam_search' (half of --max-logprobs), but got {request.num_choices} instead.",
            param="n",
            code="integer_above_max_value",
        )
    penalty, limit = request.length_penalty, MAX_LENGTH_PENALTY
    if penalty is not None and not -limit <= penalty <= limit:
        raise _refused("length_penalty", f"expected a value between -{limit} and {limit}")


def _refused(param: str, reason: str) -> InvalidParameterError:
    return InvalidParameterError(f"Invalid '{param}': {reason}.", param=param)
