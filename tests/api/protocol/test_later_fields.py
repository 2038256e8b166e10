"""What this version cannot do is refused by name; neutral values pass."""

from __future__ import annotations

from typing import Any

import pytest

from api.protocol.chat import ChatCompletionRequest
from api.protocol.completions import CompletionRequest
from api.protocol.later_fields import (
    ANTHROPIC,
    CHAT,
    COMPLETIONS,
    GENERATE,
    GENERATE_SAMPLING,
    TOKENIZE,
    refuse_later_fields,
    refuse_media,
)
from api.protocol.responses.later import RESPONSES
from engine.errors import InvalidParameterError


@pytest.mark.parametrize("table", [CHAT, COMPLETIONS], ids=["chat", "completions"])
def test_every_value_but_the_neutral_ones_is_refused(table: dict[str, tuple[Any, ...]]) -> None:
    for name, neutral in table.items():
        for value in neutral:
            refuse_later_fields({name: value}, table)
        with pytest.raises(InvalidParameterError, match=f"'{name}'") as caught:
            refuse_later_fields({name: {"something": "else"}}, table)
        assert (caught.value.param, caught.value.code) == (name, "unsupported_parameter")


EMPTY = (False, 0, "", [], {})
TABLES = (CHAT, COMPLETIONS, TOKENIZE, ANTHROPIC, GENERATE, GENERATE_SAMPLING, RESPONSES)


@pytest.mark.parametrize("table", TABLES)
def test_what_is_empty_passes_only_in_the_type_of_the_field(
    table: dict[str, tuple[Any, ...]],
) -> None:
    for name in table:
        kinds = {type(value) for value in EMPTY if _passes({name: value}, table)}
        assert len(kinds) <= 1, (name, kinds)


def _passes(body: dict[str, Any], table: dict[str, tuple[Any, ...]]) -> bool:
    try:
        refuse_later_fields(body, table)
    except InvalidParameterError:
        return False
    return True


def test_no_field_is_both_honoured_and_refused() -> None:
    assert not set(CHAT) & set(ChatCompletionRequest.model_fields)
    assert not set(COMPLETIONS) & set(CompletionRequest.model_fields)


def test_false_is_not_mistaken_for_zero() -> None:
    with pytest.raises(InvalidParameterError):
        refuse_later_fields({"routed_experts_prompt_start": False}, CHAT)


@pytest.mark.parametrize("kind", ["image_url", "input_audio", "file", "video_url"])
def test_media_parts_are_refused_by_path(kind: str) -> None:
    body = {"messages": [{"role": "user", "content": [{"type": "text"}, {"type": kind}]}]}
    with pytest.raises(InvalidParameterError) as caught:
        refuse_media(body)
    assert caught.value.param == "messages[0].content[1].type"


OPENAI_CHAT = """metadata top_logprobs temperature top_p user safety_identifier prompt_cache_key
 prompt_cache_retention prompt_cache_options messages model service_tier modalities verbosity
 reasoning_effort max_completion_tokens frequency_penalty presence_penalty web_search_options
 response_format audio store moderation stream stop logit_bias logprobs max_tokens n prediction
 seed stream_options tools tool_choice parallel_tool_calls function_call functions"""
VLLM_CHAT = """messages model frequency_penalty logit_bias logprobs top_logprobs max_tokens
 max_completion_tokens n presence_penalty response_format seed stop stream stream_options
 temperature top_p tools tool_choice reasoning_effort thinking_token_budget include_reasoning
 parallel_tool_calls user use_beam_search top_k min_p repetition_penalty watermarking
 length_penalty stop_token_ids include_stop_str_in_output ignore_eos min_tokens
 skip_special_tokens spaces_between_special_tokens truncate_prompt_tokens truncation_side
 prompt_logprobs logprob_token_ids allowed_token_ids bad_words echo add_generation_prompt
 continue_final_message add_special_tokens documents chat_template chat_template_kwargs
 media_io_kwargs mm_processor_kwargs structured_outputs priority request_id session_id
 return_tokens_as_token_ids return_token_ids return_weight_versions routed_experts_prompt_start
 return_token_offsets return_prompt_text mm_payload return_mm_kwargs cache_salt
 kv_transfer_params ec_transfer_params vllm_xargs repetition_detection stream_interval best_of
 guided_json guided_regex guided_choice guided_grammar guided_decoding_backend
 guided_whitespace_pattern"""
BOTH_COMPLETIONS = """model prompt best_of echo frequency_penalty logit_bias logprobs max_tokens n
 presence_penalty seed stop stream stream_options suffix temperature top_p user use_beam_search
 top_k min_p repetition_penalty watermarking length_penalty stop_token_ids
 include_stop_str_in_output ignore_eos min_tokens skip_special_tokens
 spaces_between_special_tokens truncate_prompt_tokens truncation_side allowed_token_ids
 prompt_logprobs logprob_token_ids bad_words prompt_embeds add_special_tokens response_format
 structured_outputs priority request_id session_id return_tokens_as_token_ids return_token_ids
 return_weight_versions routed_experts_prompt_start return_token_offsets mm_payload
 return_mm_kwargs cache_salt kv_transfer_params ec_transfer_params vllm_xargs
 repetition_detection thinking_token_budget stream_interval guided_json guided_regex
 guided_choice guided_grammar"""


def test_every_documented_field_is_honoured_or_refused() -> None:
    chat = set(ChatCompletionRequest.model_fields) | set(CHAT)
    completions = set(CompletionRequest.model_fields) | set(COMPLETIONS)
    assert set((OPENAI_CHAT + " " + VLLM_CHAT).split()) <= chat
    assert set(BOTH_COMPLETIONS.split()) <= completions
