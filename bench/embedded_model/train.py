"""Train a small llama from scratch on the stream, on the CPU.

Matrices of the layers are trained with Muon and the embedding and the norms with
AdamW. The learning rate warms up, stays, and falls to zero in the last part.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from bench.embedded_model.batches import IGNORED, Batch, prefetched
from bench.embedded_model.tokenizer import SPECIAL, VOCAB_SIZE

MUON_RATE = 4e-3
ADAMW_RATE = 3e-3
WARM_UP = 60
DECAY_SHARE = 0.35


@dataclass(frozen=True)
class TrainingPlan:
    """How long, from which seed, and on how many threads.

    Give `steps`, or `minutes` where the time is what is limited: then the number of
    steps is fixed when the decay has to begin. Until then the learning rate does not
    depend on it, so a later run with that number of steps repeats this one.
    """

    steps: int | None = None
    minutes: float = 50.0
    seed: int = 1
    threads: int = 2
    compiled: bool = True


def model_config() -> LlamaConfig:
    """The shape of servax-tiny: 2.6 million parameters."""
    end_of_text, _start, end = range(len(SPECIAL))
    return LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=6,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=2048,
        rope_theta=10000.0,
        rms_norm_eps=1e-6,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=end_of_text,
    )


def learning_share(step: int, steps: int | None) -> float:
    """The share of the peak learning rate at a step: a trapezoid, flat while its end is open."""
    fall = 1.0 if steps is None else (steps - step) / (DECAY_SHARE * steps)
    return min(1.0, (step + 1) / WARM_UP, fall)


def decided_steps(plan: TrainingPlan, step: int, elapsed_s: float) -> int | None:
    """The number of steps, once the time says that the decay must begin."""
    if elapsed_s < 60 * plan.minutes * (1 - DECAY_SHARE):
        return None
    return int(step / (1 - DECAY_SHARE))


def optimizers(model: LlamaForCausalLM) -> tuple[torch.optim.Optimizer, ...]:
    """Muon for the layers' matrices, AdamW for all else."""
    named = dict(model.named_parameters())
    matrices = [value for name, value in named.items() if value.ndim == 2 and "embed" not in name]
    others = [value for name, value in named.items() if value.ndim != 2 or "embed" in name]
    return (
        torch.optim.Muon(matrices, lr=MUON_RATE, weight_decay=0.01, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=ADAMW_RATE, betas=(0.9, 0.95), weight_decay=0.0),
    )


def answer_loss(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """The summed loss of the answers' tokens; prompts are read, not learnt."""
    hidden = model.model(input_ids=batch.tokens, use_cache=False).last_hidden_state
    wanted = batch.labels != IGNORED
    return cross_entropy(model.lm_head(hidden[wanted]), batch.labels[wanted], reduction="sum")


def train(tokenizer: Tokenizer, plan: TrainingPlan, checkpoint: Callable[[int, LlamaForCausalLM], None]) -> LlamaForCausalLM:
    """Train as planned; `checkpoint(step, model)` is called after each step."""
    torch.set_num_threads(plan.threads)
    torch.manual_seed(plan.seed)
    model = LlamaForCausalLM(model_config())
    if plan.compiled:
        model.model.compile(dynamic=False)
    rules = optimizers(model)
    peaks = [rule.param_groups[0]["lr"] for rule in rules]
    started = time.monotonic()
    steps = plan.steps
    for step, batches in enumerate(prefetched(tokenizer, plan.seed)):
        steps = steps or decided_steps(plan, step, time.monotonic() - started)
        if step == steps:
            break
        for rule, peak in zip(rules, peaks, strict=True):
            rule.param_groups[0]["lr"] = peak * learning_share(step, steps)
        loss = _step(model, batches, rules)
        if step % 20 == 0:
            print(f"step {step} of {steps} loss {loss:.4f} after {time.monotonic() - started:.0f} s", flush=True)
        checkpoint(step, model)
    return model


def _step(model: LlamaForCausalLM, batches: tuple[Batch, ...], rules: tuple[torch.optim.Optimizer, ...]) -> float:
    num_answer_tokens = sum(int((batch.labels != IGNORED).sum()) for batch in batches)
    total = 0.0
    for batch in batches:
        loss = answer_loss(model, batch) / num_answer_tokens
        loss.backward()
        total += loss.item()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for rule in rules:
        rule.step()
        rule.zero_grad()
    return total
