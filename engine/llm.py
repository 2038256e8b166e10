"""The engine without a server: prompts in, texts out, in this process.

    from engine import LLM
    from engine.request import SamplingParams

    with LLM() as llm:
        outputs = llm.generate("Hello", SamplingParams(max_tokens=16, temperature=0))
        print(outputs[0].outputs[0].text)

The same service and the same messages as in the engine process, over a channel in memory.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import itertools
import threading
import weakref
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, TypeAlias, cast

import msgspec

from engine.commands import Command, ResetPrefixCache, Sleep, WakeTag, WakeUp
from engine.config import EngineConfig
from engine.errors import EngineDiedError, InvalidParameterError
from engine.loading import Loaded, load_engine
from engine.messages import AbortRequests, AddRequest, Control, Done, Refused, StepDeltas
from engine.outputs import OutputBuilder, RequestOutput
from engine.prompt_embeds import embedded_prompt, verify_embeds, verify_finite
from engine.request import (
    EngineStats,
    GenerateRequest,
    Grammar,
    ModelInfo,
    PromptEmbeds,
    SamplingParams,
    TokenDelta,
)
from engine.service import EngineService
from engine.streams import to_exception
from engine.text.chat_template import ChatTemplate
from engine.text.tokenizer import Tokenizer
from engine.transport.memory import MemoryEndpoint
from engine.validation import verify_request, verify_sampling, verify_stop_strings

Prompt: TypeAlias = str | Sequence[int] | PromptEmbeds
Message: TypeAlias = Mapping[str, Any]

DEFAULT_MAX_TOKENS = 16
COMMAND_POLL_S = 0.005
CLIENT_ID = b"llm"


class LLM:
    """A model, loaded. Not for several threads; use `engine.client.EngineClient` in a server."""

    def __init__(self, model: str = "", **options: object) -> None:
        """Load a model.

        Args:
            model: a Hugging Face folder, a hub id, or "" for the embedded model.
            options: any other field of `engine.config.EngineConfig`.

        Raises:
            TypeError: an option is unknown or of the wrong type.
            SetupError: the operator must change something.
        """
        self.config = _make_config(model, options)
        # First what is quickly read and may be wrong.
        self.tokenizer = _load_tokenizer(self.config)
        self._loaded = load_engine(self.config)
        self._endpoint = MemoryEndpoint()
        self._service = EngineService(
            self._loaded.core, self._endpoint, self._loaded.info, self._loaded.facilities
        )
        self._numbers = itertools.count()
        self._warm_up = threading.Thread(target=self._loaded.warm_up, name="compile", daemon=True)
        self._warm_up.start()
        # Also at interpreter exit: a thread inside XLA's compiler must not outlive Python.
        self._finalizer = weakref.finalize(self, _stop, self._loaded, self._warm_up)

    @property
    def info(self) -> ModelInfo:
        """The loaded model."""
        return self._loaded.info

    @property
    def stats(self) -> EngineStats:
        """Counters since loading."""
        return self._loaded.core.stats

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        n: int = 1,
        stop: Sequence[str] = (),
        grammar: Grammar | Sequence[Grammar | None] | None = None,
    ) -> list[RequestOutput]:
        """Continue every prompt; outputs are in the order of the prompts.

        Args:
            prompts: a text, a list of token ids, embeddings (with `enable_prompt_embeds`), or a
                list of any of these.
            sampling_params: for all prompts, or one for each; None = 16 tokens at temperature 1.
                A `seed` of 0 means: derive one from the engine's seed and the request's number.
            n: continuations of each prompt.
            stop: strings that end a continuation; they are not part of its text.
            grammar: what every continuation must be, or one for each prompt;
                `engine.grammar.sources` makes its source from a JSON schema, a regular expression,
                choices or Lark.

        Raises:
            InvalidParameterError, ContextLengthError: before anything is generated.
            EngineDiedError: the device is beyond recovery.
        """
        listed = _list_prompts(prompts)
        samplings = _list_samplings(sampling_params, len(listed))
        grammars = _list_grammars(grammar, len(listed))
        verify_stop_strings(stop)
        builders = [
            self._make_builder(prompt, sampling, n, stop, each)
            for prompt, sampling, each in zip(listed, samplings, grammars, strict=True)
        ]
        self._run({builder.request.request_id: builder for builder in builders})
        return [builder.output for builder in builders]

    def chat(
        self,
        messages: Sequence[Message] | Sequence[Sequence[Message]],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        n: int = 1,
        stop: Sequence[str] = (),
        grammar: Grammar | Sequence[Grammar | None] | None = None,
    ) -> list[RequestOutput]:
        """Answer one conversation, or several. Arguments and errors as in `generate`.

        Raises:
            InvalidParameterError: also when the model has no chat template.
        """
        is_one = bool(messages) and isinstance(messages[0], Mapping)
        chats = cast("Sequence[Sequence[Message]]", [messages] if is_one else messages)
        prompts = [
            self.tokenizer.encode(self._render(chat), add_special_tokens=False) for chat in chats
        ]
        return self.generate(prompts, sampling_params, n=n, stop=stop, grammar=grammar)

    def sleep(self, level: int = 1) -> None:
        """Free the device: weights move to host memory (1) or are dropped (2), pages are dropped.

        Raises:
            ConflictError: the weights were dropped before.
        """
        self._obey(Sleep(level))

    def wake_up(self, tags: Sequence[str] | None = None) -> None:
        """Bring back what is missing, or only `tags`: "weights", "kv_cache".

        Raises:
            ConflictError: the checkpoint cannot be read any more, or is another one.
        """
        self._obey(WakeUp(tuple(WakeTag(tag) for tag in tags or ())))

    def reset_prefix_cache(self) -> None:
        """Forget every cached prefix."""
        self._obey(ResetPrefixCache())

    def wait_until_compiled(self) -> None:
        """Block until the larger steps are compiled too; generating works before, but slower."""
        self._warm_up.join()

    def close(self) -> None:
        """Stop compiling in the background; may be called twice."""
        self._finalizer()

    def __enter__(self) -> LLM:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _obey(self, command: Command) -> None:
        call_id = next(self._numbers)
        self._endpoint.put(CLIENT_ID, Control(call_id, command))
        while True:
            self._service.turn(COMMAND_POLL_S)
            for message in self._endpoint.take(CLIENT_ID):
                if isinstance(message, Refused):
                    raise to_exception(message.error) or EngineDiedError(message.error.message)
                if isinstance(message, Done):
                    return

    def _render(self, messages: Sequence[Message]) -> str:
        if self._chat_template is None:
            raise InvalidParameterError("The model has no chat template.", param="messages")
        return self._chat_template.render([dict(message) for message in messages])

    @functools.cached_property
    def _chat_template(self) -> ChatTemplate | None:
        """Compiled once: that takes many times as long as rendering."""
        source = self.tokenizer.config.chat_template
        return ChatTemplate(source, self.tokenizer.config.special_tokens) if source else None

    def _make_builder(
        self,
        prompt: Prompt,
        sampling: SamplingParams,
        n: int,
        stop: Sequence[str],
        grammar: Grammar | None,
    ) -> OutputBuilder:
        text = prompt if isinstance(prompt, str) else None
        embeds = prompt if isinstance(prompt, PromptEmbeds) else None
        if embeds is not None:
            verify_embeds(embeds, self.info)
            verify_finite(embeds)
        number = next(self._numbers)
        seed = sampling.seed or self.config.seed * 1_000_003 + number + 1
        request = GenerateRequest(
            request_id=f"llm-{number}",
            prompt_token_ids=self._token_ids(prompt),
            prompt_embeds=embeds,
            sampling=msgspec.structs.replace(sampling, seed=seed),
            num_sequences=n,
            grammar=grammar,
        )
        verify_sampling(request.sampling, self.info)
        verify_request(request, self.info)
        return OutputBuilder(request, text, self.tokenizer, stop)

    def _token_ids(self, prompt: Prompt) -> tuple[int, ...]:
        if isinstance(prompt, PromptEmbeds):
            return embedded_prompt(prompt)
        return tuple(self.tokenizer.encode(prompt) if isinstance(prompt, str) else prompt)

    def _run(self, builders: dict[str, OutputBuilder]) -> None:
        """Keep the engine full, but its queue short, until every builder is finished."""
        waiting = collections.deque(builders.values())
        live: dict[str, OutputBuilder] = {}
        try:
            while waiting or live:
                while waiting and _num_sequences(live) < 2 * self.info.max_num_seqs:
                    builder = waiting.popleft()
                    live[builder.request.request_id] = builder
                    self._endpoint.put(CLIENT_ID, AddRequest(builder.request))
                self._service.turn(0.0)
                self._receive(live)
        finally:
            if live:
                self._endpoint.put(CLIENT_ID, AbortRequests(tuple(live)))
            self._carry_out_aborts()

    def _carry_out_aborts(self) -> None:
        """Leave nothing running that nobody waits for."""
        # The answers are there; of an engine that dies now, whoever calls next is told.
        with contextlib.suppress(EngineDiedError):
            self._service.turn(0.0)
        self._endpoint.take(CLIENT_ID)

    def _receive(self, live: dict[str, OutputBuilder]) -> None:
        for message in self._endpoint.take(CLIENT_ID):
            if isinstance(message, StepDeltas):
                for delta in message.deltas:
                    if builder := live.get(delta.request_id):
                        self._push(live, builder, delta)

    def _push(
        self, live: dict[str, OutputBuilder], builder: OutputBuilder, delta: TokenDelta
    ) -> None:
        refusal = to_exception(delta.error) if delta.error else None
        if refusal is not None:
            raise refusal
        if builder.push(delta):
            indices = (delta.sequence_index,)
            self._endpoint.put(CLIENT_ID, AbortRequests((delta.request_id,), indices))
        if builder.output.finished:
            del live[delta.request_id]


def _make_config(model: str, options: Mapping[str, object]) -> EngineConfig:
    unknown = sorted(set(options) - set(EngineConfig.__struct_fields__))
    if unknown:
        raise TypeError(f"LLM has no option {unknown[0]!r}; see engine.config.EngineConfig")
    try:
        return msgspec.convert({"model": model, **options}, EngineConfig)
    except msgspec.ValidationError as error:
        raise TypeError(str(error)) from None


def _load_tokenizer(config: EngineConfig) -> Tokenizer:
    from engine.weights.source import find_tokenizer_folder

    return Tokenizer.from_folder(find_tokenizer_folder(config))


def _list_prompts(prompts: Prompt | Sequence[Prompt]) -> list[Prompt]:
    if isinstance(prompts, str | PromptEmbeds) or (prompts and isinstance(prompts[0], int)):
        return [cast("Prompt", prompts)]
    return list(cast("Sequence[Prompt]", prompts))


def _list_samplings(
    sampling: SamplingParams | Sequence[SamplingParams] | None, number: int
) -> list[SamplingParams]:
    if sampling is None:
        return [SamplingParams(max_tokens=DEFAULT_MAX_TOKENS)] * number
    if isinstance(sampling, SamplingParams):
        return [sampling] * number
    if len(sampling) != number:
        message = f"{len(sampling)} sampling parameters for {number} prompts"
        raise InvalidParameterError(message, param="sampling_params")
    return list(sampling)


def _list_grammars(
    grammar: Grammar | Sequence[Grammar | None] | None, number: int
) -> list[Grammar | None]:
    if grammar is None or isinstance(grammar, Grammar):
        return [grammar] * number
    if len(grammar) != number:
        message = f"{len(grammar)} grammars for {number} prompts"
        raise InvalidParameterError(message, param="grammar")
    return list(grammar)


def _num_sequences(live: Mapping[str, OutputBuilder]) -> int:
    return sum(builder.request.num_sequences for builder in live.values())


def _stop(loaded: Loaded, warm_up: threading.Thread) -> None:
    loaded.close()
    warm_up.join()
