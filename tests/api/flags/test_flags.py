from __future__ import annotations

import dataclasses
import pathlib

import msgspec
import pytest

from api.flags import FLAGS
from api.flags import document as flags_doc
from api.flags import known as known_flags
from api.flags.parser import UsageError, environment_name, make_parser, parse_choices
from api.flags.types import to_size
from api.settings import ServerSettings
from engine.config import EngineConfig

ROOT = pathlib.Path(__file__).resolve().parents[3]


def parse(line: str, **environment: str):
    return parse_choices(line.split(), environment)


def refusal(line: str, **environment: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse(line, **environment)
    return str(caught.value)


def test_the_page_of_flags_is_in_step():
    assert (ROOT / "docs" / "flags.md").read_text() == flags_doc.make_page()


def test_every_field_of_the_settings_has_a_flag():
    fields = {field for flag in FLAGS for field in flag.fields}
    server = {f"server.{field.name}" for field in dataclasses.fields(ServerSettings)}
    engine = {f"engine.{name}" for name in EngineConfig.__struct_fields__}
    assert fields == (server | engine) - {"server.ready_step_age_s"}


def test_no_flag_is_defined_twice():
    names = [flag.name for flag in FLAGS] + [s for flag in FLAGS for s in flag.short]
    known = known_flags.BOOLEANS | known_flags.VALUES
    assert len(names) == len(set(names))
    assert not known & {name.removeprefix("--") for name in names}
    assert not known_flags.BOOLEANS & known_flags.VALUES
    assert set(known_flags.SHORT.values()) <= known


def test_nothing_given_is_all_defaults():
    choices = parse("")
    assert choices.server == ServerSettings()
    assert choices.engine == EngineConfig(max_num_queued_reqs=1024)
    assert choices.warnings == ()


@pytest.mark.parametrize("line", ["org/model", "--model org/model", "--model=org/model"])
def test_the_model_may_stand_alone(line):
    assert parse(line).engine.model == "org/model"


@pytest.mark.parametrize(
    "line", ["--max-model-len 16k", "--max_model_len 16000", "--max-model_len=16k"]
)
def test_underscores_are_dashes(line):
    assert parse(line).engine.max_model_len == 16000


@pytest.mark.parametrize("word", ["-1", "auto"])
def test_the_models_own_length_can_be_asked_for(word):
    assert parse(f"--max-model-len {word}").engine.max_model_len is None


@pytest.mark.parametrize(
    ("word", "value"),
    [("7", 7), ("16k", 16_000), ("16K", 16_384), ("1.5M", 1_572_864), ("2g", 2 * 10**9)],
)
def test_sizes_have_suffixes(word, value):
    assert to_size(word) == value


@pytest.mark.parametrize("word", ["", "k", "1.5", "1e", "x", "1kk", "nan", "inf", "0.3k3"])
def test_what_is_no_size_is_refused(word):
    assert "--max-model-len" in refusal(f"--max-model-len={word}")


def test_switches_have_a_negation():
    assert parse("--no-enable-prefix-caching").engine.enable_prefix_caching is False
    assert parse("--strict-fields").server.strict_fields is True


def test_lists_take_several_words_and_several_flags():
    assert parse("--api-key a b --api-key c").server.api_keys == ("a", "b", "c")
    assert parse('--allowed-origins ["*"]').server.allowed_origins == ("*",)
    assert parse("--served-model-name x y").server.served_model_name == ("x", "y")


def test_keys_are_not_printed():
    assert "hunter2" not in repr(parse("--api-key hunter2"))


def test_json_is_given_whole_or_by_parts():
    whole = parse('--override-generation-config {"temperature":0.5}')
    parts = parse("--override-generation-config.temperature 0.5")
    assert whole.server.override_generation_config == {"temperature": 0.5}
    assert parts.server.override_generation_config == {"temperature": 0.5}


def test_the_look_of_json_is_the_operators_choice():
    line = '--structured-outputs-config {"backend":"xgrammar","disable_any_whitespace":true}'
    wanted = {"backend": "xgrammar", "disable_any_whitespace": True}
    assert parse(line).server.structured_outputs_config == wanted
    parts = parse("--structured-outputs-config.disable_any_whitespace true")
    assert parts.server.structured_outputs_config == {"disable_any_whitespace": True}


def test_an_override_that_is_no_sampling_default_is_warned_about():
    choices = parse('--override-generation-config {"top_k":-1,"temprature":1}')
    assert choices.server.override_generation_config["top_k"] == -1
    assert len(choices.warnings) == 1
    assert "'temprature' has no effect" in choices.warnings[0]


def test_what_servax_does_anyway_needs_no_word():
    assert parse("-pp 1 --logprobs-mode raw_logprobs --runner generate").warnings == ()


def test_parts_of_json_can_be_items_of_a_list():
    choices = parse("--hf-overrides.eos_token_id+ 3 --hf-overrides.eos_token_id+ 4")
    assert choices.engine.hf_overrides == {"eos_token_id": [3, 4]}


def test_short_names_work():
    assert parse("-tp 2 -dp 3").engine.tensor_parallel_size == 2
    assert parse("--uvicorn-log-level debug").server.log_level == "debug"


def test_the_queue_bound_reaches_both_sides():
    choices = parse("--max-num-queued-reqs 5")
    assert choices.server.max_num_queued_reqs == choices.engine.max_num_queued_reqs == 5


@pytest.mark.parametrize(
    "line",
    [
        "--enforce-eager",
        "--no-enforce-eager",
        "--quantization fp8",
        "-q fp8",
        "--worker-cls a --worker-cls b",
        "--speculative-config.model small",
        "--cudagraph-capture-sizes 1 2 4",
        "--swap-space=4",
        "--enable-chunked-prefill",
        "--limit_mm_per_prompt {}",
    ],
)
def test_vllms_other_flags_are_accepted_with_one_warning_each(line):
    warnings = parse(line).warnings
    assert len(warnings) == 1
    assert "no effect" in warnings[0]


def test_every_known_flag_is_accepted():
    for name in known_flags.BOOLEANS:
        assert len(parse(f"--{name}").warnings) == 1
    words = " ".join(f"--{name} 1" for name in sorted(known_flags.VALUES))
    assert len(parse(words).warnings) == len(known_flags.VALUES)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--max-modellen 3", "--max-model-len"),
        ("--no-enable-prefix-cachin", "--enable-prefix-caching"),
        ("--frobnicate", "unknown flag --frobnicate"),
        ("--max-model 3", "unknown flag"),
        ("model extra", "unexpected argument 'extra'"),
        ("--trust-remote-code", "never runs code"),
        ("--trust_remote_code", "never runs code"),
        ("--calculate-kv-scales", "from the checkpoint"),
        ("--kv-cache-dtype fp4", "is not one of auto"),
        ("--dtype int8", "is not one of"),
        ("-pp 2", "servax does 1 only"),
        ("--logprobs-mode raw_logits", "servax does raw_logprobs only"),
        ("--tokenizer-mode slow", "is not supported"),
        ("--middleware guard.Keys", "runs no code"),
        ("--port 70000", "outside 0..65535"),
        ("--port x", "--port"),
        ("--gpu-memory-utilization 1.5", "outside"),
        ("--gpu-memory-utilization nan", "outside"),
        ("--override-generation-config [1]", "not a JSON object"),
        ('--override-generation-config {"temperature":9}', "Invalid 'temperature'"),
        ("--override-generation-config.top_k 1.5", "Invalid 'top_k': expected an integer"),
        ('--override-generation-config {"top_p":"x"}', "Invalid 'top_p': expected a number"),
        ('--override-generation-config {"max_new_tokens":0}', "Invalid 'max_new_tokens'"),
        ('--structured-outputs-config {"back_end":"auto"}', "'back_end' is not one of backend"),
        ('--structured-outputs-config {"backend":"x"}', "'backend' must be one of"),
        ('--structured-outputs-config {"enable_in_reasoning":true}', "must be one of false"),
        ('--structured-outputs-config {"disable_any_whitespace":1}', "must be one of true, false"),
        ("--chat-template-content-format json", "is not one of"),
        ("--served-model-name=", "'' is not a name"),
        ('--served-model-name ["a",""]', "is not a name"),
        ("--dtype", "expected one argument"),
        ("--config /nowhere.yaml", "/nowhere.yaml"),
    ],
)
def test_what_cannot_be_honoured_is_an_error_that_says_so(line, said):
    assert said in refusal(line)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("port: [1, 2]", "port takes one value"),
        ("max_model_len: [1]", "max_model_len takes one value"),
        ("enable-prefix-caching: [true]", "enable-prefix-caching takes one value"),
        ("override-generation-config: [1]", "takes one value"),
        ("enforce-eager: [a]", "takes one value"),
        ("config: other.yaml", "cannot name another one"),
        ("- port", "not a mapping"),
    ],
)
def test_a_file_of_flags_says_one_thing_of_each(tmp_path, content, said):
    file = tmp_path / "flags.yaml"
    file.write_text(content)
    assert said in refusal(f"--config {file}")


def test_items_of_a_list_are_no_flags(tmp_path):
    file = tmp_path / "flags.yaml"
    file.write_text("api-key: [a, --port, '5']\n")
    assert parse(f"--config {file}").server.api_keys == ("a", "--port", "5")


def test_the_environment_is_weaker_than_the_file_and_the_file_than_the_line(tmp_path):
    file = tmp_path / "flags.yaml"
    file.write_text(
        "model: from-file\nport: 2\napi-key: [a, b]\nenable_prefix_caching: false\n"
        "max-model-len: 16k\noverride-generation-config: {top_k: 3}\ndtype: null\n"
    )
    choices = parse(
        f"--config {file} --port 3 --api-key z",
        SERVAX_PORT="1",
        SERVAX_HOST="::1",
        SERVAX_STRICT_FIELDS="true",
        SERVAX_SERVED_MODEL_NAME="x,y",
    )
    assert choices.engine.model == "from-file"
    assert choices.server.port == 3
    assert choices.server.host == "::1"
    assert choices.server.api_keys == ("z",)
    assert choices.server.strict_fields is True
    assert choices.server.served_model_name == ("x", "y")
    assert choices.engine.enable_prefix_caching is False
    assert choices.engine.max_model_len == 16000
    assert choices.server.override_generation_config == {"top_k": 3}


def test_a_config_file_may_be_written_for_vllm(tmp_path):
    file = tmp_path / "flags.yaml"
    file.write_text("enforce-eager: true\nlimit-mm-per-prompt: {image: 1}\n")
    assert len(parse(f"--config {file}").warnings) == 2
    file.write_text("frobnicate: 1\n")
    assert "--frobnicate" in refusal(f"--config {file}")
    file.write_text("- a\n")
    assert "mapping" in refusal(f"--config {file}")


def test_the_key_may_come_from_vllms_variable():
    assert parse("", VLLM_API_KEY="k").server.api_keys == ("k",)
    assert parse("", VLLM_API_KEY="k", SERVAX_API_KEY="s").server.api_keys == ("s",)


def test_an_unknown_variable_of_ours_is_warned_about():
    assert parse("", SERVAX_PROT="1").warnings == (
        "environment variable SERVAX_PROT is not known and is ignored",
    )
    assert "SERVAX_PORT" in refusal("", SERVAX_PORT="x")


def test_vllms_variables_have_their_effect_or_a_warning():
    choices = parse("", VLLM_LOG_STATS_INTERVAL="3", VLLM_TORCH_PROFILER_DIR="/tmp/traces")
    assert choices.server.log_stats_interval_s == 3
    assert choices.engine.profiler_config == {"torch_profiler_dir": "/tmp/traces"}
    assert choices.warnings == ()
    assert len(parse("", VLLM_MAX_N_SEQUENCES="3", VLLM_SERVER_DEV_MODE="1").warnings) == 1


def test_variables_have_one_name_each():
    names = [environment_name(flag) for flag in FLAGS]
    assert len(names) == len(set(names))


def test_help_mentions_every_flag():
    text = make_parser().format_help()
    for flag in FLAGS:
        assert f"--{flag.name}" in text
        assert flag.help
    assert "--quantization" not in text


def test_the_choices_can_be_sent_to_the_engine():
    config = parse("m --max-num-seqs 4").engine
    assert msgspec.json.decode(msgspec.json.encode(config), type=EngineConfig) == config
