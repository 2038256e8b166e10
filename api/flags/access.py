"""Who may call, from where."""

from __future__ import annotations

from api.flags.flag import Flag
from api.flags.types import BOOLEAN, NAMES, WORDS

ACCESS = "Access"

FLAGS = (
    Flag(
        name="api-key",
        kind=WORDS,
        group=ACCESS,
        fields=("server.api_keys",),
        environment=("VLLM_API_KEY",),
        help="Keys that clients must present one of. Prefer the environment: a command line is "
        "visible to everyone on the machine.",
    ),
    Flag(
        name="share-prefix-cache",
        kind=BOOLEAN,
        group=ACCESS,
        fields=("server.share_prefix_cache",),
        help="Let prompts hit prefixes cached for other projects. Default: how fast an answer "
        "comes tells nothing of what other projects asked.",
    ),
    Flag(
        name="allowed-webhook-domains",
        kind=NAMES,
        group=ACCESS,
        fields=("server.allowed_webhook_domains",),
        help="Hosts that webhooks may be sent to, with :PORT unless it is 443. A name must have "
        "public addresses only; an address is taken as it is. Default: none are sent.",
    ),
    Flag(
        name="allowed-mcp-domains",
        kind=NAMES,
        group=ACCESS,
        fields=("server.allowed_mcp_domains",),
        help="Hosts whose MCP servers requests to /v1/responses may use, with :PORT unless it is "
        "443. A name must have public addresses only; an address is taken as it is. Default: none.",
    ),
    Flag(
        name="allowed-origins",
        kind=WORDS,
        group=ACCESS,
        fields=("server.allowed_origins",),
        help="Web origins whose pages may call this server; * is all. Default: none.",
    ),
    Flag(
        name="allowed-methods",
        kind=WORDS,
        group=ACCESS,
        fields=("server.allowed_methods",),
        help="Methods such pages may use.",
    ),
    Flag(
        name="allowed-headers",
        kind=WORDS,
        group=ACCESS,
        fields=("server.allowed_headers",),
        help="Headers such pages may send.",
    ),
    Flag(
        name="allow-credentials",
        kind=BOOLEAN,
        group=ACCESS,
        fields=("server.allow_credentials",),
        help="Let such pages send cookies.",
    ),
    Flag(
        name="trust-request-chat-template",
        kind=BOOLEAN,
        group=ACCESS,
        fields=("server.trust_request_chat_template",),
        help="Let requests bring a chat template of their own (it runs in a sandbox).",
    ),
)
