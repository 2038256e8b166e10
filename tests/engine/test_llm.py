from __future__ import annotations

import pytest

from engine import LLM
from engine.errors import ContextLengthError, InvalidParameterError, ModelFormatError
from engine.request import SamplingParams

GREEDY = SamplingParams(max_tokens=8, temperature=0.0)


@pytest.fixture(scope="module")
def llm():
    with LLM(
        max_num_seqs=4, max_model_len=128, max_num_batched_tokens=32, check_invariants=True
    ) as llm:
        yield llm


def token_ids(outputs):
    return [completion.token_ids for output in outputs for completion in output.outputs]


def test_a_text_is_continued(llm):
    (output,) = llm.generate("Hello", GREEDY)
    completion = output.outputs[0]
    assert output.prompt == "Hello"
    assert output.finished
    assert len(completion.token_ids) == 8
    assert completion.text == llm.tokenizer.decode(completion.token_ids)
    assert completion.finish_reason == "length"


def test_ids_give_what_their_text_gives(llm):
    ids = llm.tokenizer.encode("Hello")
    assert (
        token_ids(llm.generate([ids, "Hello"], GREEDY))[0]
        == token_ids(llm.generate(ids, GREEDY))[0]
    )


def test_more_prompts_than_slots_all_end_in_order(llm):
    prompts = [f"Number {i} is" for i in range(30)]
    together = llm.generate(prompts, GREEDY)
    assert [output.prompt for output in together] == prompts
    assert token_ids(together)[17] == token_ids(llm.generate(prompts[17], GREEDY))[0]


def test_each_prompt_can_have_its_own_parameters(llm):
    samplings = [SamplingParams(max_tokens=2), SamplingParams(max_tokens=5, logprobs=1)]
    first, second = llm.generate(["a", "b"], samplings)
    assert len(first.outputs[0].token_ids) <= 2
    assert first.outputs[0].logprobs is None
    assert len(second.outputs[0].logprobs) == len(second.outputs[0].token_ids)


def test_a_seed_repeats_and_sequences_of_a_request_differ(llm):
    sampling = SamplingParams(max_tokens=8, temperature=2.0, seed=5, ignore_eos=True)
    once, again = (token_ids(llm.generate("Hello", sampling, n=3)) for _ in range(2))
    assert once == again
    assert len({tuple(ids) for ids in once}) > 1


def test_a_stop_string_ends_the_text_before_it(llm):
    sampling = SamplingParams(max_tokens=40, temperature=0.0, ignore_eos=True)
    whole = llm.generate("Hello", sampling)[0].outputs[0].text
    stop = whole[10:13]
    cut = llm.generate("Hello", sampling, stop=[stop])[0].outputs[0]
    assert cut.text == whole[: whole.index(stop)]
    assert (cut.finish_reason, cut.stop_reason) == ("stop", stop)


def test_nothing_runs_on_after_a_stop_string_ended_it(llm):
    sampling = SamplingParams(max_tokens=40, temperature=0.0, ignore_eos=True)
    stop = llm.generate("Hello", sampling)[0].outputs[0].text[10:13]
    llm.generate("Hello", sampling, stop=[stop])
    assert llm.stats.num_running == 0
    assert llm.stats.num_free_pages == llm.stats.num_pages


def test_a_model_without_tokenizer_is_refused_before_it_is_loaded(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr("engine.llm.load_engine", lambda config: pytest.fail("loaded"))
    with pytest.raises(ModelFormatError, match=r"tokenizer\.json"):
        LLM(str(tmp_path))


def test_a_chat_template_is_compiled_once(llm, monkeypatch):
    llm.chat([{"role": "user", "content": "Hello"}], GREEDY)
    monkeypatch.setattr("engine.llm.ChatTemplate", None)
    assert len(llm.chat([[{"role": "user", "content": "Hello"}]] * 2, GREEDY)) == 2


def test_a_chat_is_answered(llm):
    (output,) = llm.chat([{"role": "user", "content": "Who are you?"}], GREEDY)
    assert output.outputs[0].text


def test_prompt_logprobs_have_one_entry_per_token(llm):
    sampling = SamplingParams(max_tokens=1, prompt_logprobs=0)
    (output,) = llm.generate("one two three", sampling)
    assert len(output.prompt_logprobs) == len(output.prompt_token_ids)
    assert output.prompt_logprobs[0] is None


def test_what_cannot_fit_is_refused(llm):
    with pytest.raises(ContextLengthError):
        llm.generate([[5] * 500], GREEDY)


def test_what_is_out_of_range_is_refused_by_name(llm):
    with pytest.raises(InvalidParameterError) as caught:
        llm.generate("Hello", SamplingParams(max_tokens=1, temperature=-1.0))
    assert caught.value.param == "temperature"
    with pytest.raises(InvalidParameterError):
        llm.generate(["a", "b"], [GREEDY])


def test_every_token_is_counted_and_every_page_comes_back(llm):
    before = llm.stats.total_generated_tokens
    outputs = llm.generate(["a", "b", "c"], GREEDY, n=2)
    num_tokens = sum(len(ids) for ids in token_ids(outputs))
    assert llm.stats.total_generated_tokens - before == num_tokens
    assert llm.stats.num_free_pages == llm.stats.num_pages
    assert llm.stats.total_compilations_after_ready == 0


def test_an_unknown_option_is_named():
    with pytest.raises(TypeError, match="no option 'max_sequences'"):
        LLM(max_sequences=3)


def test_an_option_of_the_wrong_type_is_named():
    with pytest.raises(TypeError, match="max_num_seqs"):
        LLM(max_num_seqs="many")
