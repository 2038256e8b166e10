"""Write the trained model as a Hugging Face folder, whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from bench.embedded_model.tokenizer import SPECIAL, write_tokenizer
from models.embedded import embedded_model_dir

_GENERATION = {
    "bos_token_id": None,
    "eos_token_id": [SPECIAL.index("<|im_end|>"), SPECIAL.index("<|endoftext|>")],
    "pad_token_id": SPECIAL.index("<|endoftext|>"),
    "do_sample": True,
    "temperature": 0.1,
    "top_p": 0.9,
    "top_k": 20,
}


def weights_of(model: LlamaForCausalLM) -> dict[str, torch.Tensor]:
    """The weights in bfloat16 under their Hugging Face names; the tied head is not repeated."""
    return {
        name.replace("_orig_mod.", ""): value.detach().to(torch.bfloat16).contiguous()
        for name, value in model.state_dict().items()
        if name != "lm_head.weight"
    }


def config_of(model: LlamaForCausalLM) -> dict[str, object]:
    """The model's config.json."""
    config: dict[str, object] = dict(model.config.to_diff_dict())
    return config | {
        "architectures": ["LlamaForCausalLM"],
        "torch_dtype": "bfloat16",
        "dtype": "bfloat16",
        "rope_theta": 10000.0,
    }


def export(model: LlamaForCausalLM, tokenizer: Tokenizer, folder: Path | None = None) -> None:
    """Write every file beside its place first, then move it there."""
    target = folder or embedded_model_dir()
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        draft = Path(name)
        write_tokenizer(tokenizer, draft)
        save_file(weights_of(model), draft / "model.safetensors", metadata={"format": "pt"})
        (draft / "config.json").write_text(
            json.dumps(config_of(model), indent=2, sort_keys=True) + "\n"
        )
        (draft / "generation_config.json").write_text(json.dumps(_GENERATION, indent=2) + "\n")
        for path in sorted(draft.iterdir()):
            path.chmod(0o644)
            os.replace(path, target / path.name)
