"""Train a small llama from scratch on the stream, on the CPU.

Several processes of one thread each share the work and average their gradients:
under load that is faster than threads, which wait for each other hundreds of
times in a step. Matrices of the layers are trained with Muon and the embedding and the norms with
AdamW. The learning rate warms up, stays, and falls to zero in the last part.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from tokenizers import Tokenizer
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from bench.embedded_model.batches import ALL_ROWS, IGNORED, SHORT_ROWS, Batch, prefetched
from bench.embedded_model.schedule import Milestones
from bench.embedded_model.tokenizer import SPECIAL, VOCAB_SIZE

MUON_RATE = 4e-3
ADAMW_RATE = 3e-3


@dataclass(frozen=True)
class TrainingPlan:
    """For how long, from which seed, and in how many processes.

    Give all `milestones`, or `minutes` where the time is what is limited.
    """

    milestones: Milestones = field(default_factory=Milestones)
    minutes: float = 50.0
    seed: int = 1
    processes: int = 2


def model_config() -> LlamaConfig:
    """The shape of servax-tiny: 1.1 million parameters."""
    end_of_text, _start, end = range(len(SPECIAL))
    return LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=5,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=2048,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        rms_norm_eps=1e-6,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=end_of_text,
    )


def optimizers(model: LlamaForCausalLM) -> tuple[torch.optim.Optimizer, ...]:
    """Muon for the layers' matrices, AdamW for all else."""
    named = dict(model.named_parameters())
    matrices = [value for name, value in named.items() if value.ndim == 2 and "embed" not in name]
    others = [value for name, value in named.items() if value.ndim != 2 or "embed" in name]
    return (
        torch.optim.Muon(
            matrices, lr=MUON_RATE, weight_decay=0.01, momentum=0.95, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(others, lr=ADAMW_RATE, betas=(0.9, 0.95), weight_decay=0.0),
    )


def answer_loss(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """The summed loss of the answers' tokens; prompts are read, not learnt."""
    hidden = model.model(input_ids=batch.tokens, use_cache=False).last_hidden_state
    wanted = batch.labels != IGNORED
    return cross_entropy(model.lm_head(hidden[wanted]), batch.labels[wanted], reduction="sum")


def train(
    tokenizer: Tokenizer, plan: TrainingPlan, checkpoint: Callable[[int, LlamaForCausalLM], None]
) -> tuple[LlamaForCausalLM, Milestones]:
    """This process's part of the training; `checkpoint(step, model)` is called after each step."""
    torch.set_num_threads(1)
    torch.manual_seed(plan.seed)
    model = LlamaForCausalLM(model_config())
    rules = optimizers(model)
    peaks = [rule.param_groups[0]["lr"] for rule in rules]
    seed = plan.seed * plan.processes + dist.get_rank()
    short, everything = (
        prefetched(tokenizer, seed, SHORT_ROWS),
        prefetched(tokenizer, seed, ALL_ROWS),
    )
    started, milestones = time.monotonic(), plan.milestones
    for step in itertools.count():
        milestones = milestones.decided(
            step, _agreed(time.monotonic() - started) / (60 * plan.minutes)
        )
        if step == milestones.end:
            break
        for rule, peak in zip(rules, peaks, strict=True):
            rule.param_groups[0]["lr"] = peak * milestones.learning_share(step)
        loss = _step(model, next(everything if milestones.has_long_texts(step) else short), rules)
        if step % 20 == 0 and dist.get_rank() == 0:
            print(
                f"step {step} {milestones} loss {loss:.4f} after {time.monotonic() - started:.0f} "
                f"s",
                flush=True,
            )
        checkpoint(step, model)
    return model, milestones


def _agreed(elapsed_s: float) -> float:
    """The first process's clock, which all follow."""
    shared = torch.tensor([elapsed_s], dtype=torch.float64)
    dist.broadcast(shared, src=0)
    return shared.item()


def _step(
    model: LlamaForCausalLM, batches: tuple[Batch, ...], rules: tuple[torch.optim.Optimizer, ...]
) -> float:
    num_answer_tokens = sum(int((batch.labels != IGNORED).sum()) for batch in batches)
    total = 0.0
    for batch in batches:
        loss = answer_loss(model, batch) / num_answer_tokens
        loss.backward()
        total += loss.item()
    _average_gradients(model)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for rule in rules:
        rule.step()
        rule.zero_grad()
    return total


def _average_gradients(model: LlamaForCausalLM) -> None:
    gradients = [value.grad for value in model.parameters() if value.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, part in zip(
        gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True
    ):
        gradient.copy_(part.view_as(gradient))
