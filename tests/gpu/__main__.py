"""Predictions beside what a GPU really holds: generation and training steps of real classes, with random weights.

    python -m tests.gpu [--dry] [--device auto|cuda|cpu] [--write]

On a GPU it runs all cases, of which `--write` makes docs/gpu.md. Without one, small cases run on the CPU: that checks
the tensors, and nothing of a GPU's kernels and allocator. `--dry` prints the predictions alone, and needs no torch.
Exit code: 0 where each case is within 10 %, 1 where one is not or fails, 2 where the device is not there.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.gpu.cases import Case, Prediction, cases, predict, small_cases

if TYPE_CHECKING:
    from tests.gpu.meters import Meter
    from tests.gpu.steps import Measured

PAGE = Path(__file__).parents[2] / "docs" / "gpu.md"
WITHIN = 0.10
GIB = 2**30
TOO_LARGE = "does not fit here"


class Row(NamedTuple):
    """A case, what was predicted, and what was measured, or why it was not."""

    case: Case
    predicted: Prediction
    measured: Measured | None
    reason: str = ""

    @property
    def error(self) -> float | None:
        """Of the tensors at the peak; None where nothing was measured."""
        return self.predicted.peak / self.measured.peak - 1 if self.measured else None


def device_of(asked: str) -> str:
    """The device that is meant; a line for the reader where it is not a GPU.

    Raises:
        SystemExit: there is no such device, or no torch.
    """
    try:
        import torch
    except ModuleNotFoundError:
        print("gpu-check: no torch here, so nothing can be measured: use --dry", file=sys.stderr)
        raise SystemExit(2) from None
    if asked == "cpu" or torch.cuda.is_available():
        return "cpu" if asked == "cpu" else "cuda"
    if asked == "cuda":
        print(f"gpu-check: torch {torch.__version__} finds no CUDA GPU here", file=sys.stderr)
        raise SystemExit(2)
    some, all_ = len(list(small_cases())), len(list(cases()))
    print(
        f"gpu-check: no CUDA GPU here: {some} small cases run on the CPU instead of {all_}; docs/gpu.md is not written"
    )
    return "cpu"


def measured_rows(chosen: Iterable[Case], meter: Meter) -> list[Row]:
    """Every case, each printed as it comes."""
    from tests.gpu.steps import run

    rows = []
    for case in chosen:
        predicted = predict(case)
        if predicted.peak > meter.free:
            rows.append(Row(case, predicted, None, TOO_LARGE))
        else:
            try:
                rows.append(Row(case, predicted, run(case, meter)))
            except Exception as error:  # one that cannot run is named, and the others go on
                rows.append(Row(case, predicted, None, f"{type(error).__name__}: {error}"[:200]))
        print(line(rows[-1]), flush=True)
    return rows


def line(row: Row) -> str:
    """One row for a terminal."""
    found = f"{row.error:+.2%}" if row.error is not None else row.reason
    held = f"{row.measured.peak / GIB:8.3f}" if row.measured else " " * 8
    return f"{row.case.model:<14}{row.case!s:<60}{row.predicted.peak / GIB:8.3f} GiB{held}  {found}"


def page(rows: list[Row], machine: str, seconds: float) -> str:
    """docs/gpu.md."""
    found = sorted(abs(row.error) for row in rows if row.error is not None)
    lines = [
        "# On a real GPU",
        "",
        "Peaks of real transformers and peft classes with random weights, beside what the library says of their",
        "config. Allocated is `torch.cuda.max_memory_allocated`, reserved `max_memory_reserved`, shown what nvidia-smi",
        "has as `memory.used`.",
        "",
        f"Made by `make gpu-check` in {seconds:.0f} s: {machine}.",
        "",
        f"{len(found)} cases: median {found[len(found) // 2]:.2%} off, worst {found[-1]:.2%}. In GiB:",
        "",
        "| model | case | predicted | allocated | error | reserved, predicted | reserved | shown, predicted | shown |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        if row.measured is None:
            lines.append(f"| {row.case.model} | {row.case} | {_gib(row.predicted.peak)} | {row.reason} | | | | | |")
            continue
        wide = row.predicted.reserved
        span = "" if wide is None else " to ".join(dict.fromkeys(map(_gib, wide)))
        lines.append(
            f"| {row.case.model} | {row.case} | {_gib(row.predicted.peak)} | {_gib(row.measured.peak)}"
            f" | {row.error:+.2%} | {span} | {_gib(row.measured.reserved)} | {_gib(row.predicted.used)}"
            f" | {_gib(row.measured.used)} |"
        )
    return "\n".join(lines) + "\n"


def _gib(size: int | None) -> str:
    return "" if size is None else f"{size / GIB:.2f}"


def main(arguments: list[str] | None = None) -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto")
    parser.add_argument("--dry", action="store_true", help="print the predictions alone")
    parser.add_argument("--write", action="store_true", help="write docs/gpu.md (of a GPU alone)")
    options = parser.parse_args(arguments)
    if options.dry:
        print(f"gpu-check: a dry run: {len(list(cases()))} cases as they are predicted; nothing is measured")
        print("\n".join(line(Row(case, predict(case), None)) for case in cases()))
        return 0
    device = device_of(options.device)
    import torch
    import transformers

    from tests.gpu.meters import CpuMeter, CudaMeter

    start = time.monotonic()
    meter = CudaMeter() if device == "cuda" else CpuMeter()
    rows = measured_rows(cases() if device == "cuda" else small_cases(), meter)
    machine = f"{meter.name}; torch {torch.__version__}, transformers {transformers.__version__}"
    if options.write and device == "cuda":
        PAGE.write_text(page(rows, machine, time.monotonic() - start), "utf-8")
    ran = [row for row in rows if row.reason != TOO_LARGE]
    off = [row for row in ran if row.error is None or abs(row.error) > WITHIN]
    print(f"{machine}: {len(ran) - len(off)} of {len(ran)} cases within {WITHIN:.0%}", end="")
    print(f", {len(rows) - len(ran)} too large for it" if len(ran) < len(rows) else "")
    return 1 if off else 0


if __name__ == "__main__":
    raise SystemExit(main())
