"""Whose an engine request is: its share of the engine, the cached prefixes it may hit, and the HTTP
request an operator finds it by.

How long a prompt takes tells whether its beginning was cached, and `cached_tokens` says it
outright. So that nobody learns what another tenant asks, prefixes are shared within a project only,
unless the operator says `--share-prefix-cache`.
"""

from __future__ import annotations

import msgspec

from api.context import ServerContext
from api.keys.tenant import DEFAULT_PROJECT
from engine.request import GenerateRequest


def owned(context: ServerContext, request: GenerateRequest) -> GenerateRequest:
    """`request` as its tenant's: every service sends only such to the engine."""
    return msgspec.structs.replace(
        request,
        names=(*request.names, *filter(None, (context.request_id,))),
        tenant=context.tenant.key_id,
        can_wait=context.can_wait,
        cache_salt=_project_salt(context) + request.cache_salt,
    )


def _project_salt(context: ServerContext) -> str:
    """Comes before the client's own, which begins with a digit (`requests.cache_salt`), so that no
    client can spell another project's."""
    project_id = context.tenant.project_id
    if context.settings.share_prefix_cache or project_id == DEFAULT_PROJECT:
        return ""
    return f"{project_id}\x1f"
