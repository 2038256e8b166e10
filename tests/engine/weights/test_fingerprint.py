from __future__ import annotations

from engine.weights.checkpoint import WeightFile
from engine.weights.fingerprint import model_fingerprint

FILE = WeightFile("model.safetensors", 10, "abc")


def fingerprint(**changes) -> str:
    parts = {"versions": ("1", "2"), "config_json": b"{}", "weight_files": (FILE,)}
    return model_fingerprint(**(parts | changes))


def test_equal_facts_give_equal_fingerprints() -> None:
    assert fingerprint() == fingerprint()
    assert fingerprint().startswith("fp_")


def test_every_fact_changes_the_fingerprint() -> None:
    others = {
        fingerprint(),
        fingerprint(versions=("1", "3")),
        fingerprint(versions=("12", "")),
        fingerprint(config_json=b"{ }"),
        fingerprint(weight_files=(WeightFile("model.safetensors", 11, "abc"),)),
        fingerprint(weight_files=(WeightFile("model.safetensors", 10, "abd"),)),
        fingerprint(weight_files=(WeightFile("other.safetensors", 10, "abc"),)),
    }
    assert len(others) == 7
