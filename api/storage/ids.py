"""Ids in OpenAI's forms: a prefix, the time, and randomness that nobody can guess.

The time comes first (as in OpenAI's own `resp_…`), in microseconds with a fixed number of digits,
and never repeats within a process. So the order of ids is the order of creation, and an id alone is
a cursor, also after its row was deleted.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
import time

from api.keys.tenant import DEFAULT_PROJECT

PREFIXES = {
    "file": "file-",
    "upload": "upload_",
    "part": "part_",
    "batch": "batch_",
    "batch_line": "batch_req_",
    "response": "resp_",
    "chat_completion": "chatcmpl-",
    "message": "msg_",
    "conversation": "conv_",
    "reasoning": "rs_",
    "function_call": "fc_",
    "function_call_output": "fco_",
    "item": "item_",
    "key": "key_",
    "project": "proj_",
    "webhook": "wh_",
    "event": "evt_",
}
"""By kind of thing."""

TIME_DIGITS = 14
RANDOM_BYTES = 17
_GENERATED = re.compile(r"([a-z_]{2,16}[_\-])[0-9a-f]{48}")
_MARKED = re.compile(r".*_of_[0-9a-f]{16}", re.DOTALL)
_SANE = re.compile(r"[A-Za-z0-9_\-]{1,128}")

_lock = threading.Lock()
_last_us = 0


def new_id(kind: str) -> str:
    """A new id for a thing of this kind, e.g. `file-` and 48 hexadecimal digits."""
    return f"{PREFIXES[kind]}{_next_us():0{TIME_DIGITS}x}{secrets.token_hex(RANDOM_BYTES)}"


def derived_id(kind: str, source_id: str, index: int) -> str:
    """The one id of what the part at `index` of `source_id` makes, however often it is made; it has
    the time of `source_id`, which is one of `new_id`, and cannot be guessed without it."""
    time_digits = source_id[len(source_id) - TIME_DIGITS - 2 * RANDOM_BYTES :][:TIME_DIGITS]
    digest = hashlib.sha256(f"{source_id}:{index}".encode()).hexdigest()
    return f"{PREFIXES[kind]}{time_digits}{digest[: 2 * RANDOM_BYTES]}"


def project_id_of(chosen: str, project_id: str) -> str:
    """The id in a project of what a client called `chosen`: projects other than the first have a
    mark of their own, so that no client meets, or learns of, what another project calls so."""
    if project_id == DEFAULT_PROJECT:
        return chosen
    return f"{chosen}_of_{hashlib.sha256(project_id.encode()).hexdigest()[:16]}"


def is_reserved(text: str) -> bool:
    """Whether a client may not choose this id, because only the server makes such."""
    return is_generated(text) or _MARKED.fullmatch(text) is not None


def is_generated(text: str, kind: str | None = None) -> bool:
    """Whether a text has the form of `new_id`, of this kind if one is given."""
    match = _GENERATED.fullmatch(text)
    return match is not None and (kind is None or match[1] == PREFIXES[kind])


def is_sane(text: str) -> bool:
    """Whether a client's text can be an id at all; anything else is not worth a query."""
    return _SANE.fullmatch(text) is not None


def can_be_kept(text: str) -> bool:
    """Whether the database can hold a text as an id that a client chose."""
    return "\0" not in text


def _next_us() -> int:
    global _last_us  # noqa: PLW0603
    with _lock:
        _last_us = max(_last_us + 1, time.time_ns() // 1000)
        return _last_us
