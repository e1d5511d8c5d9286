"""A stored sample of what tests/oracles/parameters.py found: configs and headers of real classes, and their counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inspector.hub.cache.snapshot import decode_tensors
from inspector.hub.checkpoint import Checkpoint
from inspector.model.build import build_model

SAMPLE = Path(__file__).parent / "classes_sample.json"
BUILDS: list[dict[str, Any]] = json.loads(SAMPLE.read_text("utf-8"))["builds"]


@pytest.mark.parametrize("build", BUILDS, ids=lambda build: f"{build['class']}-{build['variation']}".replace(" ", "-"))
def test_a_class_holds_as_many_parameters_as_transformers_built_it_with(build: dict[str, Any]) -> None:
    tensors = decode_tensors(build["tensors"])
    model = build_model(Checkpoint(build["class"], None, "local", build["config"], tensors))
    assert model.parameters.total == build["parameters"]
    assert sum(model.parameters.by_component.values()) == build["parameters"]


def test_the_sample_is_wide_and_small() -> None:
    assert len({build["class"] for build in BUILDS}) > 120
    assert sum(build["variation"] != "default" for build in BUILDS) > 75
    assert SAMPLE.stat().st_size < 300_000
