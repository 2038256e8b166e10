from __future__ import annotations

import re

from api.storage import ids


def test_ids_have_openai_s_forms():
    assert re.fullmatch(r"file-[0-9a-f]{48}", ids.new_id("file"))
    assert re.fullmatch(r"resp_[0-9a-f]{48}", ids.new_id("response"))
    assert re.fullmatch(r"batch_[0-9a-f]{48}", ids.new_id("batch"))


def test_the_order_of_ids_is_the_order_of_creation():
    made = [ids.new_id("file") for _ in range(2000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_a_text_that_no_id_can_be_is_not_sane():
    assert ids.is_sane(ids.new_id("conversation"))
    for text in ("", "a\0", "a b", "é", "x" * 129, "../a"):
        assert not ids.is_sane(text)
