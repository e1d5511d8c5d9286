"""The estimate of a case of tests/memory/data/training_peaks.json, from the stored config and headers alone."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import fields
from functools import lru_cache
from json import dumps, loads
from pathlib import Path
from typing import Any

from inspector.hub.cache.snapshot import decode_tensors
from inspector.hub.checkpoint import Checkpoint
from inspector.memory import Workload
from inspector.memory.training import TrainingEstimate, TrainingSetup, Weights, read_weights, training_estimate
from inspector.model import Model, build_model

PEAKS = Path(__file__).parents[1] / "data" / "training_peaks.json"

SETUP = {field.name for field in fields(TrainingSetup)}


def read_peaks(path: Path = PEAKS) -> dict[str, Any]:
    """The stored models and their cases, every setting and every measured size under its name.

    The file has in each case the settings that differ from `defaults`, and sizes in the order of `measured`.
    """
    stored: dict[str, Any] = loads(path.read_text(encoding="utf-8"))
    for model in stored["models"]:
        model["cases"] = [
            stored["defaults"] | case | {"measured": dict(zip(stored["measured"], case["measured"], strict=True))}
            for case in model["cases"]
        ]
    return stored


def model_of(stored: dict[str, Any]) -> tuple[Model, Weights]:
    """A stored model, as its config and the names and shapes of its tensors tell it."""
    return _read(dumps({key: stored[key] for key in ("config", "tensors", "parameters")}))


@lru_cache(maxsize=4)
def _read(text: str) -> tuple[Model, Weights]:
    stored = loads(text)
    checkpoint = Checkpoint("a/model", None, "local", stored["config"], tuple(decode_tensors(stored["tensors"])))
    model = build_model(checkpoint)
    assert model.parameters.total == stored["parameters"]
    return model, read_weights(checkpoint, model.architecture)


def estimate_of(stored: dict[str, Any], case: dict[str, Any]) -> TrainingEstimate:
    """The estimate for a stored model and one of its cases."""
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in case.items() if key in SETUP}
    if case.get("fused_loss"):
        given["logits"] = "chunked"
    setup = TrainingSetup(**given)
    model, weights = model_of(stored)
    return training_estimate(model, Workload(case["context"], case["batch"]), setup, tensors=weights)


def summary(rows: Iterable[dict[str, Any]], key: str = "error") -> str:
    """Cases, median, 95th percentile and worst of the absolute errors, as cells of a table."""
    rows = list(rows)
    found = sorted(abs(row[key]) for row in rows if row[key] is not None)
    if not found:
        return f"{len(rows)} | - | - | -"
    at_95 = found[min(len(found) - 1, int(0.95 * len(found)))]
    return f"{len(rows)} | {statistics.median(found):.2%} | {at_95:.2%} | {found[-1]:.2%}"
