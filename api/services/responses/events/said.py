"""What the model said, token by token: what log-probabilities and raw messages are made of."""

from __future__ import annotations

from typing import Any

from api.services.chat.job import ChatJob
from api.services.generation.output import OutputChunk
from engine.request import TokenLogprobs


class Said:
    """Everything that was generated for one response, turn after turn."""

    def __init__(self) -> None:
        self._waiting: list[TokenLogprobs] = []
        self._token_ids: list[int] = []
        self._texts: list[str] = []

    def take(self, chunk: OutputChunk) -> None:
        """More of it."""
        self._waiting += chunk.logprobs
        self._token_ids += chunk.token_ids
        self._texts.append(chunk.text)

    def scores(self, chat: ChatJob, text: str) -> list[Any]:
        """Log-probabilities of the tokens that made `text`, the newest there is. What a parser took
        away before it, a mark that ended thoughts, has tokens that are not the text's."""
        entries = self._waiting
        if not text or not entries:
            return []
        token_bytes = chat.context.tokenizer.token_bytes
        sizes = [len(token_bytes(entry.token_id)) for entry in entries]
        first, spare = 0, sum(sizes) - len(text.encode("utf-8", "surrogatepass"))
        while first < len(sizes) - 1 and sizes[first] <= spare:
            spare -= sizes[first]
            first += 1
        shown = chat.logprobs(entries[first:])
        return [] if shown is None else shown["content"]

    def let_go(self) -> None:
        """What was taken so far has become text, thoughts or calls."""
        self._waiting.clear()

    def messages(self, chat: ChatJob, *, is_over: bool) -> dict[str, Any]:
        """vLLM's `enable_response_messages`: prompt and output as the model has them."""
        given = _raw(chat.prompt.text or "", list(chat.prompt.token_ids))
        made = _raw("".join(self._texts), self._token_ids)
        return {"input_messages": [given], "output_messages": [made] if is_over else []}


def _raw(text: str, token_ids: list[int]) -> dict[str, Any]:
    return {"message": text, "tokens": token_ids, "type": "raw_message_tokens"}
