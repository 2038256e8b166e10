"""Standard Webhooks (standardwebhooks.com): what a receiver needs to know that we sent it.

webhook-id          the event's; the same for every attempt
webhook-timestamp   Unix time of this attempt, in seconds
webhook-signature   v1, and base64 of HMAC-SHA256 of `id.timestamp.body`
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

SECRET_PREFIX = "whsec_"
NUM_SECRET_BYTES = 32


def new_secret() -> bytes:
    """A secret for an endpoint."""
    return secrets.token_bytes(NUM_SECRET_BYTES)


def spelled(secret: bytes) -> str:
    """A secret as receivers' libraries want it."""
    return SECRET_PREFIX + base64.b64encode(secret).decode("ascii")


def signed_headers(secret: bytes, event_id: str, now_s: int, body: bytes) -> dict[str, str]:
    """The three headers."""
    content = b"%b.%d.%b" % (event_id.encode("ascii"), now_s, body)
    digest = hmac.new(secret, content, hashlib.sha256).digest()
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(now_s),
        "webhook-signature": "v1," + base64.b64encode(digest).decode("ascii"),
    }
