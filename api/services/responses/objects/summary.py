"""`reasoning.summary`: thoughts in the model's own sentences. Nothing is generated for it.

`auto` and `detailed` give each paragraph of the thoughts as one part; `concise` gives the first
sentence of each.
"""

from __future__ import annotations

import re

MAX_PARTS = 64

_PARAGRAPH = re.compile(r"\n\s*\n")
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s")


def summary_of(thoughts: str, wanted: str | None) -> list[str]:
    """The parts of a summary; none when none is wanted. Later paragraphs join the last part."""
    if wanted is None:
        return []
    paragraphs = [text.strip() for text in _PARAGRAPH.split(thoughts) if text.strip()]
    if wanted == "concise":
        paragraphs = [_SENTENCE.split(text, maxsplit=1)[0] for text in paragraphs]
    head, rest = paragraphs[: MAX_PARTS - 1], paragraphs[MAX_PARTS - 1 :]
    return [*head, "\n\n".join(rest)] if rest else head
