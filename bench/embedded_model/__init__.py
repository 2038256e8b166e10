"""The script that makes and scores the embedded model, from our own text only.

Read in this order: `example` (what a skill produces), `skills/` (one module per
skill), `corpus` (an endless seeded stream), `tokenizer`, `train`, `export`,
`score`, `card`, `make`.
"""
