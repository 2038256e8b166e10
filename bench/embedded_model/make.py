"""Make the embedded model: tokenizer, training, export, score, card.

    python -m bench.embedded_model.make --minutes 50

With the `--milestones` of an earlier run, the same seed and number of processes
repeat it. The corpus and the tokenizer are the same everywhere; bit-equal
weights on another machine are not promised.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import torch.distributed as dist
from torch.multiprocessing.spawn import spawn
from transformers import LlamaForCausalLM

from bench.embedded_model.export import export
from bench.embedded_model.report import Training, write_scores, write_training
from bench.embedded_model.schedule import Milestones
from bench.embedded_model.score import score
from bench.embedded_model.tokenizer import train_tokenizer
from bench.embedded_model.train import TrainingPlan, train
from models.embedded import embedded_model_dir


def _process(
    rank: int, plan: TrainingPlan, meeting_point: str, export_every: int, folder: Path
) -> None:
    dist.init_process_group(
        "gloo", init_method=f"file://{meeting_point}", rank=rank, world_size=plan.processes
    )
    tokenizer = train_tokenizer(seed=0)
    started = time.monotonic()

    def checkpoint(step: int, model: LlamaForCausalLM) -> None:
        if rank == 0 and step % export_every == export_every - 1:
            export(model, tokenizer, folder)

    model, milestones = train(tokenizer, plan, checkpoint)
    if rank == 0:
        export(model, tokenizer, folder)
        seconds = int(time.monotonic() - started)
        training = Training(
            asdict(milestones), seconds, plan.seed, plan.processes, model.num_parameters()
        )
        write_training(training, folder)
    dist.destroy_process_group()


def main() -> None:
    """Run the whole pipeline."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--minutes", type=float, default=50.0, help="the time to train, without --milestones"
    )
    parser.add_argument(
        "--milestones", type=int, nargs=3, metavar=("LONG_FROM", "FALL_FROM", "END"), default=()
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=embedded_model_dir())
    parser.add_argument(
        "--export-every", type=int, default=200, help="also export every so many steps"
    )
    arguments = parser.parse_args()
    plan = TrainingPlan(Milestones(*arguments.milestones), arguments.minutes, arguments.seed)
    folder: Path = arguments.folder
    with tempfile.TemporaryDirectory() as meeting_place:
        spawn(
            _process,
            (plan, f"{meeting_place}/point", arguments.export_every, folder),
            plan.processes,
        )
    write_scores(score(folder), folder)


if __name__ == "__main__":
    main()
