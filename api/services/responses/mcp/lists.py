"""Which lists of tools may be used again: the id of a list says of whom what was asked.

An item `mcp_list_tools` has neither its server's URL, which may have secrets, nor the filter that
narrowed it. So its id ends with a digest of both, which goes wherever the item goes.
"""

from __future__ import annotations

import hashlib
import re

import orjson

from api.protocol.responses.mcp import McpListToolsItem, McpTool
from api.services.responses.mcp.toolbox import covers, filter_of

_MARKED = re.compile(r"(mcpl_[0-9a-f]+)_([0-9a-f]{16})")


def marked_id(own_id: str, server: McpTool) -> str:
    """The id of a list of this server that is made now.

    Arguments:
        own_id: what the id would be otherwise.
    """
    return f"{own_id}_{_mark(own_id, server.server_url, _narrowing(server))}"


def is_enough(item: McpListToolsItem, server: McpTool) -> bool:
    """Whether a list has all that the request may use of this server.

    A list without a mark was not made here: the client says what there is.
    """
    if item.error is not None or not covers(server, [tool.name for tool in item.tools]):
        return False
    found = _MARKED.fullmatch(item.id or "")
    if found is None:
        return True
    own_id, mark = found.groups()
    wide_enough = (None, _narrowing(server))
    return mark in {_mark(own_id, server.server_url, narrowing) for narrowing in wide_enough}


def _narrowing(server: McpTool) -> list[object] | None:
    """What `allowed_tools` leaves out; None: nothing."""
    chosen = filter_of(server)
    if chosen.tool_names is None and chosen.read_only is None:
        return None
    names = None if chosen.tool_names is None else sorted(set(chosen.tool_names))
    return [names, chosen.read_only]


def _mark(own_id: str, url: str, narrowing: list[object] | None) -> str:
    return hashlib.sha256(orjson.dumps([own_id, url, narrowing])).hexdigest()[:16]
