"""Every flag of `servax serve`, as one table: parser, environment and `docs/flags.md` follow it.

Names and meanings are vLLM's where vLLM has the flag. `fields` says where a value goes:
`server.x` is `api.settings.ServerSettings.x`, `engine.x` is `engine.config.EngineConfig.x`.
A flag `--some-name` is also read from `SERVAX_SOME_NAME`.
"""

from __future__ import annotations

import dataclasses

from api.flag_types import (
    BOOLEAN,
    JSON,
    MODEL_LEN,
    NAMES,
    PATH,
    SECONDS,
    TEXT,
    WORDS,
    Kind,
    choice,
    integer,
    number,
    size,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flag:
    """One flag.

    Attributes:
        name: with dashes, without the leading two.
        short: other spellings, complete with their dashes.
        environment: variables read besides SERVAX_NAME, weaker than it.
    """

    name: str
    kind: Kind
    group: str
    help: str
    fields: tuple[str, ...]
    short: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()


MODEL = "Model"
SERVER = "Server"
ACCESS = "Access"
ENGINE = "Engine"
LIMITS = "Limits"
ANSWERS = "Answers"
LOGGING = "Logging"

FLAGS = (
    Flag(
        name="model",
        kind=TEXT,
        group=MODEL,
        fields=("engine.model",),
        help="Folder in Hugging Face's format or hub id; also the positional argument. Without "
        "it the small model that comes with servax is served.",
    ),
    Flag(
        name="served-model-name",
        kind=NAMES,
        group=MODEL,
        fields=("server.served_model_name",),
        help="Names clients may ask for; answers carry the first. Default: the model's own.",
    ),
    Flag(
        name="tokenizer",
        kind=TEXT,
        group=MODEL,
        fields=("engine.tokenizer",),
        help="Folder or hub id of the tokenizer, if it is not the model's.",
    ),
    Flag(
        name="revision",
        kind=TEXT,
        group=MODEL,
        fields=("engine.revision",),
        help="Branch, tag or commit on the hub.",
    ),
    Flag(
        name="dtype",
        kind=choice(
            "auto",
            "float16",
            "bfloat16",
            "float32",
            synonyms={"half": "float16", "float": "float32"},
        ),
        group=MODEL,
        fields=("engine.dtype",),
        help="Type of weights and activations; auto takes the checkpoint's.",
    ),
    Flag(
        name="load-format",
        kind=choice("auto", "safetensors", "dummy"),
        group=MODEL,
        fields=("engine.load_format",),
        help="dummy gives random weights of the right shapes.",
    ),
    Flag(
        name="max-model-len",
        kind=MODEL_LEN,
        group=MODEL,
        fields=("engine.max_model_len",),
        help="Longest prompt and output together, in tokens; auto or -1 is the model's own.",
    ),
    Flag(
        name="seed",
        kind=integer(0, 2**63 - 1),
        group=MODEL,
        fields=("engine.seed",),
        help="Seed of the random weights of --load-format dummy. Sampling does not use it: a "
        "request without a seed gets a random one.",
    ),
    Flag(
        name="generation-config",
        kind=TEXT,
        group=MODEL,
        fields=("server.generation_config",),
        help="Where sampling defaults come from: auto (the model's folder), vllm (none), or a "
        "folder.",
    ),
    Flag(
        name="override-generation-config",
        kind=JSON,
        group=MODEL,
        fields=("server.override_generation_config",),
        help="Sampling defaults laid over those, as a JSON object; values that no request may have "
        "are refused.",
    ),
    Flag(
        name="chat-template",
        kind=TEXT,
        group=MODEL,
        fields=("server.chat_template",),
        help="File or text of a Jinja template instead of the model's own.",
    ),
    Flag(
        name="default-chat-template-kwargs",
        kind=JSON,
        group=MODEL,
        fields=("server.default_chat_template_kwargs",),
        help="Variables given to the chat template unless a request sets them.",
    ),
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
    Flag(
        name="max-num-seqs",
        kind=integer(1, 65536),
        group=ENGINE,
        fields=("engine.max_num_seqs",),
        help="Most sequences running at once. Default: by device.",
    ),
    Flag(
        name="max-num-batched-tokens",
        kind=size(8),
        group=ENGINE,
        fields=("engine.max_num_batched_tokens",),
        help="Most tokens in one step. Default: by device.",
    ),
    Flag(
        name="long-prefill-token-threshold",
        kind=size(1),
        group=ENGINE,
        fields=("engine.prefill_chunk_tokens",),
        help="Most prompt tokens of one sequence in one step. Default: the whole budget.",
    ),
    Flag(
        name="enable-prefix-caching",
        kind=BOOLEAN,
        group=ENGINE,
        fields=("engine.enable_prefix_caching",),
        help="Reuse the KV pages of equal prompt beginnings.",
    ),
    Flag(
        name="scheduling-policy",
        kind=choice("fcfs", "priority"),
        group=ENGINE,
        fields=("engine.scheduling_policy",),
        help="priority runs requests with a smaller `priority` earlier.",
    ),
    Flag(
        name="tensor-parallel-size",
        kind=integer(1, 4096),
        group=ENGINE,
        fields=("engine.tensor_parallel_size",),
        short=("-tp",),
        help="Devices that share each layer.",
    ),
    Flag(
        name="data-parallel-size",
        kind=integer(1, 4096),
        group=ENGINE,
        fields=("engine.data_parallel_size",),
        short=("-dp",),
        help="Groups of devices that share the requests.",
    ),
    Flag(
        name="gpu-memory-utilization",
        kind=number(0.01, 1.0),
        group=ENGINE,
        fields=("engine.gpu_memory_utilization",),
        short=("--device-memory-utilization",),
        help="Share of the device's memory to use.",
    ),
    Flag(
        name="kv-cache-memory-bytes",
        kind=size(1),
        group=ENGINE,
        fields=("engine.kv_cache_memory_bytes",),
        help="Bytes for KV pages, instead of what is left of the above.",
    ),
    Flag(
        name="kv-cache-dtype",
        kind=choice("auto"),
        group=ENGINE,
        fields=("engine.kv_cache_dtype",),
        help="Type of KV pages: auto is the model's.",
    ),
    Flag(
        name="block-size",
        kind=integer(1, 4096),
        group=ENGINE,
        fields=("engine.block_size",),
        help="Tokens in a KV page. Default: by device.",
    ),
    Flag(
        name="num-gpu-blocks-override",
        kind=integer(2),
        group=ENGINE,
        fields=("engine.num_gpu_blocks_override",),
        help="Exact number of KV pages, for tests.",
    ),
    Flag(
        name="compile-cache-dir",
        kind=PATH,
        group=ENGINE,
        fields=("engine.compile_cache_dir",),
        help="Folder of the persistent XLA cache. Default: under the user's cache folder.",
    ),
    Flag(
        name="step-timeout",
        kind=number(0.1, 1e6),
        group=ENGINE,
        fields=("engine.step_timeout_s",),
        help="A step that takes more seconds means the engine hangs; it is restarted.",
    ),
    Flag(
        name="check-invariants",
        kind=BOOLEAN,
        group=ENGINE,
        fields=("engine.check_invariants",),
        help="Check scheduler and KV pages after every step (slow; for finding bugs).",
    ),
    Flag(
        name="max-num-queued-reqs",
        kind=integer(0),
        group=LIMITS,
        fields=("server.max_num_queued_reqs", "engine.max_num_queued_reqs"),
        help="Requests waiting beyond the running ones before 503; 0 is no bound.",
    ),
    Flag(
        name="max-logprobs",
        kind=integer(-1, 1000),
        group=LIMITS,
        fields=("engine.max_logprobs",),
        help="Most alternatives a request may ask for per token; -1 is a whole small vocabulary.",
    ),
    Flag(
        name="max-request-body-size",
        kind=size(1024, 2**31),
        group=LIMITS,
        fields=("server.max_body_bytes",),
        environment=("VLLM_HTTP_MAX_REQUEST_BODY_SIZE",),
        help="Largest request body, in bytes.",
    ),
    Flag(
        name="h11-max-incomplete-event-size",
        kind=size(1024, 2**24),
        group=LIMITS,
        fields=("server.max_header_bytes",),
        help="Largest request line and headers together, in bytes; a longer path is 414, more "
        "headers are 431.",
    ),
    Flag(
        name="h11-max-header-count",
        kind=integer(1, 100_000),
        group=LIMITS,
        fields=("server.max_num_headers",),
        help="Most headers of a request.",
    ),
    Flag(
        name="request-body-timeout",
        kind=SECONDS,
        group=LIMITS,
        fields=("server.body_timeout_s",),
        help="Seconds a request's body may take to arrive.",
    ),
    Flag(
        name="error-format",
        kind=choice("openai", "vllm"),
        group=ANSWERS,
        fields=("server.error_format",),
        help="Whose error types and codes to use.",
    ),
    Flag(
        name="strict-fields",
        kind=BOOLEAN,
        group=ANSWERS,
        fields=("server.strict_fields",),
        help="Refuse requests with unknown fields instead of naming them in a warning header.",
    ),
    Flag(
        name="enable-force-include-usage",
        kind=BOOLEAN,
        group=ANSWERS,
        fields=("server.enable_force_include_usage",),
        help="Send usage at the end of every stream, asked for or not.",
    ),
    Flag(
        name="return-tokens-as-token-ids",
        kind=BOOLEAN,
        group=ANSWERS,
        fields=("server.return_tokens_as_token_ids",),
        help="Spell tokens in logprobs as token_id:N.",
    ),
    Flag(
        name="response-role",
        kind=TEXT,
        group=ANSWERS,
        fields=("server.response_role",),
        help="Role of generated messages.",
    ),
    Flag(
        name="sse-keep-alive-interval",
        kind=SECONDS,
        group=ANSWERS,
        fields=("server.sse_keep_alive_interval_s",),
        help="Seconds of silence after which a stream gets a comment line; 0 is never.",
    ),
    Flag(
        name="enable-log-requests",
        kind=BOOLEAN,
        group=LOGGING,
        fields=("server.enable_log_requests",),
        help="Log a line for every request (never its content).",
    ),
    Flag(
        name="log-level",
        kind=choice(
            "debug", "info", "warning", "error", synonyms={"critical": "error", "trace": "debug"}
        ),
        group=LOGGING,
        fields=("server.log_level",),
        short=("--uvicorn-log-level",),
        environment=("VLLM_LOGGING_LEVEL",),
        help="Least severe messages to log.",
    ),
)
