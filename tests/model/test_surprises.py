"""A stored sample of what tests/oracles/surprises.py tried: changed configs, their files, what the class then holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.errors import InspectError
from inspector.hub.cache.snapshot import decode_tensors
from inspector.hub.checkpoint import Checkpoint
from inspector.model.build import build_model

SAMPLE = Path(__file__).parent / "surprises.json"
BUILDS: list[dict[str, Any]] = json.loads(SAMPLE.read_text("utf-8"))["builds"]


@pytest.mark.parametrize("build", BUILDS, ids=lambda build: f"{build['class']}-{build['surprise']}".replace(" ", "-"))
def test_a_surprise_is_counted_as_its_class_counts_it_or_has_a_note(build: dict[str, Any]) -> None:
    model = build_model(Checkpoint("a/b", None, "local", build["config"], decode_tensors(build["tensors"])))
    found = model.parameters
    noted = bool(found.notes or model.architecture.notes)
    assert found.total == build["parameters"] or noted


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(BUILDS), st.data())
def test_a_config_with_keys_missing_or_null_is_read_or_refused_and_never_raises(
    build: dict[str, Any], data: Any
) -> None:
    config = dict(build["config"])
    for key in data.draw(st.lists(st.sampled_from(sorted(config)), max_size=4, unique=True)):
        if data.draw(st.booleans()):
            config.pop(key)
        else:
            config[key] = None
    tensors = decode_tensors(build["tensors"])
    try:
        found = build_model(Checkpoint("a/b", None, "local", config, tensors)).parameters
    except InspectError:
        return
    assert 0 <= found.total <= 2 * sum(tensor.numel for tensor in tensors)
    assert found.total == sum(found.by_component.values())
