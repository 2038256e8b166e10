"""`servax bench plot FILE`: a picture of a result of `bench kernels` or `bench step`.

Needs matplotlib, which serving does not: it is imported here and nowhere else.
"""

from __future__ import annotations

import argparse
import json
import pathlib
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

SHARES = {
    "share_of_roofline": "of the roofline",
    "share_of_copy": "of the copy",
    "share_of_matmul": "of the matmul",
}
GOAL = 0.85
PLOTTED = ("kernels", "step")


def main(arguments: list[str]) -> int:
    """Draw one result file."""
    made = argparse.ArgumentParser(prog="servax bench plot", description=__doc__)
    made.add_argument("file", type=pathlib.Path, help="JSON of `bench kernels` or `bench step`")
    print(draw(made.parse_args(arguments).file))
    return 0


def draw(file: pathlib.Path) -> pathlib.Path:
    """One bar a case: its share of the ceiling that bounds it. Returns the PNG beside `file`."""
    document = _read(file)
    bars = [bar for record in document["result"] if (bar := _bar(record)) is not None]
    figure, axes = pyplot.subplots(figsize=(10, 1.5 + 0.28 * len(bars)))
    names = [f"{name}  ({what})" for name, what, _ in bars]
    axes.barh(names, [share for _, _, share in bars], color=[_color(name) for name, _, _ in bars])
    axes.invert_yaxis()
    axes.axvline(GOAL, color="black", linewidth=0.8, linestyle=":")
    axes.set_xlim(0, max([1.0, *(share for _, _, share in bars)]))
    axes.set_xlabel("share of what this device did in the same run")
    axes.set_title(_title(document), fontsize=9)
    figure.tight_layout()
    target = file.with_suffix(".png")
    figure.savefig(target, dpi=110)
    pyplot.close(figure)
    return target


def _read(file: pathlib.Path) -> dict[str, Any]:
    """The document of a result file.

    Raises:
        SystemExit: it is none of `bench kernels` or `bench step`.
    """
    try:
        document = json.loads(file.read_text())
        if document["benchmark"] in PLOTTED:
            return document
    except (OSError, ValueError, LookupError, TypeError):
        pass
    raise SystemExit(f"{file} is no result of `bench kernels` or `bench step`")


def _bar(record: dict[str, Any]) -> tuple[str, str, float] | None:
    """Name, ceiling and share: the largest share is of the ceiling that bounds it."""
    shares = {what: record[key] for key, what in SHARES.items() if key in record}
    if not shares:
        return None
    what = max(shares, key=lambda what: shares[what])
    return record["name"], what, shares[what]


def _color(name: str) -> str:
    is_ours = name.endswith(("[chosen]", "[servax]")) or "[" not in name
    return "#1f6f8b" if is_ours else "#b8b8b8"


def _title(document: dict[str, Any]) -> str:
    environment = document["environment"]
    devices = sorted({device["device_kind"] for device in document["devices"].values()} - {"none"})
    where = ", ".join(devices)
    return f"{document['benchmark']} on {where}, {environment['date']}, {environment['commit']}"
