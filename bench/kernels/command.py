"""`servax bench kernels`: attention and sampler kernels against this device's own ceilings.

`--check` asks whether attention is right, `--tune` which sizes are fastest; without either,
speed is measured: ours, XLA's plain attention and torch's, in one run.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable
from typing import Any

from bench import report
from bench.kernels import loads, tune
from bench.kernels.loads import Load
from bench.supervise import CEILINGS, Case, Record, run_cases, wanted

OURS = "bench.kernels.worker"
TORCH = "bench.kernels.torch_worker"
SAMPLER_SHAPES = ((32, 128256), (128, 128256), (256, 128256))
QUICK_SAMPLER_SHAPES = ((8, 512),)
FIRST_LENGTHS = (129, 1000, 64, 513)
"""The lengths that show most, checked in every way."""
OTHER_LENGTHS = (1, 2, 63, 65, 127, 128, 191, 192, 193, 511, 512, 1025)
QUICK_LENGTHS = (17,)
CHECK_TIMEOUT_S = 60.0


def main(arguments: list[str]) -> int:
    """Run the benchmark; 1 if a case failed or hung."""
    options = parser().parse_args(arguments)
    report.verify_output(options)
    cases = wanted(planned(options), options.only)
    before = report.card_state()

    def note(records: list[Record]) -> None:
        print(line_of(records[-1], records), flush=True)
        report.write(options, "kernels", records, {"complete": False})

    records, devices = run_cases(cases, options.budget_s, note)
    add_shares(records)
    facts: dict[str, Any] = {
        "complete": all(record["status"] != "no time" for record in records),
        "devices": devices,
        "card": {"before": before, "after": report.card_state()},
    }
    if options.tune:
        facts["table"] = tune.best_rows(records)
        print("\n".join(["", "rows for paged_attention/gpu/tuning.py:", *facts["table"]]))
    left_out = [record["name"] for record in records if record["status"] == "no time"]
    if left_out:
        print(f"no time for {len(left_out)}: {', '.join(left_out)}")
    file = report.write(options, "kernels", records, facts)
    if file is not None:
        print(f"written to {file}; {report.plot(file)}")
    return report.exit_status(records)


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="servax bench kernels", description=__doc__)
    report.add_common_options(made)
    what = made.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="is attention right on this device?")
    what.add_argument("--tune", action="store_true", help="time the GPU kernels' sizes")
    return made


def planned(options: argparse.Namespace) -> list[Case]:
    """The cases, most important first."""
    if options.check:
        return list({case.name: case for case in check_cases(options.quick)}.values())
    return list(tune_cases() if options.tune else speed_cases(options.quick))


def speed_cases(quick: bool) -> Iterable[Case]:
    """Ceilings, the loads with goals, torch on the same, then everything else."""
    yield ours(CEILINGS, "ceilings", quick=quick)
    goals, main = (loads.QUICK, ()) if quick else (loads.GOALS, loads.MAIN)
    yield from (attention(load, "chosen", quick) for load in goals)
    yield from (attention(load, "chosen", quick) for load in main[:3])
    yield from (torch_case(load) for load in (*goals, *main[:3]))
    yield from (attention(load, "chosen", quick) for load in main[3:])
    yield from sampler_cases(quick)
    yield from (attention(load, "xla", quick) for load in (*goals, *main[:3]))
    if not quick:
        rest = [load for load in loads.ALL if load not in (*goals, *main)]
        yield from (attention(load, "chosen", quick) for load in rest)
        yield from (torch_case(load) for load in (*main[3:], *rest))


def sampler_cases(quick: bool) -> Iterable[Case]:
    """Searches for the cut, and the whole sampler."""
    for num_rows, vocab_size in QUICK_SAMPLER_SHAPES if quick else SAMPLER_SHAPES:
        shape = {"num_rows": num_rows, "vocab_size": vocab_size, "quick": quick}
        size = f"{num_rows}x{vocab_size}"
        yield ours(f"search for top-k {size}", "searches", **shape)
        yield ours(f"sample_full {size}", "sampler", **shape)


def check_cases(quick: bool) -> Iterable[Case]:
    """Every check at a few lengths, then other heads, then masks at many lengths."""
    heads, page_size = ("tiny", 16) if quick else ("llama-3.1-8b", 64)
    ragged = Load(heads, ((3, 100, 1), (1, 70, 33), (2, 129, 129), (1, 65, 1)), page_size)
    yield check(ragged, "parity")
    yield check(ragged, "future")
    for length in QUICK_LENGTHS if quick else FIRST_LENGTHS:
        yield from mask_checks(heads, length, page_size)
        yield check(Load(heads, ((1, length, 1),), page_size), "bits")
    for other in () if quick else loads.HEADS:
        for size in (64, 128):
            yield check(dataclasses.replace(ragged, heads=other, page_size=size), "parity")
    for length in () if quick else OTHER_LENGTHS:
        yield from mask_checks(heads, length, page_size)


def mask_checks(heads: str, length: int, page_size: int) -> Iterable[Case]:
    """A whole prompt and its last token, asked for what they must not see."""
    whole = Load(heads, ((1, length, length),), page_size)
    yield check(whole, "parity")
    yield check(whole, "future")
    yield check(dataclasses.replace(whole, window=min(length, 33)), "window")
    yield check(Load(heads, ((1, length, 1),), page_size), "future")


def tune_cases() -> Iterable[Case]:
    """All sizes of one shape after another, the most served model first."""
    yield ours(CEILINGS, "ceilings", quick=False)
    for heads, page_size in tune.TUNED:
        for kernel, sizes in tune.candidates(loads.HEADS[heads].head_dim):
            of_kernel = tune.decode_loads if kernel == "decode" else tune.prefill_loads
            for load in of_kernel(heads, page_size):
                name = f"{load.name} {tuple(sizes.values())}"
                yield ours(name, "sizes", load=dataclasses.asdict(load), sizes=sizes)


def attention(load: Load, implementation: str, quick: bool) -> Case:
    """Time of one load."""
    given = {"load": dataclasses.asdict(load), "implementation": implementation, "quick": quick}
    return ours(f"{load.name} [{implementation}]", "attention", **given)


def check(load: Load, kind: str) -> Case:
    """One question of `bench.kernels.checks`."""
    case = ours(f"{kind}: {load.name}", "check", load=dataclasses.asdict(load), check=kind)
    return dataclasses.replace(case, timeout_s=CHECK_TIMEOUT_S)


def ours(name: str, measure: str, /, **arguments: Any) -> Case:
    """A case of our own child."""
    return Case(name, OURS, {"measure": measure, **arguments})


def torch_case(load: Load) -> Case:
    """The same load in torch."""
    return Case(f"{load.name} [torch]", TORCH, {"load": dataclasses.asdict(load)})


def add_shares(records: list[Record]) -> None:
    """To every record with rates: which share of the ceilings of this run they are."""
    for record in records:
        record.update(shares(record, records))


def shares(record: Record, records: list[Record]) -> dict[str, float]:
    """Shares of the copy and of the matmul; empty where there is nothing to divide."""
    ceilings = next((r for r in records if "copy_bytes_per_s" in r), None)
    if ceilings is None:
        return {}
    of = {"bytes_per_s": "copy_bytes_per_s", "flops_per_s": "matmul_flops_per_s"}
    return {
        f"share_of_{ceiling.split('_')[0]}": round(record[rate] / ceilings[ceiling], 4)
        for rate, ceiling in of.items()
        if rate in record
    }


def line_of(record: Record, records: list[Record]) -> str:
    """One line for the screen."""
    if record["status"] != "measured":
        return f"{record['status']:>9}  {record['name']}: {record.get('reason', '')}"
    if "copy_bytes_per_s" in record:
        copy, matmul = record["copy_bytes_per_s"], record["matmul_flops_per_s"]
        return f" measured  ceilings: {copy / 1e9:.1f} GB/s, {matmul / 1e12:.2f} TFLOP/s"
    found = [f"{record[name]:.1f} us" for name in ("median_us",) if name in record]
    found += [f"{value:.0%} {name}" for name, value in shares(record, records).items()]
    found += [f"{name} {record[name]}" for name in SHOWN if name in record]
    return f" measured  {record['name']}: {', '.join(found)}"


SHOWN = ("kind", "backend", "fastest", "largest_error", "bit_equal", "repeats_itself")
