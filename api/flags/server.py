"""Where and how the server listens."""

from __future__ import annotations

from api.flags.flag import Flag
from api.flags.types import BOOLEAN, PATH, SECONDS, TEXT, integer

SERVER = "Server"

FLAGS = (
    Flag(
        name="host",
        kind=TEXT,
        group=SERVER,
        fields=("server.host",),
        help="Address to listen on.",
    ),
    Flag(
        name="port",
        kind=integer(0, 65535),
        group=SERVER,
        fields=("server.port",),
        help="Port to listen on; 0 takes a free one.",
    ),
    Flag(
        name="uds",
        kind=PATH,
        group=SERVER,
        fields=("server.uds",),
        help="Listen on this Unix socket instead of host and port.",
    ),
    Flag(
        name="root-path",
        kind=TEXT,
        group=SERVER,
        fields=("server.root_path",),
        help="Prefix under which a proxy shows this server.",
    ),
    Flag(
        name="ssl-keyfile",
        kind=PATH,
        group=SERVER,
        fields=("server.ssl_keyfile",),
        help="TLS key, if it is not in the certificate's file.",
    ),
    Flag(
        name="ssl-certfile",
        kind=PATH,
        group=SERVER,
        fields=("server.ssl_certfile",),
        help="TLS certificate; with it the server speaks HTTPS.",
    ),
    Flag(
        name="ssl-ca-certs",
        kind=PATH,
        group=SERVER,
        fields=("server.ssl_ca_certs",),
        help="Authorities for client certificates.",
    ),
    Flag(
        name="ssl-cert-reqs",
        kind=integer(0, 2),
        group=SERVER,
        fields=("server.ssl_cert_reqs",),
        help="Client certificates: 0 none, 1 checked when given, 2 needed (ssl.VerifyMode).",
    ),
    Flag(
        name="ssl-ciphers",
        kind=TEXT,
        group=SERVER,
        fields=("server.ssl_ciphers",),
        help="Ciphers of TLS 1.2, in OpenSSL's format. Default: Hypercorn's.",
    ),
    Flag(
        name="shutdown-timeout",
        kind=SECONDS,
        group=SERVER,
        fields=("server.shutdown_timeout_s",),
        help="Seconds that running requests may take after SIGTERM; newcomers get 503.",
    ),
    Flag(
        name="keep-alive-timeout",
        kind=SECONDS,
        group=SERVER,
        fields=("server.keep_alive_timeout_s",),
        environment=("VLLM_HTTP_TIMEOUT_KEEP_ALIVE",),
        help="Seconds an idle connection is kept.",
    ),
    Flag(
        name="disable-docs",
        kind=BOOLEAN,
        group=SERVER,
        fields=("server.disable_docs",),
        short=("--disable-fastapi-docs",),
        help="Do not serve /docs and /openapi.json.",
    ),
)
