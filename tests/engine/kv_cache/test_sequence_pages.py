"""Pages seen from one sequence."""

from __future__ import annotations

from engine.kv_cache.sequence_pages import SequencePages
from engine.request import GenerateRequest, SamplingParams
from engine.sequence import Sequence


def make_pages(num_pages: int = 8) -> SequencePages:
    return SequencePages(
        num_pages=num_pages, page_size=2, num_slots=2, max_model_len=8, is_caching=True
    )


def make_sequence(*prompt: int, salt: str = "") -> Sequence:
    request = GenerateRequest(
        request_id="r",
        prompt_token_ids=prompt,
        sampling=SamplingParams(max_tokens=1),
        cache_salt=salt,
    )
    return Sequence.from_request(request, 0)


def publish_and_release(pages: SequencePages, sequence: Sequence) -> None:
    pages.start(sequence, 0, [])
    assert pages.extend(sequence, len(sequence.token_ids))
    pages.publish(sequence, len(sequence.token_ids))
    pages.release(sequence)


def test_the_last_prompt_token_is_never_taken_from_the_cache() -> None:
    pages = make_pages()
    publish_and_release(pages, make_sequence(1, 2, 3, 4))
    assert len(pages.find_prefix(make_sequence(1, 2, 3, 4))) == 1
    assert len(pages.find_prefix(make_sequence(1, 2, 3, 4, 5))) == 2


def test_other_salts_see_nothing() -> None:
    pages = make_pages()
    publish_and_release(pages, make_sequence(1, 2, 3))
    assert pages.find_prefix(make_sequence(1, 2, 3, salt="s")) == []


def test_too_few_pages_take_nothing() -> None:
    pages = make_pages(num_pages=3)
    sequence = make_sequence(1, 2, 3, 4, 5)
    pages.start(sequence, 0, [])
    assert not pages.extend(sequence, 5)
    assert sequence.page_ids == []
    pages.check([sequence])


def test_the_page_table_follows_and_is_zero_after_release() -> None:
    pages = make_pages()
    sequence = make_sequence(1, 2, 3)
    pages.start(sequence, 1, [])
    pages.extend(sequence, 3)
    assert pages.page_table_SP[1].tolist() == [*sequence.page_ids, 0, 0]
    held = sequence.page_ids
    pages.release(sequence)
    assert not pages.page_table_SP.any()
    assert len(held) == 2, "a plan under way still sees its pages"


def test_the_end_of_a_prefix_is_evicted_before_its_start() -> None:
    pages = make_pages(num_pages=4)
    publish_and_release(pages, make_sequence(1, 2, 3, 4, 5, 6))
    other = make_sequence(9, 9)
    pages.start(other, 0, [])
    pages.extend(other, 2)
    assert len(pages.find_prefix(make_sequence(1, 2, 3, 4, 5, 6, 7))) == 2


def test_distrust_forgets_what_the_sequence_published() -> None:
    pages = make_pages()
    sequence = make_sequence(1, 2, 3, 4)
    pages.start(sequence, 0, [])
    pages.extend(sequence, 4)
    pages.publish(sequence, 4)
    pages.distrust(sequence)
    pages.release(sequence)
    assert pages.find_prefix(make_sequence(1, 2, 3, 4, 5)) == []
    assert pages.pool.num_available == 7
