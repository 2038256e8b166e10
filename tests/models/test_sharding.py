"""A decoder on a mesh of 2 x 4 fake devices computes what one device computes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

SCRIPT = """
import jax, jax.numpy as jnp, numpy as np
from flax import nnx
from jax.sharding import NamedSharding
from models.config import DecoderConfig
from models.decoder import Decoder
from models.logical_axes import batch_spec, kv_spec, weight_sharding
from models.plain import PlainRow, pack
from models.families.names import llama_weight_rules
from models.weight_rules import fuse
from pallas_kernels.paged_attention import RaggedBatch, make_kv_pages

config = DecoderConfig(architecture="LlamaForCausalLM", vocab_size=96, d_model=64, num_layers=2,
    num_heads=8, num_kv_heads=4, head_dim=16, d_ff=96, norm_eps=1e-6, rope_theta=1e4,
    max_position_embeddings=256, dtype="float32", qkv_bias=True)
rng = np.random.default_rng(0)
rules = llama_weight_rules(config)
sizes = {"qkv": (128, 64, 64), "gate_up": (96, 96)}

def sources(rule):
    value = rng.standard_normal(rule.shape, np.float32) * 0.2
    name = rule.parameter.split(".")[-2]
    return np.split(value, np.cumsum(sizes[name])[:-1]) if name in sizes else [value]

checkpoint = {rule.parameter: sources(rule) for rule in rules}

def weights(mesh, num_shards):
    abstract = nnx.eval_shape(lambda: Decoder(config, rngs=nnx.Rngs(0), mesh=mesh))
    graph, state = nnx.split(abstract)
    leaves = {".".join(map(str, path)): leaf for path, leaf in nnx.to_flat_state(state)}
    for rule in rules:
        value = fuse(checkpoint[rule.parameter], num_shards)
        if mesh is not None:
            sharding = weight_sharding(mesh, rule.logical_axes, rule.shape)
            value = jax.device_put(value, sharding)
        leaves[rule.parameter].set_value(jnp.asarray(value))
    return graph, state

def batch_of(first):
    rows = [PlainRow(range(first, first + 13), 0, (1,)), PlainRow(range(4), 0, (2,))]
    return pack(rows, 24, 8, 2)

def step(graph, state, batch, kv):
    def run(state, batch, kv):
        decoder = nnx.merge(graph, state)
        hidden, kv = decoder(batch, kv, is_decode=False)
        return decoder.logits(hidden), kv
    return jax.jit(run, donate_argnums=2)(state, batch, kv)

def pages(num_pages):
    return [make_kv_pages(num_pages, 16, 4, 16, "float32", "cpu") for _ in range(2)]

one = weights(None, 1)
expected = [np.asarray(step(*one, batch_of(first), pages(4))[0]) for first in (0, 40)]
mesh = jax.make_mesh((2, 4), ("data", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
both = RaggedBatch(*(np.concatenate(pair) for pair in zip(batch_of(0), batch_of(40))))
both = jax.device_put(both, NamedSharding(mesh, batch_spec()))
kv = pages(8)
spec = kv_spec(kv[0])
kv = jax.device_put(kv, NamedSharding(mesh, spec))
logits, kv = step(*weights(mesh, 4), both, kv)
assert kv[0].k_NZX.sharding.spec == spec, kv[0].k_NZX.sharding
found = np.split(np.asarray(logits), 2)
for a, b in zip(found, expected):
    error = np.abs(a[:17] - b[:17]).max() / np.abs(b[:17]).max()
    assert error < 2e-6, error
print("equal")
"""


def test_two_data_and_four_model_shards_match_one_device():
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "8", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "equal", done.stderr[-3000:]
