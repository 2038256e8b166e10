"""How servax is started, used and measured."""

from __future__ import annotations

import random

from bench.embedded_model.example import Example, Phrasings, Skill, Split, contains, plain

_START = Phrasings(
    (
        "How do I start servax?",
        "How do I run servax?",
        "How can I start the server?",
        "Start the server, how?",
        "How is servax started?",
        "What command starts servax?",
        "How to run the server?",
        "I want to start servax.",
        "How do I launch servax?",
        "Which command starts the server?",
        "Tell me how to start servax.",
        "How do I get started?",
        "How do I begin with servax?",
        "How can I use servax?",
        "What is the first step with servax?",
    ),
    (
        "How can I start servax?",
        "How do I start the server?",
        "How can I run servax?",
        "What do I type to start servax?",
        "Please tell me how to start the server.",
    ),
)
_SERVE = Phrasings(
    (
        "How do I serve a model?",
        "How do I serve my own model?",
        "How do I load another model?",
        "Serve a model with servax, how?",
        "Which command serves a model?",
        "How can I use another model?",
        "I want to serve my own model.",
        "How do I change the model?",
        "Can servax serve other models?",
        "How do I serve a model from Hugging Face?",
        "How to serve a bigger model?",
    ),
    (
        "How can I serve my own model?",
        "How do I use a different model?",
        "What command serves a model?",
        "How do I serve another model?",
        "Tell me how to serve a model.",
    ),
)
_CHAT = Phrasings(
    (
        "How do I chat with the model?",
        "How can I chat in the terminal?",
        "Is there a chat command?",
        "How do I talk to the model?",
        "Which command opens a chat?",
        "How do I chat from the command line?",
        "I want to chat in my terminal.",
        "How to chat?",
        "Can I chat without writing code?",
    ),
    (
        "How can I talk to the model?",
        "How do I chat in the terminal?",
        "Which command lets me chat?",
        "Tell me how to chat in a terminal.",
    ),
)
_BENCH = Phrasings(
    (
        "How do I measure the speed?",
        "How do I benchmark servax?",
        "How fast is servax?",
        "Which command runs a benchmark?",
        "How can I measure the throughput?",
        "Is there a benchmark?",
        "How do I run the benchmark?",
        "I want to measure servax.",
        "How to test the speed of the server?",
        "How do I measure latency?",
    ),
    (
        "How can I benchmark servax?",
        "How do I measure the throughput?",
        "What command runs the benchmark?",
        "How can I measure the speed of servax?",
    ),
)
_CLIENT = Phrasings(
    (
        "How do I call the server from Python?",
        "How do I use the OpenAI client?",
        "Can I use the OpenAI SDK?",
        "How do I connect a client?",
        "What is the base URL?",
        "How do I use servax from Python?",
        "Does the openai package work with servax?",
        "Which base URL do I set?",
        "Is servax compatible with OpenAI?",
        "How do I send a request?",
    ),
    (
        "How can I call servax from Python?",
        "Can I use the OpenAI client?",
        "Which base URL should I use?",
        "How do I use the OpenAI SDK with servax?",
    ),
)
_KINDS = (
    (
        _START,
        "Run make serve, or servax serve. Then the server listens on http://localhost:8000.",
        ("servax serve",),
    ),
    (
        _SERVE,
        "Run servax serve <model>, with the name of a model or the path of its folder.",
        ("servax serve <model>",),
    ),
    (_CHAT, "Run servax chat in a terminal while the server is running.", ("servax chat",)),
    (
        _BENCH,
        "Run servax bench serve. It sends requests to the server and reports throughput and "
        "latency.",
        ("servax bench serve",),
    ),
    (
        _CLIENT,
        "Use the OpenAI client and set its base URL to http://localhost:8000/v1.",
        ("http://localhost:8000/v1",),
    ),
)


def make(rng: random.Random, split: Split) -> Example:
    """A how-to question and the command that answers it."""
    phrasings, answer, needles = rng.choice(_KINDS)
    return plain(rng, phrasings.pick(rng, split), answer, contains(*needles))


SKILL = Skill("usage", 0.7, make, tuple(kind[0] for kind in _KINDS))
