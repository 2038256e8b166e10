"""The shape of answers."""

from __future__ import annotations

from api.flags.flag import Flag
from api.flags.types import BOOLEAN, SECONDS, STRUCTURED_OUTPUTS, TEXT, choice, integer

ANSWERS = "Answers"

FLAGS = (
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
        name="enable-per-request-metrics",
        kind=BOOLEAN,
        group=ANSWERS,
        fields=("server.enable_per_request_metrics",),
        help="Say in the `metrics` of an answer of one sequence how long it waited and took; in "
        "streams, beside the usage at the end.",
    ),
    Flag(
        name="stream-interval",
        kind=integer(1),
        group=ANSWERS,
        fields=("server.stream_interval",),
        help="Tokens of each chunk of a stream, but for its first and its last; `stream_interval` "
        "of a request raises it.",
    ),
    Flag(
        name="enable-tokenizer-info-endpoint",
        kind=BOOLEAN,
        group=ANSWERS,
        fields=("server.enable_tokenizer_info_endpoint",),
        help="Serve /tokenizer_info: tokenizer_config.json and the chat template.",
    ),
    Flag(
        name="return-tokens-as-token-ids",
        kind=BOOLEAN,
        group=ANSWERS,
        fields=("server.return_tokens_as_token_ids",),
        help="Spell tokens in logprobs as token_id:N.",
    ),
    Flag(
        name="fingerprint-value",
        kind=TEXT,
        group=ANSWERS,
        fields=("server.fingerprint_value",),
        help="system_fingerprint of answers. Default: a hash of all that makes their bytes.",
    ),
    Flag(
        name="skip-model-name-validation",
        kind=BOOLEAN,
        group=ANSWERS,
        fields=("server.skip_model_name_validation",),
        environment=("VLLM_SKIP_MODEL_NAME_VALIDATION",),
        help="Take any model name of a request for the served one.",
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
        name="responses-event-dialect",
        kind=choice("openai", "openresponses", "seed"),
        group=ANSWERS,
        fields=("server.responses_event_dialect",),
        help="Whose names the events of /v1/responses get; a request's event_dialect or "
        "X-Responses-Event-Dialect overrules it.",
    ),
    Flag(
        name="legacy-reasoning-events",
        kind=BOOLEAN,
        group=ANSWERS,
        fields=("server.legacy_reasoning_events",),
        help="Events of thoughts are response.reasoning_text.* in every dialect.",
    ),
    Flag(
        name="responses-compatibility-mode",
        kind=BOOLEAN,
        group=ANSWERS,
        fields=("server.responses_compatibility_mode",),
        help="/v1/responses refuses fields that OpenAI does not have, and a request_id that is "
        "not the header X-Request-Id.",
    ),
    Flag(
        name="structured-outputs-config",
        kind=STRUCTURED_OUTPUTS,
        group=ANSWERS,
        fields=("server.structured_outputs_config",),
        help="A JSON object. `disable_any_whitespace` and `disable_additional_properties` hold "
        "JSON to that where requests have no options of their own; every `backend` is llguidance.",
    ),
    Flag(
        name="enable-azure-api",
        kind=BOOLEAN,
        group=ANSWERS,
        fields=("server.enable_azure_api",),
        help="Serve the paths of Azure OpenAI too: /openai/deployments/{name}/..., /openai/v1/...",
    ),
    Flag(
        name="azure-region",
        kind=TEXT,
        group=ANSWERS,
        fields=("server.azure_region",),
        help="What answers on Azure's paths carry as x-ms-region.",
    ),
)
