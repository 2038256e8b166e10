"""Sealed text comes back as it was; whatever was not sealed here is refused by name."""

from __future__ import annotations

import base64

import pytest

from api.services.responses.objects.sealed import seal, unseal
from engine.errors import InvalidParameterError

PARAM = "input[0].encrypted_content"


@pytest.mark.parametrize("text", ["", "plain", "𝄞 ñ\0\r\n", "half a pair: \ud834"])
def test_any_text_comes_back(text: str) -> None:
    assert unseal("reasoning", seal("reasoning", text), PARAM) == text


@pytest.mark.parametrize(
    "token",
    [
        "",
        "svx1.",
        "not ours",
        seal("reasoning", "secret")[:-4],
        seal("reasoning", "secret") + "\n",
        seal("reasoning", "secret").replace("svx1.", "svx2."),
        seal("compaction", "secret"),
        "svx1." + base64.urlsafe_b64encode(b"12345678secret").decode(),
        "svx1.ñ",
    ],
)
def test_what_was_not_sealed_here_is_refused_by_name(token: str) -> None:
    with pytest.raises(InvalidParameterError) as refusal:
        unseal("reasoning", token, PARAM)
    assert refusal.value.param == PARAM
    assert refusal.value.code == "invalid_encrypted_content"
