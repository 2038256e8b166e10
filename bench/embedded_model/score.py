"""Score the exported folder on held-out phrasings, greedily, with transformers.

    python -m bench.embedded_model.score

An answer counts only if its skill's strict check accepts it *and* it ended by
itself. The table goes to `bench/results/embedded_model.json`.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

from bench.embedded_model.corpus import text_of
from bench.embedded_model.example import Example, Skill
from bench.embedded_model.report import Score, write_scores
from bench.embedded_model.skills import SKILLS
from models.embedded import embedded_model_dir

NUM_PROBES = 120
_MAX_NEW_TOKENS = 160
_BATCH = 30


@dataclass(frozen=True)
class Answer:
    """What the model wrote to a prompt, and whether it ended by itself."""

    prompt: str
    text: str
    is_finished: bool


def probes(skill: Skill, seed: int = 2026) -> list[Example]:
    """Up to `NUM_PROBES` different held-out examples, fewer where the skill has fewer."""
    rng = random.Random(f"{seed}-{skill.name}")
    drawn = (skill.make(rng, "held_out") for _ in range(4 * NUM_PROBES))
    different = {text_of(skill, example).prompt: example for example in drawn}
    return list(different.values())[:NUM_PROBES]


class Greedy:
    """The exported model, decoding greedily."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(
            folder, padding_side="left"
        )
        # Typed as Any: transformers' own stubs do not let a LlamaForCausalLM generate.
        self.model: Any = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        vocabulary = self.tokenizer.get_vocab()
        self.ends = {vocabulary["<|im_end|>"], vocabulary["<|endoftext|>"]}

    def answers(self, prompts: list[str]) -> Iterator[Answer]:
        """The answer to each prompt, in order."""
        for start in range(0, len(prompts), _BATCH):
            yield from self._batch(prompts[start : start + _BATCH])

    @torch.inference_mode()
    def _batch(self, prompts: list[str]) -> Iterator[Answer]:
        inputs = self.tokenizer(
            prompts,
            return_tensors="pt",
            padding=True,
            add_special_tokens=False,
            return_token_type_ids=False,
        )
        rows = self.model.generate(
            **inputs,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            max_new_tokens=_MAX_NEW_TOKENS,
        )
        for prompt, row in zip(
            prompts, rows[:, inputs["input_ids"].shape[1] :].tolist(), strict=True
        ):
            length = next(
                (place for place, token in enumerate(row) if token in self.ends), len(row)
            )
            yield Answer(prompt, str(self.tokenizer.decode(row[:length])), length < len(row))


def score(folder: Path, show_failures: int = 0) -> list[Score]:
    """The score of each skill, in the order of the table of skills."""
    greedy = Greedy(folder)
    scores: list[Score] = []
    for skill in SKILLS:
        examples = probes(skill)
        answers = list(greedy.answers([text_of(skill, example).prompt for example in examples]))
        right = [
            answer.is_finished and example.accepts(answer.text)
            for example, answer in zip(examples, answers, strict=True)
        ]
        scores.append(
            Score(skill.name, sum(right), len(right), sum(answer.is_finished for answer in answers))
        )
        print(f"{skill.name:14} {sum(right):4} of {len(right)}", flush=True)
        wrong = [answer for answer, is_right in zip(answers, right, strict=True) if not is_right]
        for answer in wrong[:show_failures]:
            print(f"    {answer.prompt[-160:]!r} -> {answer.text!r}", flush=True)
    return scores


def main() -> None:
    """Score a folder and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=embedded_model_dir())
    parser.add_argument("--show-failures", type=int, default=0)
    parser.add_argument("--dry-run", action="store_true", help="print only")
    arguments = parser.parse_args()
    scores = score(arguments.folder, arguments.show_failures)
    if not arguments.dry_run:
        write_scores(scores, arguments.folder)


if __name__ == "__main__":
    main()
