"""LangChain's standard integration tests for ChatOpenAI; `test_foreign_clients.py` runs them."""

from __future__ import annotations

import os

import openai
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests

# What a model of 1.1 million parameters does not do, with the server doing its part.
BEYOND_THE_MODEL = {
    "test_tool_calling": "asked for a magic function of 3, the model invents the numbers",
    "test_tool_calling_async": "asked for a magic function of 3, the model invents the numbers",
    "test_tool_calling_with_no_arguments": "the model gives arguments to a tool that has none",
    "test_json_mode": "the model does not end its object within 200 tokens",
    "test_unicode_tool_call_integration": "the model does not write Chinese",
}
for name, reason in BEYOND_THE_MODEL.items():
    pytest.mark.xfail(
        reason=reason,
        raises=(AssertionError, openai.LengthFinishReasonError),
    )(getattr(ChatModelIntegrationTests, name))


class TestChatOpenAI(ChatModelIntegrationTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, object]:
        url = os.environ["SERVAX_URL"] + "/v1"
        return {
            "model": "servax-tiny",
            "base_url": url,
            "api_key": "unused",
            "temperature": 0,
            "max_tokens": 200,
            "stream_usage": True,
            # so small a model, sampled greedily, repeats itself where a format lets it
            "frequency_penalty": 1.0,
            "max_retries": 0,
        }

    @property
    def model_override_value(self) -> str:
        return "servax-tiny"

    @property
    def supports_json_mode(self) -> bool:
        return True
