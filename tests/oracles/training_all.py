"""The errors of all that `make oracle-training` measured in one table, beside what the tests hold of the same steps.

    python -m tests.oracles.training_all STEPS IMAGES OBJECTIVES

The files are the --outs of tests/oracles/training, training_images and objectives, of whole runs or of samples.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.memory.training import objectives_replay
from tests.memory.training.replay import PEAKS, read_peaks, summary
from tests.oracles.training import errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("steps", "images", "objectives"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    stored = (PEAKS, PEAKS.with_name("training_image_peaks.json"), objectives_replay.PEAKS)
    everything: list[dict[str, Any]] = []
    print("| kind | steps | median | 95 % are under | worst | as the tests hold them |\n|---|---|---|---|---|---|")
    for kind, path, held in zip(("steps", "images", "objectives"), vars(options).values(), stored, strict=True):
        read = objectives_replay.read_cases if kind == "objectives" else read_peaks
        result = read(path)
        rows = objectives_replay.errors(result) if kind == "objectives" else errors(result["models"])
        everything += rows
        print(f"| {kind} | {summary(rows)} | {agreement(result, read(held))} |")
    print(f"| all | {summary(everything)} | |")
    unknown = [row for row in everything if row["error"] is None]
    print(f"No estimate: {len(unknown)}.")


def agreement(measured: dict[str, Any], held: dict[str, Any]) -> str:
    """How many of the measured steps are held with the same peak, to the byte, and the names of those that are not."""
    peaks = {key: peak for _, key, peak in _peaks(held)}
    found = [(name, peaks.get(key) == peak) for name, key, peak in _peaks(measured)]
    others = sorted({name for name, equal in found if not equal})
    return f"{sum(equal for _, equal in found)} of {len(found)}" + (f"; not: {', '.join(others)}" if others else "")


def _peaks(result: dict[str, Any]) -> Iterator[tuple[str, tuple[str, ...], int]]:
    """Each step's model, what tells it from other steps, and its peak in bytes."""
    for model in result["models"]:
        for case in model["cases"]:
            settings = sorted(f"{name} {value}" for name, value in case.items() if name != "measured")
            yield model["name"], (model["name"], *settings), case["measured"]["peak"]


if __name__ == "__main__":
    main()
