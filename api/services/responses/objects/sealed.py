"""`encrypted_content`: text that a client carries for us and sends back unchanged.

It is opaque, not secret: the same text is beside it, or was the client's own. What was not made
here is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

from engine.errors import InvalidParameterError

_PREFIX = "svx1."
_CHECK_BYTES = 8


def seal(kind: str, text: str) -> str:
    """`text` as a token; `kind` says what it may be used for."""
    data = text.encode("utf-8", "surrogatepass")
    return _PREFIX + base64.urlsafe_b64encode(_check(kind, data) + data).decode()


def unseal(kind: str, token: str, param: str) -> str:
    """The text of a token. Raises InvalidParameterError for what `seal` did not make."""
    try:
        raw = base64.b64decode(token.removeprefix(_PREFIX), altchars=b"-_", validate=True)
        check, data = raw[:_CHECK_BYTES], raw[_CHECK_BYTES:]
        if token.startswith(_PREFIX) and check == _check(kind, data):
            return data.decode("utf-8", "surrogatepass")
    except (binascii.Error, ValueError):
        pass
    raise InvalidParameterError(
        f"Invalid '{param}': the content was not made by this server.",
        param=param,
        code="invalid_encrypted_content",
    )


def _check(kind: str, data: bytes) -> bytes:
    return hashlib.sha256(kind.encode() + b"\0" + data).digest()[:_CHECK_BYTES]
