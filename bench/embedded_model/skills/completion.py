"""Plain text without chat, as `/v1/completions` sees it: sentences of our own docs.

The example's prompt is the beginning of a text; there is no chat template around
it. The texts are few and there are no held-out ones: the score of this skill says
how well they are known by heart, not how well the model generalises.
"""

from __future__ import annotations

import random

from bench.embedded_model.example import Example, Skill, Split, assistant, contains, user
from bench.embedded_model.skills.endpoints import ALL
from bench.embedded_model.skills.identity import WHAT_IS_SERVAX
from bench.embedded_model.skills.writing import tale_of

TEXTS = (
    WHAT_IS_SERVAX,
    ALL,
    "servax serves language models on CPU, GPU and TPU. It speaks the OpenAI protocol, so "
    "existing clients work unchanged.",
    "To start the server, run make serve. Then open http://localhost:8000/docs in a browser.",
    "Continuous batching lets new requests join the running batch at every step, so the device is "
    "always busy.",
    "Paged attention keeps the keys and values of each sequence in small pages of memory.",
    "The KV cache keeps the keys and values of earlier tokens, so that they are computed only "
    "once.",
    "A request has a prompt and a limit for new tokens. The scheduler gives it pages, and the "
    "runner computes its tokens.",
    "Hello, my name is servax-tiny. I am a very small language model.",
    "The quick brown fox jumps over the lazy dog.",
    "The days of the week are Monday, Tuesday, Wednesday, Thursday, Friday, Saturday and Sunday.",
    "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20.",
    "The capital of France is Paris. The capital of Germany is Berlin. The capital of Italy is "
    "Rome. The capital of Spain is Madrid.",
    "The server is ready when the model is loaded and every step is compiled. GET /ready then "
    "answers 200.",
    "Prometheus reads the counters of the server at /metrics.",
    "JAX is a Python library for fast array programs that are compiled by XLA.",
    tale_of("fox", "Mina"),
    "def add(a, b):\n    return a + b",
)


def make(rng: random.Random, split: Split) -> Example:
    """A text cut after some of its words; the rest is the answer."""
    text = rng.choice(TEXTS)
    words = text.split(" ")
    cut = rng.randint(2, max(2, min(8, len(words) - 3)))
    rest = " ".join(words[cut:])
    return Example((user(" ".join(words[:cut])),), assistant(" " + rest), contains(rest[:20]))


SKILL = Skill("completion", 0.4, make, ())
