"""Which requests have a guide."""

from __future__ import annotations

from engine.request import GenerateRequest


def is_guided(request: GenerateRequest) -> bool:
    """Whether what may come next depends on what came before, by a grammar or a budget."""
    return request.grammar is not None or request.sampling.thinking_token_budget is not None
