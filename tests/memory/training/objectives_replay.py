"""The estimates of the cases of tests/memory/data/objective_peaks.json, and how far they are from what was measured."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from inspector.memory import Workload
from inspector.memory.training import Sharding, TrainingEstimate, TrainingSetup, training_estimate
from inspector.memory.training.objectives.companion import Companion
from tests.memory.training.replay import SETUP, model_of, summary

PEAKS = Path(__file__).parents[1] / "data" / "objective_peaks.json"


def read_cases(path: Path = PEAKS) -> dict[str, Any]:
    """The models and their cases."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@lru_cache(maxsize=1)
def stored_models() -> dict[str, dict[str, Any]]:
    """The models of the stored cases by their names."""
    return {model["name"]: model for model in read_cases()["models"]}


def estimate_of(stored: dict[str, Any], case: dict[str, Any]) -> TrainingEstimate:
    """The estimate for a stored model and one of its cases."""
    setup = TrainingSetup(**{"optimizer_impl": "foreach"} | {key: case[key] for key in case if key in SETUP})
    model, weights = model_of(stored)
    if "teacher" in case:
        companion = Companion("reference_repo", case["teacher"], *model_of(stored_models()[case["teacher"]]))
        setup = replace(setup, reference_repo=companion.name, companions=(companion,))
    workload = Workload(case.get("context", 512), case.get("batch", 1))
    sharding = Sharding(grad_accum=case.get("accumulated", 1))
    return training_estimate(model, workload, setup, sharding, tensors=weights)


def errors(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Estimate against measurement of every case: of the step's peak, and of its passes without the optimizer."""
    rows = []
    for model in result["models"]:
        for case in model["cases"]:
            estimate, measured = estimate_of(model, case), case["measured"]
            assert estimate.peak is not None, (model["name"], case, estimate.warnings)
            own = {phase: size for phase, size in estimate.phases.items() if phase != UNMEASURED.get(case["objective"])}
            passes = max(size for phase, size in own.items() if phase != "optimizer")
            found = max(size for phase, size in measured.items() if phase in PASSES)
            error, of_passes = max(own.values()) / measured["peak"] - 1, passes / found - 1
            rows.append({"model": model, "case": case, "error": error, "passes": of_passes})
    return rows


UNMEASURED = {"ppo": "generation"}
"""Objective -> the phase that its oracle stands in for."""

PASSES = ("scoring", "forward", "backward")
"""Measured phases before the optimizer's."""


def table_of(result: dict[str, Any]) -> str:
    """The errors as Markdown."""
    rows = errors(result)
    lines = ["| cases of | number | median | 95 % are under | worst |", "|---|---|---|---|---|"]
    lines.append(f"| all {len(result['models'])} models | {summary(rows)} |")
    lines.append(f"| all, without the optimizer's step | {summary(rows, 'passes')} |")
    unseen = [row for row in rows if row["model"]["unseen"]]
    if unseen:
        lines.append(f"| the unseen types | {summary(unseen)} |")
        lines.append(f"| the unseen types, without the optimizer's step | {summary(unseen, 'passes')} |")
    for objective in dict.fromkeys(row["case"]["objective"] for row in rows):
        for logits in ("all", "chunked"):
            chosen = [row for row in rows if (row["case"]["objective"], row["case"]["logits"]) == (objective, logits)]
            if chosen:
                lines.append(
                    f"| {objective}, logits {logits}, without the optimizer's step | {summary(chosen, 'passes')} |"
                )
    return "\n".join([*lines, "", *_models(result)]) + "\n"


def _models(result: dict[str, Any]) -> list[str]:
    """The models of the cases, and what measured them."""
    names = {seen: [] for seen in (False, True)}  # type: dict[bool, list[str]]
    for model in result["models"]:
        names[model["unseen"]].append(f"{model['name']} ({model['config']['model_type']})")
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    return [f"Models: {', '.join(names[False])}; unseen: {', '.join(names[True])}.", f"Measured with {versions}."]
