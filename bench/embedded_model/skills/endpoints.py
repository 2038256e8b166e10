"""Which endpoints servax has and what each is for."""

from __future__ import annotations

import random

from bench.embedded_model.example import Example, Phrasings, Skill, Split, contains, plain

ENDPOINTS = (
    (
        "/v1/chat/completions",
        "POST",
        "chat with a model",
        ("chat with a model", "send chat messages", "have a conversation"),
    ),
    (
        "/v1/completions",
        "POST",
        "complete a plain text",
        ("complete a plain text", "continue a text", "complete a prompt without chat"),
    ),
    (
        "/v1/models",
        "GET",
        "list the models",
        ("list the models", "see which models are served", "find out which models there are"),
    ),
    (
        "/tokenize",
        "POST",
        "turn a text into tokens",
        ("turn a text into tokens", "tokenize a text", "count the tokens of a text"),
    ),
    (
        "/detokenize",
        "POST",
        "turn tokens into a text",
        ("turn tokens into a text", "detokenize tokens", "get the text of some tokens"),
    ),
    (
        "/health",
        "GET",
        "check that the server is alive",
        ("check that the server is alive", "check the health", "do a health check"),
    ),
    (
        "/ready",
        "GET",
        "check that the server can take requests",
        (
            "check that the server is ready",
            "see if the server can take requests",
            "do a readiness check",
        ),
    ),
    (
        "/version",
        "GET",
        "show the version of servax",
        ("show the version", "see which version of servax runs", "find the version number"),
    ),
    (
        "/load",
        "GET",
        "show how busy the server is",
        ("show the load", "see how busy the server is", "find out how many requests run"),
    ),
    (
        "/metrics",
        "GET",
        "read the metrics for Prometheus",
        ("read the metrics", "get Prometheus metrics", "monitor the server"),
    ),
    (
        "/openapi.json",
        "GET",
        "read the API description",
        ("read the API description", "get the OpenAPI schema", "download the API schema"),
    ),
    (
        "/docs",
        "GET",
        "read the API docs in a browser",
        ("read the API docs", "see the documentation in a browser", "browse the docs"),
    ),
)
ALL = (
    "servax has these endpoints: /v1/chat/completions, /v1/completions, /v1/models, /tokenize, "
    "/detokenize, /health, /ready, "
    "/version, /load, /metrics, /openapi.json and /docs."
)
_LIST = Phrasings(
    (
        "Which endpoints do you have?",
        "What endpoints does servax have?",
        "List the endpoints.",
        "What endpoints are there?",
        "Show me the endpoints of servax.",
        "Which routes does this server have?",
        "What is in the API?",
        "Tell me the endpoints",
        "Name all endpoints of this server.",
        "What API does servax have?",
        "Which URLs can I call?",
        "endpoints?",
        "List all routes.",
        "What paths does the API have?",
        "Give me a list of the API endpoints.",
        "Which endpoints does servax offer?",
        "What can I call on this server?",
        "Describe the API.",
        "Show all routes of the API",
        "Which endpoints are available here?",
    ),
    (
        "What endpoints do you have?",
        "Please list all endpoints.",
        "Which endpoints does this server have?",
        "Show me all the endpoints.",
        "List the API endpoints of servax.",
        "What routes are there?",
        "Could you name the endpoints?",
        "Tell me which endpoints exist.",
    ),
)
_FIND = Phrasings(
    (
        "Which endpoint do I use to {0}?",
        "How do I {0}?",
        "What is the endpoint to {0}?",
        "I want to {0}. Which endpoint is it?",
        "Where can I {0}?",
        "Which route lets me {0}?",
        "How can I {0} with servax?",
        "What do I call to {0}?",
        "I need to {0}.",
        "Which URL is used to {0}?",
        "Tell me how to {0}.",
        "Can I {0} here?",
        "Is there an endpoint to {0}?",
    ),
    (
        "Which endpoint lets me {0}?",
        "How do I {0} on this server?",
        "What should I call to {0}?",
        "Where do I {0}?",
        "I would like to {0}. How?",
        "What endpoint is there to {0}?",
    ),
)
_WHAT_FOR = Phrasings(
    (
        "What is {0} for?",
        "What does {0} do?",
        "Explain {0}.",
        "What does the endpoint {0} do?",
        "Why is there {0}?",
        "What can I do with {0}?",
        "Tell me about {0}.",
        "What is {0}?",
        "When do I use {0}?",
        "Describe the {0} endpoint.",
        "{0}?",
        "What happens at {0}?",
    ),
    (
        "What is the endpoint {0} for?",
        "What does {0} give me?",
        "Please explain {0}.",
        "What can {0} do?",
        "What is the {0} route for?",
    ),
)


def make(rng: random.Random, split: Split) -> Example:
    """The whole list, the endpoint for a purpose, or the purpose of an endpoint."""
    if rng.random() < 0.3:
        return plain(
            rng,
            _LIST.pick(rng, split),
            ALL,
            contains("/v1/chat/completions", "/tokenize", "/health", "/metrics"),
        )
    path, method, purpose, aims = rng.choice(ENDPOINTS)
    if rng.random() < 0.5:
        answer = f"Use {method} {path} to {purpose}."
        return plain(
            rng, _FIND.pick(rng, split).format(rng.choice(aims)), answer, contains(f" {path} to")
        )
    return plain(
        rng,
        _WHAT_FOR.pick(rng, split).format(path),
        f"{method} {path} is there to {purpose}.",
        contains(purpose),
    )


SKILL = Skill("endpoints", 1.0, make, (_LIST, _FIND, _WHAT_FOR))
