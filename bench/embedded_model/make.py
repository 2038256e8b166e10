"""Make the embedded model: tokenizer, training, export, score, card.

    python -m bench.embedded_model.make --steps 3000

The same seed, versions, thread count and processor give the same corpus and
tokenizer; bit-equal weights on another machine are not promised.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from transformers import LlamaForCausalLM

from bench.embedded_model.export import export
from bench.embedded_model.tokenizer import train_tokenizer
from bench.embedded_model.train import TrainingPlan, train


def main() -> None:
    """Run the whole pipeline."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--minutes", type=float, default=50.0, help="the time to train where --steps is not given")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--export-every", type=int, default=500)
    parser.add_argument("--folder", type=Path, default=None, help="another folder than the package's")
    arguments = parser.parse_args()
    tokenizer = train_tokenizer(seed=0)
    started = time.monotonic()

    def checkpoint(step: int, model: LlamaForCausalLM) -> None:
        if step % arguments.export_every == arguments.export_every - 1:
            export(model, tokenizer, arguments.folder)

    model = train(tokenizer, TrainingPlan(arguments.steps, arguments.minutes, arguments.seed), checkpoint)
    export(model, tokenizer, arguments.folder)
    print(f"trained in {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
