"""`docs/endpoints.md` from the table: `python -m api.endpoints.document > docs/endpoints.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from api.endpoints.request_limits import LIMITS
from api.endpoints.table import ENDPOINTS, Endpoint

HEAD = """# Endpoints

This page is made from the table in `api/endpoints/table.py` by
`python -m api.endpoints.document`; the same table gives `/openapi.json`, where the fields of every
body are, and `/docs` shows that.

Who may call: *everyone*; *key*: keys with the role `inference`; *metrics*: with the role `metrics`
or `operator`; *operator*: with the role `operator`. Keys of `--api-key` have all roles. On a server
without keys *key* is everyone, and *metrics* and *operator* are clients on the same machine.
"""

REACH = {"public": "everyone", "key": "key", "metrics": "metrics", "operator": "operator"}


LIMITS_HEAD = """
## Limits

From `api/endpoints/request_limits.py`; defaults where a flag is named. What is over a limit is 400
with the name of the field, unless the row says otherwise. A prompt and its output together are
limited by the model's context (`max_model_len` in `/v1/models`).

| what | limit |
|---|---|
"""

LIMITS_TAIL = """
A word of `bad_words` is banned as it is at the start of a text, and also with a space before it if
that spelling has as many tokens and begins with another one; that is vLLM's rule, so a word can
still come out when the model spells it with other tokens.

Where answers differ from vLLM's: [compatibility.md](compatibility.md).
"""


def make_page() -> str:
    """The whole page."""
    return "".join((HEAD, *_groups(), LIMITS_HEAD, *_limits(), LIMITS_TAIL))


def _limits() -> Iterator[str]:
    yield from (f"| {what} | {limit} |\n" for what, limit in LIMITS)


def _groups() -> Iterator[str]:
    for tag in dict.fromkeys(endpoint.tag for endpoint in ENDPOINTS):
        yield f"\n## {tag}\n\n| method | path | who | what |\n|---|---|---|---|\n"
        yield from (_row(endpoint) for endpoint in ENDPOINTS if endpoint.tag == tag)


def _row(endpoint: Endpoint) -> str:
    stream = " Streams." if endpoint.can_stream else ""
    return (
        f"| {endpoint.method} | `{endpoint.path}` | {REACH[endpoint.reach]} "
        f"| {endpoint.summary}{stream} |\n"
    )


if __name__ == "__main__":
    sys.stdout.write(make_page())
