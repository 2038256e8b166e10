"""`docs/endpoints.md` from the table: `python -m api.endpoints_doc > docs/endpoints.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from api.endpoints import ENDPOINTS, Endpoint

HEAD = """# Endpoints

This page is made from the table in `api/endpoints.py` by `python -m api.endpoints_doc`; the same
table gives `/openapi.json`, where the fields of every body are, and `/docs` shows that.

Who may call: *everyone*; *key*: holders of an API key, when the server has keys; *operator*:
the same, and without keys only clients on the same machine.
"""

REACH = {"public": "everyone", "key": "key", "operator": "operator"}


def make_page() -> str:
    """The whole page."""
    return "".join((HEAD, *_groups()))


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
