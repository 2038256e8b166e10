"""`sampling_params` of a rendered request: vLLM's names, nothing left to another's defaults."""

from __future__ import annotations

from typing import Any

from api.protocol.base import SamplingFields
from engine.request import GenerateRequest

_RESOLVED = (
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "logprobs",
    "prompt_logprobs",
)
"""What the engine would get, the model's and the server's defaults included."""

_FINAL_ONLY, _DELTA = 2, 1
"""vLLM's kinds of output, of answers whole and streamed."""


def rendered_sampling(request: SamplingFields, generate: GenerateRequest) -> dict[str, Any]:
    """The sampling of a request for /inference/v1/generate."""
    is_streamed = bool(getattr(request, "stream", False))
    sampling = {
        **_asked_for(request),
        **{name: getattr(generate.sampling, name) for name in _RESOLVED},
        "n": generate.num_sequences,
        "stop": request.stop_strings,
        "stop_token_ids": list(generate.sampling.stop_token_ids),
        "bad_words": request.bad_words or [],
        "output_kind": _DELTA if is_streamed else _FINAL_ONLY,
        "skip_clone": True,
        "skip_reading_prefix_cache": False,
    }
    if generate.grammar is not None:
        # where the prompt has opened thoughts, /inference/v1/generate too begins it after them
        sampling["structured_outputs"] = {"grammar": generate.grammar.source}
    return {name: value for name, value in sampling.items() if value is not None}


def _asked_for(request: SamplingFields) -> dict[str, Any]:
    """Fields with other values than when they are not given."""
    given = request.model_dump(exclude_defaults=True, exclude_none=True)
    return {name: given[name] for name in SamplingFields.model_fields if name in given}
