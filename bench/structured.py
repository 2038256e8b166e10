"""`servax bench structured`: what a grammar costs, constrained and free runs in turn."""

from __future__ import annotations

import argparse
import json
import pathlib
import random
import string
import time
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from bench.environment import describe_device
from bench.random_model import LlamaShape, make_llama
from bench.results import show_result, summarize
from engine.grammar.sources import JsonOptions, from_json_schema
from engine.llm import LLM
from engine.request import Grammar, SamplingParams

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "kind": {"enum": ["student", "teacher", "visitor"]},
        "scores": {"type": "array", "items": {"type": "number"}},
    },
    "required": ["name", "age", "kind", "scores"],
    "additionalProperties": False,
}
SCHEMA = {"type": "array", "items": PERSON, "minItems": 1000}
"""Long enough to fill any output."""


def main(arguments: list[str]) -> int:
    """Run the benchmark."""
    options = parser().parse_args(arguments)
    return show_result("structured", run(options), options.output)


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="servax bench structured", description=__doc__)
    add = made.add_argument
    add("--num-seqs", type=int, default=32)
    add("--input-len", type=int, default=32)
    add("--output-len", type=int, default=64)
    add("--repeats", type=int, default=3)
    add("--output", default="", help="JSON result file")
    return made


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Free and constrained generation by the random 153M llama, in turn, `--repeats` times."""
    folder = make_llama(pathlib.Path("/tmp/servax-bench/llama-153m"))
    tokenizer = make_byte_tokenizer(pathlib.Path("/tmp/servax-bench/bytes-32k"))
    grammar = Grammar(source=from_json_schema(SCHEMA, JsonOptions(any_whitespace=False)))
    seconds: dict[str, list[float]] = {}
    cpu_seconds: dict[str, list[float]] = {}
    with LLM(
        str(folder), tokenizer=str(tokenizer), max_num_seqs=options.num_seqs, max_model_len=512
    ) as llm:
        llm.wait_until_compiled()
        for repeat in range(-1, options.repeats):  # the first round warms up
            for temperature in (0.0, 1.0):
                for name, given in (("free", None), ("json", grammar)):
                    cpu_start_s = time.process_time()
                    took_s = generate_once(llm, options, temperature, given)
                    cpu_s = time.process_time() - cpu_start_s
                    if repeat < 0:
                        continue
                    arm = f"{name}, temperature {temperature:g}"
                    seconds.setdefault(arm, []).append(took_s)
                    cpu_seconds.setdefault(arm, []).append(cpu_s)
    return {
        "arguments": vars(options),
        "device": describe_device(),
        "result": {
            "seconds": {name: summarize(samples) for name, samples in seconds.items()},
            "cpu_seconds": {name: summarize(samples) for name, samples in cpu_seconds.items()},
            "cost": _costs(seconds),
            "cost_in_cpu_time": _costs(cpu_seconds),
        },
    }


def _costs(seconds: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """By temperature: wall time is what users see, CPU time is what a loaded machine can tell."""
    return {
        f"temperature {temperature}": _cost(
            seconds[f"free, temperature {temperature}"], seconds[f"json, temperature {temperature}"]
        )
        for temperature in (0, 1)
    }


def _cost(free: list[float], bound: list[float]) -> dict[str, float]:
    """Share of throughput lost, by pairs of runs that followed one another."""
    return summarize([1 - one / other for one, other in zip(free, bound, strict=True)])


def generate_once(
    llm: LLM, options: argparse.Namespace, temperature: float, grammar: Grammar | None
) -> float:
    """Seconds to answer all prompts, each as long as every other."""
    numbers = random.Random(7)
    prompts = [
        [numbers.randrange(300, 30_000) for _ in range(options.input_len)]
        for _ in range(options.num_seqs)
    ]
    sampling = SamplingParams(
        max_tokens=options.output_len, temperature=temperature, ignore_eos=True, seed=1
    )
    start_s = time.perf_counter()
    outputs = llm.generate(prompts, sampling, grammar=grammar)
    duration_s = time.perf_counter() - start_s
    made = sum(len(output.outputs[0].token_ids) for output in outputs)
    assert made == options.num_seqs * options.output_len, made
    return duration_s


def make_byte_tokenizer(folder: pathlib.Path) -> pathlib.Path:
    """Bytes and random words, as many as the model has ids; an existing one is kept."""
    file = folder / "tokenizer.json"
    if file.exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    letters = random.Random(0)
    pieces = dict.fromkeys(["<0>", "<1>", "<end>", *sorted(pre_tokenizers.ByteLevel.alphabet())])
    while len(pieces) < LlamaShape().vocab_size:
        word = "".join(letters.choices(string.ascii_lowercase, k=letters.randint(2, 7)))
        pieces[letters.choice(["", "Ġ"]) + word] = None
    tokenizer = Tokenizer(models.BPE({piece: n for n, piece in enumerate(pieces)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<end>", special=True)])
    tokenizer.save(str(file))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<end>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "config.json").write_text("{}")
    return folder
