"""The nouns that cross every border of the engine: what is asked for and what comes back.

All are msgspec structs, so that the same objects are encoded as msgpack between processes and
passed as they are in memory. Nothing here knows HTTP, OpenAI's field names beyond the sampling
parameters' own, or jax.
"""

from __future__ import annotations

import enum

import msgspec

MAX_STOP_STRINGS = 4
MAX_BAD_WORDS = 128
MAX_BAD_WORDS_TOKENS = 1024
MAX_LOGIT_BIAS = 1024
MAX_LOGPROB_TOKEN_IDS = 128

EMBEDDED_TOKEN = -2
"""In place of an id of a prompt: the token is an embedding."""
MAX_SEQUENCES_PER_REQUEST = 128


STEP_TOKENS_BOUNDS = (1, *(2**power for power in range(3, 15)))
"""vLLM's: 1, 8, 16, ... 16384."""


class FinishReason(enum.StrEnum):
    """Why a sequence ended. A failure is never `STOP`."""

    STOP = "stop"
    """An end-of-sequence or stop token, or (set by the API worker) a stop string."""
    LENGTH = "length"
    """`max_tokens` or the model's context is used up."""
    REPETITION = "repetition"
    """The output repeats itself as `SamplingParams.repetition_detection` describes."""
    ABORT = "abort"
    """The client went away or asked for it."""
    ERROR = "error"
    """`TokenDelta.error` says what happened."""


class RepetitionDetection(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When an output counts as stuck: it ends with one pattern, so many times over.

    Attributes:
        max_pattern_size: longest pattern looked for, in tokens; 0 looks for none.
        min_pattern_size: shortest one; 0 means 1.
        min_count: times the pattern must stand at the end, one after another.
    """

    max_pattern_size: int = 0
    min_pattern_size: int = 0
    min_count: int = 0


class SamplingParams(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the next token is chosen. Ranges are checked by `engine.validation.verify_sampling`.

    Attributes:
        max_tokens: most tokens to generate, at least 1; 0 only to score a prompt.
        temperature: 0 is greedy.
        top_k: 0 is off (the API turns vLLM's -1 into 0).
        seed: always filled when a request reaches the engine; the sampler uses
            hash(seed, sequence index, position) and nothing else for its randomness.
        logprobs: alternatives per generated token; 0 is the sampled token alone; None is off.
        logprob_token_ids: the alternatives are these ids, in this order, instead of the most
            likely ones; only with `logprobs`.
        ranks_allowed: the alternatives are the likeliest of the ids that may be chosen, instead of
            all; ids that may not be chosen have -inf. For searches that choose themselves.
        prompt_logprobs: as `logprobs`, for prompt tokens.
        stop_token_ids: besides the model's own end-of-sequence ids.
        bad_words_token_ids: token sequences that must not be completed.
        repetition_detection: ends an output that repeats itself, once it has `min_tokens`.
        skip_reading_prefix_cache: the whole prompt is computed, whatever the cache has of it.
        thinking_token_budget: most tokens inside `GenerateRequest.reasoning`; None is unlimited.
    """

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: dict[int, float] = {}
    allowed_token_ids: tuple[int, ...] | None = None
    bad_words_token_ids: tuple[tuple[int, ...], ...] = ()
    min_tokens: int = 0
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    seed: int = 0
    logprobs: int | None = None
    logprob_token_ids: tuple[int, ...] = ()
    ranks_allowed: bool = False
    prompt_logprobs: int | None = None
    thinking_token_budget: int | None = None
    repetition_detection: RepetitionDetection | None = None
    skip_reading_prefix_cache: bool = False

    @property
    def num_alternatives(self) -> int | None:
        """Alternatives of each generated token; None without logprobs."""
        return len(self.logprob_token_ids) or self.logprobs


class Grammar(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the output must be. Once it is complete only end-of-sequence ids are allowed.

    Attributes:
        source: llguidance's own form, as `engine.grammar.sources` writes it: Lark text, or a JSON
            object of grammars.
        begins_after: token id sequences; nothing is constrained until one of them was generated
            (the end of a reasoning block). Empty: from the first token.
        param: the client's field that asked for it; errors name it.
    """

    source: str
    begins_after: tuple[tuple[int, ...], ...] = ()
    param: str = "structured_outputs"


class ReasoningSpan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the model marks its thinking, in token ids.

    Attributes:
        start: opens it; empty when the model has no such mark.
        end: closes it, at least one id; forced when `thinking_token_budget` is used up.
        is_open: the prompt has already opened it.
    """

    start: tuple[int, ...]
    end: tuple[int, ...]
    is_open: bool = False


class PromptEmbeds(msgspec.Struct, frozen=True, kw_only=True):
    """Embeddings of a prompt's tokens, as the model's first layer reads them.

    Attributes:
        dtype: float32 | float16 | bfloat16.
        width: numbers of a row: the model's hidden size.
        data: `num_tokens` rows, one after another, little-endian.
    """

    dtype: str
    num_tokens: int
    width: int
    data: bytes


class GenerateRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request: `num_sequences` continuations of one prompt.

    Attributes:
        request_id: unique among live requests.
        names: what clients know it by (`engine.commands.EndRequests`), not unique.
        prompt_token_ids: at least one id, each in [0, vocab_size), or `EMBEDDED_TOKEN` where
            `prompt_embeds` has the token.
        prompt_embeds: what the prompt begins with instead of tokens; see `engine.prompt_embeds`.
        priority: smaller runs earlier (vLLM's order); equal priorities run first come first served.
        cache_salt: requests share prefix-cache pages only when their salts are equal.
        tenant: whom it is done for; those that wait get equal shares (`engine.scheduler.fairness`).
        can_wait: a line of a batch: it has what the others leave (`engine.scheduler.classes`).
        arrival_time_s: `time.time()` of the API worker that accepted it.
        grammar: constrains the output; None allows anything.
        reasoning: where thinking begins and ends; needed by `thinking_token_budget` alone.
        num_continued_tokens: the last so many ids of the prompt are an output that goes on:
            grammar and budget have followed them.
    """

    request_id: str
    prompt_token_ids: tuple[int, ...]
    sampling: SamplingParams
    num_sequences: int = 1
    priority: int = 0
    cache_salt: str = ""
    tenant: str = ""
    can_wait: bool = False
    arrival_time_s: float = 0.0
    grammar: Grammar | None = None
    reasoning: ReasoningSpan | None = None
    num_continued_tokens: int = 0
    prompt_embeds: PromptEmbeds | None = None
    names: tuple[str, ...] = ()


class TokenLogprobs(msgspec.Struct, frozen=True, array_like=True):
    """Raw log-softmax of the model (before penalties and temperature) at one position.

    Attributes:
        rank: 1-based rank of `token_id` by logit.
        top_token_ids: the most likely ids, best first, as many as asked for; or the ids that
            `SamplingParams.logprob_token_ids` asks for.
    """

    token_id: int
    logprob: float
    rank: int
    top_token_ids: tuple[int, ...]
    top_logprobs: tuple[float, ...]


class ErrorInfo(msgspec.Struct, frozen=True):
    """A typed error as it travels between processes. `kind` is a class name of `engine.errors`."""

    kind: str
    message: str
    param: str | None = None
    code: str | None = None
    retry_after_s: float | None = None


class Timings(msgspec.Struct, frozen=True, array_like=True):
    """When the engine first touched a sequence, `time.time()` seconds; 0.0 = not yet."""

    queued_s: float
    scheduled_s: float
    first_token_s: float
    last_token_s: float


class TokenDelta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one sequence gained in one step.

    Attributes:
        logprobs: one entry per id in `token_ids` when `SamplingParams.logprobs` was set.
        prompt_logprobs: on the first delta of sequence 0 when asked for: one entry per prompt
            token; the first is None, having nothing before it.
        finish_reason: set on the last delta of the sequence and on no other.
        stop_token_id: the id that stopped it, when one of `stop_token_ids` did (not for EOS).
        ends_in_text: it stopped though its last id is text like any other: its grammar's output
            was complete with it, and no more had room or was allowed.
        num_cached_tokens: prompt tokens whose KV came from the prefix cache at first admission.
        timings: with the first token and on the last delta.
        num_preemptions: on the last delta.
    """

    request_id: str
    sequence_index: int = 0
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprobs, ...] | None = None
    prompt_logprobs: tuple[TokenLogprobs | None, ...] | None = None
    finish_reason: FinishReason | None = None
    stop_token_id: int | None = None
    ends_in_text: bool = False
    error: ErrorInfo | None = None
    num_cached_tokens: int = 0
    timings: Timings | None = None
    num_preemptions: int = 0


class EngineStats(msgspec.Struct, frozen=True, kw_only=True):
    """Counters and gauges of one engine. Counters (`total_*`) only grow while the process lives.

    Attributes:
        num_pages: KV pages that sequences can have (without the trash page).
        total_steps_by_tokens: steps by tokens: at index i those of at most
            `STEP_TOKENS_BOUNDS[i]` and more than the bound before, at the end all larger ones.
        total_step_tokens: tokens computed by all steps.
        num_free_pages: those of them that nobody holds; cached ones that can be evicted count.
    """

    num_running: int = 0
    num_waiting: int = 0
    num_pages: int = 0
    num_free_pages: int = 0
    total_prompt_tokens: int = 0
    total_cached_tokens: int = 0
    total_generated_tokens: int = 0
    total_preemptions: int = 0
    total_prefix_queries: int = 0
    total_prefix_hits: int = 0
    total_steps: int = 0
    total_step_tokens: int = 0
    total_steps_by_tokens: tuple[int, ...] = ()
    total_compilations_after_ready: int = 0
    last_step_tokens: int = 0
    last_step_time_s: float = 0.0
    num_compiled_steps: int = 0
    num_planned_steps: int = 0


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the API must know of the loaded model; sent once when the engine is ready.

    Attributes:
        kv_dtype: of keys and values in KV pages.
        num_pages: KV pages of the pool, the trash page included.
        prompt_embeds_width: numbers of an embedding; 0 when prompts must be tokens.
        has_priority_scheduling: the engine runs with `scheduling_policy="priority"`; without it
            a request with a priority other than 0 is refused.
    """

    architecture: str
    vocab_size: int
    max_model_len: int
    eos_token_ids: tuple[int, ...]
    max_logprobs: int
    max_num_seqs: int
    fingerprint: str
    dtype: str
    platform: str
    device_kind: str
    num_parameters: int
    weight_bytes: int
    num_pages: int
    page_size: int
    kv_dtype: str = ""
    has_priority_scheduling: bool = False
    prompt_embeds_width: int = 0
