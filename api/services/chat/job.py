"""What all answers to one chat request have in common."""

from __future__ import annotations

import dataclasses
from typing import Any

from api.context import ServerContext
from api.protocol.chat import ChatCompletionRequest
from api.services.generation import logprobs as wire
from api.services.generation.reading import Reading
from api.services.generation.run import Generation
from api.services.guidance.tool_plan import ToolPlan
from api.services.prompts.rendering import RenderedPrompt
from api.services.requests import Identity
from engine.request import TokenLogprobs


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ChatAnswer:
    """How the answers to a chat request read, wherever their tokens come from.

    Attributes:
        plan: what the request wants of tools.
        reading: how the generated text becomes a message.
        role: whose message the answer is.
        echoed: text that `echo` puts before each answer.
        num_top: alternatives shown per token; None without `logprobs`.
    """

    context: ServerContext
    request: ChatCompletionRequest
    identity: Identity
    prompt: RenderedPrompt
    plan: ToolPlan
    reading: Reading
    role: str
    echoed: str
    num_top: int | None

    @property
    def is_plain(self) -> bool:
        """Chunks carry text alone."""
        request, options = self.request, self.request.stream_options
        has_usage = options is not None and bool(options.continuous_usage_stats)
        return self.num_top is None and not request.return_token_ids and not has_usage

    @property
    def names_tokens_by_id(self) -> bool:
        """`return_tokens_as_token_ids`, of the request or of the server."""
        flag = self.request.return_tokens_as_token_ids
        return self.context.settings.return_tokens_as_token_ids if flag is None else flag

    def logprobs(self, entries: list[TokenLogprobs]) -> dict[str, Any] | None:
        """The member `logprobs` of a choice; None when nobody asked for it."""
        if self.num_top is None:
            return None
        return wire.chat_logprobs(
            self.context.tokenizer, entries, self.num_top, self.names_tokens_by_id
        )

    def finish_reason(self, reason: str | None, num_calls: int) -> str | None:
        """`reason`, unless the choice ended by itself after a call.

        As with OpenAI and vLLM, a call of the one tool that the request named is a `stop`.
        """
        if reason != "stop" or not num_calls or self.plan.mode == "named":
            return reason
        return "function_call" if self.plan.is_legacy else "tool_calls"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ChatJob(ChatAnswer):
    """A request that was accepted, with the generation that answers it.

    Attributes:
        unenforced: words of its tools' schemas that the grammar leaves out.
    """

    generation: Generation
    unenforced: tuple[str, ...] = ()

    @property
    def without_effect(self) -> tuple[str, ...]:
        """Fields that everybody knows and nothing comes of, for the `warning` header."""
        return self.prompt.unused_variables + self.unenforced


def given_if(flag: bool | None, value: Any) -> Any:
    """`value` if it was asked for, else None."""
    return value if flag else None


def answering_role(context: ServerContext, request: ChatCompletionRequest) -> str:
    """As in vLLM: without a generation prompt the last message's role goes on."""
    if request.add_generation_prompt:
        return context.settings.response_role
    return request.messages[-1].role


def echoed_text(context: ServerContext, request: ChatCompletionRequest) -> str:
    """As in vLLM: the last message, if the answer continues its role."""
    if not request.echo:
        return ""
    last = request.messages[-1]
    if last.role != answering_role(context, request):
        return ""
    if isinstance(last.content, str):
        return last.content
    return "\n".join(part.plain_text for part in last.content or ())
