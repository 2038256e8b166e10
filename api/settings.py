"""What the operator chose for the HTTP side. The engine's choices are `engine.config.EngineConfig`.

Both are filled from the one table in `api.flags`; nothing else reads the environment.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

ErrorFormat = Literal["openai", "vllm"]
ContentFormat = Literal["auto", "string", "openai"]
ResponsesEventDialect = Literal["openai", "openresponses", "seed"]

DEFAULT_MAX_FILE_BYTES = 8 * 2**30
DEFAULT_MAX_BODY_BYTES = 32 * 1024 * 1024
DEFAULT_MAX_NUM_QUEUED_REQUESTS = 1024
DEFAULT_REQUESTS_PER_MINUTE = 1_000_000
DEFAULT_TOKENS_PER_MINUTE = 1_000_000_000
"""More than one process can serve, so that without a choice nobody is limited, and yet every
answer can say truly what the limit is."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """Choices about listening, access, limits and the shape of answers; see `docs/flags.md`.

    Attributes:
        served_model_name: names clients may use; empty = the model's own name.
        uds: path of a Unix socket to listen on instead of host and port; "" = none.
        api_keys: accepted keys; empty = no key is asked for.
        share_prefix_cache: cached prefixes of one project may be hit by others.
        allowed_webhook_domains: hosts that events may be sent to; empty = none are sent.
        allowed_mcp_domains: hosts whose MCP servers requests may use; empty = none.
        max_num_queued_reqs: requests waiting beyond the running ones before 503; 0 = no bound.
        rate_limit_requests, rate_limit_tokens: of a key in a minute, unless it has its own.
        shutdown_timeout_s: how long streams may go on after SIGTERM, in seconds.
        sse_keep_alive_interval_s: seconds of silence before a comment line is sent; 0 = never.
        max_body_bytes: largest request body.
        max_header_bytes: largest request line and headers together.
        max_num_headers: most header fields of a request.
        body_timeout_s: longest time a request's body may take to arrive.
        ssl_cert_reqs: 0 = no client certificates, 1 = checked when given, 2 = needed.
        log_stats_interval_s: seconds between lines about load; a quiet server logs none.
        show_hidden_metrics_for_version: not empty = metrics also under vLLM's old names.
        fingerprint_value: what answers carry as `system_fingerprint`; "" = what makes the bytes.
        skip_model_name_validation: any `model` of a request means the one that is served.
        error_format: `openai`, or `vllm` for vLLM's types and integer codes.
        strict_fields: unknown fields of a request are 400 instead of a `warning` header.
        enable_per_request_metrics: answers of one sequence carry vLLM's `metrics`.
        stream_interval: tokens of a stream's chunk at least, but for its first and its last.
        generation_config: `auto`, `vllm` (ignore the model's file), or a folder.
        override_generation_config: sampling defaults laid over the model's.
        chat_template: path or text of a Jinja template; "" = the model's own.
        chat_template_content_format: what templates take as a message's content: one text, parts as
            OpenAI has them, or whatever they read.
        structured_outputs_config: vLLM's object; how JSON may look where requests say nothing.
        data_dir: folder of database and files; "" = `api.storage.folder` chooses.
        database_url: of the database; "" = SQLite in the data folder.
        max_file_bytes: largest file that can be uploaded.
        blob_url: of the store of files; "" = a folder in the data folder.
        responses_event_dialect: whose names the events of /v1/responses get.
        legacy_reasoning_events: events of thoughts have OpenAI's names in any dialect.
        responses_compatibility_mode: /v1/responses takes OpenAI's fields alone.
        enable_azure_api: routes of Azure OpenAI, under `/openai/`.
        azure_region: what their answers carry as `x-ms-region`.
        log_level: debug | info | warning | error.
    """

    served_model_name: tuple[str, ...] = ()
    host: str = "0.0.0.0"
    port: int = 8000
    uds: str = ""
    api_keys: tuple[str, ...] = dataclasses.field(default=(), repr=False)
    root_path: str = ""
    ssl_keyfile: str = ""
    ssl_certfile: str = ""
    ssl_ca_certs: str = ""
    ssl_cert_reqs: int = 0
    ssl_ciphers: str = ""
    share_prefix_cache: bool = False
    allowed_webhook_domains: tuple[str, ...] = ()
    allowed_mcp_domains: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    allowed_methods: tuple[str, ...] = ("*",)
    allowed_headers: tuple[str, ...] = ("*",)
    allow_credentials: bool = False
    disable_docs: bool = False
    enable_log_requests: bool = False
    log_level: str = "info"
    disable_log_stats: bool = False
    log_stats_interval_s: float = 10.0
    show_hidden_metrics_for_version: str = ""

    max_num_queued_reqs: int = DEFAULT_MAX_NUM_QUEUED_REQUESTS
    rate_limit_requests: int = DEFAULT_REQUESTS_PER_MINUTE
    rate_limit_tokens: int = DEFAULT_TOKENS_PER_MINUTE
    shutdown_timeout_s: float = 30.0
    keep_alive_timeout_s: float = 75.0
    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES
    max_header_bytes: int = 64 * 1024
    max_num_headers: int = 256
    body_timeout_s: float = 60.0
    sse_keep_alive_interval_s: float = 0.0
    ready_step_age_s: float = 10.0

    data_dir: str = ""
    database_url: str = dataclasses.field(default="", repr=False)
    blob_url: str = ""
    max_file_bytes: int = DEFAULT_MAX_FILE_BYTES

    error_format: ErrorFormat = "openai"
    fingerprint_value: str = ""
    skip_model_name_validation: bool = False
    strict_fields: bool = False
    enable_force_include_usage: bool = False
    enable_per_request_metrics: bool = False
    stream_interval: int = 1
    return_tokens_as_token_ids: bool = False
    enable_tokenizer_info_endpoint: bool = False
    response_role: str = "assistant"
    generation_config: str = "auto"
    override_generation_config: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    chat_template: str = ""
    default_chat_template_kwargs: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    trust_request_chat_template: bool = False
    chat_template_content_format: ContentFormat = "auto"
    structured_outputs_config: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    reasoning_effort_map: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    tool_call_parser: str = "auto"
    reasoning_parser: str = "auto"
    enable_auto_tool_choice: bool = True
    exclude_tools_when_tool_choice_none: bool = False
    responses_event_dialect: ResponsesEventDialect = "openai"
    legacy_reasoning_events: bool = False
    responses_compatibility_mode: bool = False
    enable_azure_api: bool = False
    azure_region: str = "local"
