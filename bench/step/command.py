"""`servax bench step`: whole steps of a model with dummy weights, beside the roofline.

The roofline is the larger of (bytes a step must read) / (this run's copy) and (FLOPs it must
compute) / (this run's matmul); transformers runs the same loads on the same card after us.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable

from bench import report
from bench.step.loads import LOADS, QUICK
from bench.step.models import MODELS
from bench.supervise import CEILINGS, Case, Record, run_cases, wanted

OURS = "bench.step.worker"
TRANSFORMERS = "bench.step.torch_worker"
CASE_TIMEOUT_S = 300.0
"""Of the first case: it makes the weights and compiles."""


def main(arguments: list[str]) -> int:
    """Run the benchmark; 1 if a case failed or hung."""
    options = parser().parse_args(arguments)
    report.verify_output(options)
    cases = wanted(planned(options), options.only)
    before = report.card_state()

    def note(records: list[Record]) -> None:
        print(line_of(records[-1], records), flush=True)
        report.write(options, "step", records, {"complete": False})

    records, devices = run_cases(cases, options.budget_s, note)
    for record in records:
        record.update(against_roofline(record, records))
    left_out = [record["name"] for record in records if record["status"] == "no time"]
    if left_out:
        print(f"no time for {len(left_out)}: {', '.join(left_out)}")
    facts = {
        "complete": not left_out,
        "devices": devices,
        "card": {"before": before, "after": report.card_state()},
    }
    file = report.write(options, "step", records, facts)
    if file is not None:
        print(f"written to {file}; {report.plot(file)}")
    return report.exit_status(records)


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="servax bench step", description=__doc__)
    report.add_common_options(made)
    made.add_argument("--model", choices=MODELS, default="llama-3.1-8b")
    made.add_argument("--trace", action="store_true", help="say which kernels a step spends on")
    return made


def planned(options: argparse.Namespace) -> Iterable[Case]:
    """Ceilings, our steps, then transformers on the same loads."""
    loads = QUICK if options.quick else LOADS
    model = "tiny" if options.quick else options.model
    yield Case(CEILINGS, OURS, {"measure": "ceilings", "quick": options.quick})
    for module, who in ((OURS, "servax"), (TRANSFORMERS, "transformers")):
        for index, load in enumerate(loads):
            arguments = {
                "measure": "step",
                "model": model,
                "loads": [dataclasses.asdict(each) for each in loads],
                "index": index,
                "quick": options.quick,
                "trace": options.trace,
            }
            yield Case(f"{model} {load.name} [{who}]", module, arguments, CASE_TIMEOUT_S)


def against_roofline(record: Record, records: list[Record]) -> dict[str, float]:
    """The least time this run's ceilings allow a step, and its share of the measured one."""
    ceilings = next((r for r in records if "copy_bytes_per_s" in r), None)
    if ceilings is None or "flops" not in record or "bytes" not in record:
        return {}
    limit_s = max(
        record["bytes"] / ceilings["copy_bytes_per_s"],
        record["flops"] / ceilings["matmul_flops_per_s"],
    )
    share = limit_s / (record["median_us"] / 1e6)
    return {"roofline_us": round(limit_s * 1e6, 3), "share_of_roofline": round(share, 4)}


def line_of(record: Record, records: list[Record]) -> str:
    """One line for the screen."""
    if record["status"] != "measured":
        return f"{record['status']:>9}  {record['name']}: {record.get('reason', '')}"
    if "copy_bytes_per_s" in record:
        copy, matmul = record["copy_bytes_per_s"], record["matmul_flops_per_s"]
        return f" measured  ceilings: {copy / 1e9:.1f} GB/s, {matmul / 1e12:.2f} TFLOP/s"
    found = f"{record['median_us'] / 1e3:.3f} ms, {record['tokens_per_s']:.0f} tok/s"
    limit = against_roofline(record, records)
    if limit:
        found += f", {limit['share_of_roofline']:.0%} of roofline, attention {record['attention']}"
    return "\n".join([f" measured  {record['name']}: {found}", *trace_lines(record)])


def trace_lines(record: Record) -> list[str]:
    """The costliest kernels of a traced step."""
    trace = record.get("trace")
    if not trace:
        return [] if trace is None else ["    this device leaves no trace of its kernels"]
    head = f"    {trace['num_kernels']} kernels, busy {trace['busy_us']} of {trace['span_us']} us"
    return [
        head,
        *(
            f"    {each['us']:9.1f} us {each['calls']:6.1f} x  {each['name']}"
            for each in trace["kernels"]
        ),
    ]
