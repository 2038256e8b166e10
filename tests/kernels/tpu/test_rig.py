"""Write and attention compiled for v5e and v6e without a chip: in place and within a budget."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from rig_tpu import CHIPS, compile_for_tpu, four_devices
from tpu_step import (
    NUM_PAGES,
    PAGE_SIZE,
    Bucket,
    Shape,
    batch_of,
    compile_step,
    faults,
    write_and_attend,
)

from pallas_kernels.paged_attention import tpu
from pallas_kernels.paged_attention.tpu.support import MAX_TABLE_BYTES

MODELS = {
    "Llama-3.1-8B and Qwen3-8B": Shape(32, 8, 128),
    "Gemma-3-12B": Shape(16, 8, 256),
    "a shard of 70B over 8 chips": Shape(8, 1, 128),
}
BUCKETS = {
    "1 decode row": Bucket(1, 1),
    "8 decode rows": Bucket(8, 8),
    "64 decode rows": Bucket(64, 64),
    "256 decode rows": Bucket(256, 256),
    "2048 mixed tokens": Bucket(2048, 64),
}
FEATURES: dict[str, tuple[Shape, dict[str, Any]]] = {
    "heads of 64": (Shape(32, 8, 64), {}),
    "one head of 64": (Shape(8, 1, 64), {}),
    "an odd number of heads of 64": (Shape(9, 3, 64), {}),
    "heads of 96": (Shape(8, 4, 96), {}),
    "heads of 192": (Shape(8, 2, 192), {}),
    "a group of 1": (Shape(16, 16, 128), {}),
    "a group of 7": (Shape(28, 4, 128), {}),
    "a group of 16": (Shape(32, 2, 128), {}),
    "a window and a softcap": (Shape(16, 8, 256), {"window": 1024, "softcap": 50.0}),
    "int8 pages": (Shape(32, 8, 128, "int8"), {}),
    "float8 pages": (Shape(32, 8, 128, "float8_e4m3fn"), {}),
    "e5m2 pages": (Shape(32, 8, 128, "float8_e5m2"), {}),
    "float32": (Shape(8, 4, 128, "float32", "float32"), {}),
}


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("bucket", BUCKETS.values(), ids=BUCKETS)
@pytest.mark.parametrize("shape", MODELS.values(), ids=MODELS)
def test_a_layer_of_a_model_compiles_in_place(shape: Shape, bucket: Bucket, chip: str) -> None:
    assert faults(compile_step(shape, bucket, chip), shape, bucket) == []


@pytest.mark.parametrize(
    ("bucket", "chip"),
    [
        pytest.param(Bucket(16, 16), "v5e", id="decode-v5e"),
        pytest.param(Bucket(16, 16), "v6e", id="decode-v6e"),
        pytest.param(Bucket(256, 16), "v5e", id="mixed-v5e", marks=pytest.mark.slow),
        pytest.param(Bucket(256, 16), "v6e", id="mixed-v6e"),
    ],
)
@pytest.mark.parametrize("feature", FEATURES.values(), ids=FEATURES)
def test_a_feature_compiles_in_place(
    feature: tuple[Shape, dict[str, Any]], bucket: Bucket, chip: str
) -> None:
    shape, options = feature
    assert faults(compile_step(shape, bucket, chip, **options), shape, bucket) == []


@pytest.mark.parametrize("chip", CHIPS)
def test_the_largest_page_table_supported_fits_scalar_memory(chip: str) -> None:
    num_rows = 256
    columns = MAX_TABLE_BYTES // 4 // num_rows
    shape, bucket = Shape(8, 1, 128), Bucket(2048, num_rows, columns)
    limits = {"num_heads": 8, "num_kv_heads": 1, "head_dim": 128, "page_size": PAGE_SIZE}
    limits |= {"dtype": "bfloat16", "max_rows": num_rows}
    assert tpu.supports(**limits, max_pages_per_row=columns) is None
    assert "scalar memory" in (tpu.supports(**limits, max_pages_per_row=columns + 1) or "")
    assert faults(compile_step(shape, bucket, chip), shape, bucket) == []


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("bucket", [Bucket(16, 16), Bucket(256, 16)], ids=["decode", "mixed"])
def test_devices_that_share_the_heads_send_each_other_nothing(bucket: Bucket, chip: str) -> None:
    mesh, heads, pages = four_devices(chip), P(None, "model"), P(None, None, "model")
    step = jax.shard_map(
        partial(write_and_attend, is_decode=bucket.is_decode, kv_dtype="bfloat16"),
        mesh=mesh,
        in_specs=(heads, heads, heads, pages, P()),
        out_specs=(heads, pages),
        check_vma=False,
    )

    def placed(leaf: jax.ShapeDtypeStruct, spec: P) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=NamedSharding(mesh, spec))

    q, k = (jax.ShapeDtypeStruct((bucket.num_tokens, num, 128), jnp.bfloat16) for num in (32, 8))
    make = partial(tpu.make_kv_pages, NUM_PAGES, PAGE_SIZE, 8, 128, "bfloat16", num_shards=4)
    kv = jax.eval_shape(make)
    arrays = (placed(q, heads), placed(k, heads), placed(k, heads), placed(kv, pages))
    batch = jax.tree.map(lambda leaf: placed(leaf, P()), batch_of(bucket))
    compiled = compile_for_tpu(step, *arrays, batch, chip=chip, donate_argnums=(3,))
    assert compiled.alias_bytes >= kv.size * kv.dtype.itemsize // 4
    assert not compiled.has_copy_of(kv.size // 4)
    assert not re.search("all-gather|all-reduce|all-to-all|collective", compiled.hlo)
