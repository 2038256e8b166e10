from __future__ import annotations

import time

import ml_dtypes
import numpy as np

from engine.weights.dummy import dummy_parameter
from models.weight_rules import WeightRule

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
WEIGHT = WeightRule("layers.0.mlp.down.weight", ("w",), ("embed", "ff"), (64, 128))
OTHER = WeightRule("layers.1.mlp.down.weight", ("w",), ("embed", "ff"), (64, 128))
LARGE = WeightRule("head.weight", ("w",), ("vocab", "embed"), (128_256, 1024))


def test_the_same_seed_gives_the_same_weights() -> None:
    once, again = (dummy_parameter(WEIGHT, BFLOAT16, seed=3) for _ in range(2))
    np.testing.assert_array_equal(once, again)


def test_another_seed_or_parameter_gives_other_weights() -> None:
    first = dummy_parameter(WEIGHT, BFLOAT16, seed=3)
    assert (first != dummy_parameter(WEIGHT, BFLOAT16, seed=4)).any()
    assert (first != dummy_parameter(OTHER, BFLOAT16, seed=3)).any()


def test_no_two_rows_are_alike() -> None:
    weight = dummy_parameter(WEIGHT, BFLOAT16, seed=0).astype(np.float32)
    assert len(np.unique(weight, axis=0)) == len(weight)


def test_norms_are_one_and_biases_zero() -> None:
    norm = WeightRule("norm.weight", ("w",), ("embed",), (8,))
    bias = WeightRule("layers.0.mixer.qkv.bias", ("w",), ("heads",), (8,))
    assert dummy_parameter(norm, BFLOAT16, seed=0).tolist() == [1] * 8
    assert dummy_parameter(bias, BFLOAT16, seed=0).tolist() == [0] * 8


def test_large_weights_are_made_at_the_speed_of_memory() -> None:
    started = time.process_time()
    weight = dummy_parameter(LARGE, BFLOAT16, seed=0)
    assert weight.shape == LARGE.shape
    assert time.process_time() - started < 2.0
