"""Limits of requests as one table, for `docs/endpoints.md`. The numbers are the code's own."""

from __future__ import annotations

from api.http.json_body import MAX_CONTAINERS, MAX_ELEMENTS, MAX_KEYS, MAX_NESTING
from api.protocol.chat import MAX_BATCH
from api.protocol.completions import MAX_PROMPTS
from api.protocol.generative_scoring import MAX_ITEMS
from api.protocol.messages import MAX_MESSAGES
from api.protocol.tokenize import MAX_TEXTS
from api.services.completions.service import MAX_CHOICES
from api.services.generation.beams import MAX_LENGTH_PENALTY
from api.settings import ServerSettings
from engine import request as engine_request
from engine.config import EngineConfig
from engine.sampling.bad_words import MAX_STEP_BANS
from engine.text.chat_template import MAX_TEMPLATE_CHARACTERS
from engine.validation import LOGIT_BIAS, MAX_BEST_OF, MAX_STOP_CHARACTERS, RANGES, Range

DEFAULTS = ServerSettings()


def _shown(limits: Range) -> str:
    low = "" if limits.low is None else f"{'>' if limits.is_open else '≥'} {limits.low:g}"
    high = "" if limits.high is None else f"≤ {limits.high:g}"
    return ", ".join(part for part in (low, high) if part)


LIMITS: tuple[tuple[str, str], ...] = (
    ("body", f"{DEFAULTS.max_body_bytes:,} bytes (`--max-request-body-size`): 413"),
    (
        "request line and headers",
        f"{DEFAULTS.max_header_bytes:,} bytes (`--h11-max-incomplete-event-size`), "
        f"{DEFAULTS.max_num_headers} headers (`--h11-max-header-count`): 431, or 414 for the path",
    ),
    (
        "JSON of a body",
        f"{MAX_KEYS:,} members, {MAX_CONTAINERS:,} objects and arrays, {MAX_ELEMENTS:,} elements, "
        f"{MAX_NESTING} levels",
    ),
    ("`messages`", f"{MAX_MESSAGES:,}"),
    ("conversations of one /v1/chat/completions/batch", f"{MAX_BATCH:,}"),
    ("items of one /generative_scoring", f"{MAX_ITEMS:,}"),
    ("`chat_template`", f"{MAX_TEMPLATE_CHARACTERS:,} characters"),
    ("prompts of one completion", f"{MAX_PROMPTS:,}"),
    ("prompts times sequences of one completion", f"{MAX_CHOICES:,}"),
    ("`n`", f"{engine_request.MAX_SEQUENCES_PER_REQUEST}"),
    ("`best_of`", f"{MAX_BEST_OF}, at least `n`, not when streaming unless it equals `n`"),
    (
        "`stop`",
        f"{engine_request.MAX_STOP_STRINGS} strings of 1 to {MAX_STOP_CHARACTERS:,} characters",
    ),
    (
        "`bad_words`",
        f"{engine_request.MAX_BAD_WORDS} words of 1 to {MAX_STOP_CHARACTERS:,} characters, "
        f"{engine_request.MAX_BAD_WORDS_TOKENS:,} tokens together; at most {MAX_STEP_BANS} words "
        "of several tokens may come to their last token at once",
    ),
    (
        "`logit_bias`",
        f"{engine_request.MAX_LOGIT_BIAS:,} tokens, each {_shown(LOGIT_BIAS)}",
    ),
    (
        "`logprobs`, `top_logprobs`, `prompt_logprobs`",
        f"{EngineConfig().max_logprobs} (`--max-logprobs`)",
    ),
    ("`prompt_embeds`", "as many rows as the model's context has tokens, within the body's limit"),
    ("`logprob_token_ids`", f"{engine_request.MAX_LOGPROB_TOKEN_IDS}, with `logprobs`"),
    ("`label_token_ids`", f"{engine_request.MAX_LOGPROB_TOKEN_IDS}"),
    ("texts of one /tokenize, lists of one /detokenize", f"{MAX_TEXTS:,}"),
    *(
        (f"`{name}`", _shown(RANGES[name]) + (", or -1 for off" if name == "top_k" else ""))
        for name in (
            "temperature",
            "top_p",
            "top_k",
            "min_p",
            "presence_penalty",
            "frequency_penalty",
            "repetition_penalty",
        )
    ),
    (
        "`length_penalty`",
        f"≥ -{MAX_LENGTH_PENALTY}, ≤ {MAX_LENGTH_PENALTY}, with `use_beam_search`",
    ),
    ("`truncate_prompt_tokens`", "1 to the model's context, or -1 for what fits"),
    ("`seed`, `priority`", "64-bit integers"),
)
"""What is limited, and to what; over a limit is 400 unless the row says otherwise."""
