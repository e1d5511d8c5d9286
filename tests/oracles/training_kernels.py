"""Measures training steps with fused kernels, Liger's and xIELU's, and how far the estimate is from them.

    python -m tests.oracles.training_kernels [--models NAME ...] [--known FILE] [--out FILE] [--again FILE]

As tests/oracles/training.py; Liger's own code runs under fake tensors (inspector/measure/kernels.py), with its fused
loss and without. Needs liger-kernel and triton beside what that needs, no GPU. --out stores the peaks that
tests/memory/training/test_kernels.py replays without torch.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

from inspector.measure.step import Step, measure
from tests.memory.training.replay import read_peaks
from tests.oracles.training import VERSIONS, cases_of, compact, earlier_run, errors, label, print_errors, stored_model
from tests.oracles.training_grid import GRID, GridModel

OUT = Path(__file__).parents[1] / "memory" / "data" / "kernel_peaks.json"

LIGER = (
    *("llama-3-8b", "llama-3.2-1b", "mistral-7b", "qwen2.5-7b", "qwen3-8b", "gemma-2-9b", "gemma-3-4b", "phi-3-mini"),
    *("granite-3-8b", "qwen3-30b-a3b", "mixtral-8x7b", "gemma-2b", "olmo-2-7b", "smollm3-3b", "glm-4-9b"),
    *("gpt-oss-20b", "hunyuan-7b", "exaone-4-1.2b"),
)
OWN_LOSS = ("granite-3-8b",)
"""Of types for which Liger has no fused loss."""
XIELU = ("apertus-8b",)
"""Models of tests/oracles/training_grid.py."""


def steps(model: GridModel) -> Iterator[Step]:
    """Every case of a model."""
    batch, context = model.shapes[-1]
    ways = [*product(("full", "lora"), ("bf16", "mixed")), ("qlora", "bf16")]
    kernels = "xielu" if model.name in XIELU else "liger"
    for (method, precision), (checkpointing, fused) in product(ways, (("none", False), ("none", True), ("full", True))):
        yield Step(
            method=method,
            precision=precision,
            checkpointing=checkpointing,
            optimizer="sgd" if method == "full" else "adamw",
            batch=batch,
            context=context,
            kernels=kernels,
            fused_loss=fused and model.name not in (*OWN_LOSS, *XIELU),
        )


def run_model(model: GridModel, known: dict[str, Any] | None) -> dict[str, Any]:
    """The model's config and size, and its cases with their measured peaks; those that are known are not run again."""
    warnings.simplefilter("ignore")
    peaks_of = partial(measure, model.model_type, model.config())
    return stored_model(model, cases_of(model.name, dict.fromkeys(steps(model)), known, peaks_of, labelled))


def labelled(case: dict[str, Any]) -> str:
    """One case in a few words."""
    return " ".join([label(case), case["kernels"], *["fused loss"] * case["fused_loss"]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=[*LIGER, *XIELU])
    parser.add_argument("--known", type=Path, help="an earlier --out of the same releases, whose cases are kept")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--again", type=Path, help="measured peaks of an earlier --out; no new measurement")
    options = parser.parse_args()
    start = time.monotonic()
    if options.again:
        result = read_peaks(options.again)
    else:
        versions = VERSIONS | {"liger-kernel": version("liger-kernel")}
        models = {model["name"]: model for model in earlier_run(options.known, versions)["models"]}
        result = {"command": "python -m tests.oracles.training_kernels", "versions": versions, "unit": "bytes"}
        for model in (each for each in GRID if each.name in options.models):
            models[model.name] = run_model(model, models.get(model.name))
            result |= {"models": list(models.values()), "seconds": round(time.monotonic() - start)}
            if options.out:
                options.out.write_text(compact(result))
    print_errors(errors(result["models"]), labelled)


if __name__ == "__main__":
    main()
