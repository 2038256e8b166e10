"""Codes of 8 bits against numpy's own 8-bit floats."""

from __future__ import annotations

import jax
import ml_dtypes
import numpy as np
import pytest

from pallas_kernels.paged_attention.eight_bits import LARGEST, decode, encode

FLOATS = {"float8_e4m3fn": ml_dtypes.float8_e4m3fn, "float8_e5m2": ml_dtypes.float8_e5m2}


def encoded(values: np.ndarray, dtype: str) -> np.ndarray:
    return np.asarray(jax.jit(encode, static_argnums=1)(values.astype(np.float32), dtype))


def decoded(codes: np.ndarray, dtype: str) -> np.ndarray:
    return np.asarray(jax.jit(decode, static_argnums=1)(codes, dtype))


def numbers_of(dtype: str) -> np.ndarray:
    """What each of the 256 codes is worth, by numpy."""
    codes = np.arange(256, dtype=np.uint8)
    if dtype in FLOATS:
        return codes.view(FLOATS[dtype]).astype(np.float32)
    numbers = codes.view(np.int8).astype(np.float32)
    return np.where(numbers == -128, np.nan, numbers)


def all_codes(dtype: str) -> np.ndarray:
    return np.arange(256, dtype=np.uint8).view(np.uint8 if dtype in FLOATS else np.int8)


@pytest.mark.parametrize("dtype", LARGEST)
def test_every_code_is_read_as_its_number(dtype: str) -> None:
    np.testing.assert_array_equal(decoded(all_codes(dtype), dtype), numbers_of(dtype))


@pytest.mark.parametrize("dtype", LARGEST)
def test_numbers_become_the_nearest_code_and_ties_the_even_one(dtype: str) -> None:
    numbers = numbers_of(dtype)
    numbers = np.unique(numbers[np.isfinite(numbers)])
    ties = ((numbers[1:].astype(np.float64) + numbers[:-1]) / 2).astype(np.float32)
    above, below = (np.nextafter(ties, np.float32(side)) for side in (np.inf, -np.inf))
    values = np.concatenate([numbers, ties, above, below])
    if dtype in FLOATS:
        expected = values.astype(FLOATS[dtype]).view(np.uint8)
    else:
        expected = np.rint(values).astype(np.int8)
    np.testing.assert_array_equal(encoded(values, dtype), expected)


@pytest.mark.parametrize("dtype", LARGEST)
def test_large_numbers_are_cut_down_and_nan_stays_nan(dtype: str) -> None:
    values = np.array([1e9, -1e9, np.inf, -np.inf, np.nan])
    largest = LARGEST[dtype]
    found = decoded(encoded(values, dtype), dtype)
    np.testing.assert_array_equal(found, [largest, -largest, largest, -largest, np.nan])
