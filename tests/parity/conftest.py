"""Small random models of transformers beside our decoder with the same weights."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from models.config import DecoderConfig
from models.decoder import Decoder
from models.plain import PlainDriver, PlainRow
from models.registry import family_for
from models.weight_rules import fuse

SMALL = {
    "vocab_size": 131,
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "intermediate_size": 80,
    "max_position_embeddings": 512,
    "dtype": "float32",
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}


@dataclasses.dataclass
class Pair:
    """Transformers' model and ours, sharing weights."""

    theirs: torch.nn.Module
    config: DecoderConfig
    decoder: Decoder

    def driver(self, kind: str = "") -> PlainDriver:
        """Ours on a fresh pool of pages of that kind of attention."""
        return PlainDriver(self.decoder, num_pages=24, max_pages_per_row=8, kind=kind)

    def expected(self, token_ids: list[int]) -> np.ndarray:
        """Transformers' logits `[tokens, V]`."""
        with torch.no_grad():
            return self.theirs(torch.tensor([token_ids])).logits[0].numpy()

    def expected_greedy(self, token_ids: list[int], num_new: int) -> list[int]:
        """Transformers' greedy continuation, recomputed from the start for every token."""
        ids = list(token_ids)
        for _ in range(num_new):
            ids.append(int(self.expected(ids)[-1].argmax()))
        return ids[len(token_ids) :]


@pytest.fixture(name="randomise")
def randomise_fixture():
    """`randomise`, for tests that make models of their own."""
    return randomise


def randomise(module: torch.nn.Module, seed: int) -> None:
    """Weights large enough that logits differ well, norms and biases away from their defaults."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_matrix = parameter.ndim > 1
            scale = parameter.shape[-1] ** -0.5 if is_matrix else 0.2
            # Norms are made filled with 1, or with 0 where 1 is added to them.
            middle = 0.0 if is_matrix else float(parameter.flatten()[0])
            parameter.copy_(noise * scale + middle)


def our_decoder(hf_config: dict, state: dict[str, torch.Tensor]) -> tuple[DecoderConfig, Decoder]:
    """Our decoder with the weights of a checkpoint, by the family's rules."""
    family = family_for(hf_config)
    config = family.decoder_config(hf_config)
    decoder = Decoder(config, rngs=nnx.Rngs(0))
    graph, weights = nnx.split(decoder)
    parameters = {".".join(map(str, path)): leaf for path, leaf in nnx.to_flat_state(weights)}
    rules = family.weight_rules(config)
    assert {rule.parameter for rule in rules} == set(parameters)
    for rule in rules:
        value = fuse([state[source].numpy() for source in rule.sources], num_shards=1)
        leaf = parameters[rule.parameter]
        assert leaf.shape == value.shape == rule.shape
        leaf[...] = jnp.asarray(value)
    return config, nnx.merge(graph, weights)


@pytest.fixture
def make_pair():
    """Factory of pairs from a transformers config class, model class and differences."""

    def make(config_class, model_class, **differences) -> Pair:
        torch.set_num_threads(1)
        hf_config = config_class(**(SMALL | differences), attn_implementation="eager")
        theirs = model_class(hf_config).eval()
        randomise(theirs, seed=1)
        as_json = hf_config.to_dict() | {"architectures": [model_class.__name__]}
        state = dict(theirs.state_dict())
        return Pair(theirs, *our_decoder(as_json, state))

    return make


@pytest.fixture
def prefill():
    """Compute a prompt in chunks and return the logits of all its tokens."""

    def run(driver: PlainDriver, token_ids, page_ids, chunk: int, start: int = 0) -> np.ndarray:
        logits = []
        for at in range(start, len(token_ids), chunk):
            row = PlainRow(token_ids[at : at + chunk], at, page_ids)
            logits.append(driver.step([row])[0])
        return np.concatenate(logits)

    return run


@pytest.fixture
def decode():
    """Greedy continuation by decode steps, from the logits of the prompt's last token."""

    def run(driver: PlainDriver, token_ids, page_ids, logits: np.ndarray, num_new: int):
        ids = [*token_ids, int(logits.argmax())]
        while len(ids) < len(token_ids) + num_new:
            row = PlainRow(ids[-1:], len(ids) - 1, page_ids)
            ids.append(int(driver.step([row], is_decode=True)[0][-1].argmax()))
        return ids[len(token_ids) :]

    return run
