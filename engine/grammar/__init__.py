"""What a sequence may say next: grammars, thinking budgets, and the masks that enforce them.

    Grammar.source ──compile (a thread)──► LLMatcher ──copy per sequence──► Guide
    settled token ──► Guide.accept          next step ──► Guide.fill (bits of allowed ids)

llguidance does the parsing (derivatives of regexes, Earley); see its paper-less documentation at
https://github.com/guidance-ai/llguidance. No jax: masks are numpy rows in the bit layout of
`engine.sampling.row`.
"""
