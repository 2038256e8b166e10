"""Log-probabilities on the wire: chat's, completions' and vLLM's prompt_logprobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.request import TokenLogprobs
from engine.text.tokenizer import Tokenizer

LOWEST = -9999.0
"""JSON has no -Infinity; OpenAI and vLLM write this for a token that cannot come."""


def token_name(tokenizer: Tokenizer, token_id: int, as_ids: bool) -> str:
    """A token as text, or as ``token_id:17`` (`return_tokens_as_token_ids`)."""
    return f"token_id:{token_id}" if as_ids else tokenizer.token_text(token_id)


def chat_logprobs(
    tokenizer: Tokenizer, entries: Sequence[TokenLogprobs], num_top: int, as_ids: bool
) -> dict[str, Any]:
    """`choices[].logprobs` of a chat answer."""
    content: list[dict[str, Any]] = []
    for entry in entries:
        top = list(zip(entry.top_token_ids, entry.top_logprobs, strict=True))[:num_top]
        chosen = _chat_entry(tokenizer, entry.token_id, entry.logprob, as_ids)
        chosen["top_logprobs"] = [_chat_entry(tokenizer, i, value, as_ids) for i, value in top]
        content.append(chosen)
    return {"content": content, "refusal": None}


def completion_logprobs(
    tokenizer: Tokenizer,
    entries: Sequence[TokenLogprobs | None],
    token_ids: Sequence[int],
    text_offsets: Sequence[int],
    as_ids: bool,
) -> dict[str, Any]:
    """`choices[].logprobs` of a completion; an entry of None is the first token of a prompt."""
    return {
        "text_offset": list(text_offsets),
        "token_logprobs": [None if e is None else max(e.logprob, LOWEST) for e in entries],
        "tokens": [token_name(tokenizer, token_id, as_ids) for token_id in token_ids],
        "top_logprobs": [
            None if entry is None else _alternatives_by_name(tokenizer, entry, as_ids)
            for entry in entries
        ],
    }


def prompt_logprobs(
    tokenizer: Tokenizer, entries: Sequence[TokenLogprobs | None] | None
) -> list[dict[str, Any] | None] | None:
    """vLLM's `prompt_logprobs`: for each position the ids, the prompt's own first."""
    if entries is None:
        return None
    return [None if entry is None else _ranked(tokenizer, entry) for entry in entries]


def _chat_entry(
    tokenizer: Tokenizer, token_id: int, logprob: float, as_ids: bool
) -> dict[str, Any]:
    return {
        "token": token_name(tokenizer, token_id, as_ids),
        "logprob": max(logprob, LOWEST),
        "bytes": list(tokenizer.token_bytes(token_id)),
    }


def _alternatives_by_name(
    tokenizer: Tokenizer, entry: TokenLogprobs, as_ids: bool
) -> dict[str, float]:
    """The token itself and the likeliest others. Of two tokens with one text the first counts."""
    found: dict[str, float] = {}
    top = zip(entry.top_token_ids, entry.top_logprobs, strict=True)
    pairs = [(entry.token_id, entry.logprob), *top]
    for token_id, logprob in pairs:
        found.setdefault(token_name(tokenizer, token_id, as_ids), max(logprob, LOWEST))
    return found


def _ranked(tokenizer: Tokenizer, entry: TokenLogprobs) -> dict[str, Any]:
    rows = [(entry.token_id, entry.logprob, entry.rank)]
    pairs = zip(entry.top_token_ids, entry.top_logprobs, strict=True)
    rows += [(token_id, logprob, rank) for rank, (token_id, logprob) in enumerate(pairs, start=1)]
    found: dict[str, Any] = {}
    for token_id, logprob, rank in rows:
        value = {
            "logprob": max(logprob, LOWEST),
            "rank": rank,
            "decoded_token": tokenizer.token_text(token_id),
        }
        found.setdefault(str(token_id), value)
    return found
