"""The registry of the layers' mechanisms, and who may name one."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

import pytest

import inspector
from inspector.model import layers
from inspector.model.layers.layer import CacheRequest, Layer
from inspector.model.layers.registry import ADDITIONS, LAYER_TYPES, OF_FACTS, load

PACKAGE = Path(inspector.__file__).parent
REFERENCES = sorted({*LAYER_TYPES.values(), *OF_FACTS.values()})


@pytest.mark.parametrize("reference", REFERENCES)
def test_each_line_names_a_frozen_mechanism_that_is_found_by_its_name_too(reference: str) -> None:
    mechanism = load(reference)
    assert issubclass(mechanism, Layer)
    assert dataclasses.is_dataclass(mechanism)
    assert mechanism.__hash__ is not None
    assert mechanism.__doc__
    assert getattr(layers, reference.partition(":")[2]) is mechanism


def test_additions_are_functions_and_no_other_name_is_found() -> None:
    assert all(callable(load(reference)) for reference in ADDITIONS.values())
    with pytest.raises(AttributeError):
        _ = layers.WarpAttention


def test_each_file_of_a_mechanism_is_in_the_registry() -> None:
    files = {path.stem for path in (PACKAGE / "model/layers").glob("*.py")} - {
        "__init__",
        "layer",
        "registry",
        "states",
    }
    assert files == {reference.partition(":")[0] for reference in (*REFERENCES, *ADDITIONS.values())}


def test_a_mechanism_that_gives_nothing_is_unknown_and_never_zero() -> None:
    request = CacheRequest(100, 2, 16)
    layer = Layer()
    assert layer.values_per_token is None
    assert layer.cache_bytes(request) is None
    assert layer.bits_per_token(16) is None
    assert layer.counters("dynamic") is None
    assert layer.rows is None
    assert layer.quantized_widths is None
    assert not layer.prefill_measured


def test_no_step_but_an_engine_names_a_mechanism() -> None:
    """Others ask the layer, and evidence/ makes them of tensors as each mechanism's `read` does of a config. An
    engine's rule is for the classes that it names, with "cannot tell" for all others."""
    common = {"inspector.model.layers.layer", "inspector.model.layers.registry"}
    found = set()
    for path in PACKAGE.rglob("*.py"):
        step = path.relative_to(PACKAGE).parts
        if step[0] == "engines" or step[:2] in (("model", "layers"), ("model", "evidence")):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("inspector.model.layers"):
                found |= {(path.stem, alias.name) for alias in node.names if node.module not in common}
    assert found == {("architecture", "cached_heads"), ("architecture", "head_dim_of")}  # formulas, no classes
