"""inspector/data/by_hand.json: what no script finds out, and what is made of it."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import inspector
from inspector.hub.formats.gguf.config import gguf_table
from inspector.model.config.light import by_hand, table

DATA = Path(inspector.__file__).parent / "data"
CACHES = Path(__file__).parents[2] / "fixtures" / "cache_facts.json"
MEASURED: dict[str, Any] = json.loads(CACHES.read_text("utf-8"))["facts"]
"""By fixtures/make_caches.py."""
SECTIONS: dict[str, Any] = json.loads((DATA / "by_hand.json").read_text("utf-8"))


def test_every_line_has_a_value_and_a_reason_and_no_type_stands_twice_in_a_section() -> None:
    for section in SECTIONS.values():
        names = [name for key in section for name in key.split()]
        assert sorted(names) == sorted(set(names))
        for line in section.values():
            assert set(line) == {"value", "reason"}
            assert len(line["reason"]) > 10


def test_the_table_of_gguf_has_what_is_said_by_hand() -> None:
    gguf = gguf_table()
    assert by_hand("gguf_types").items() <= gguf["types"].items()
    for name in ("told_apart", "states", "layers", "config", "quantizer"):
        assert gguf[name] == by_hand(f"gguf_{name}"), "python -m fixtures.make_gguf"
    for name in ("delta_net", "headless", "tied", "windowless"):
        assert gguf[name] == sorted(by_hand(f"gguf_{name}")), "python -m fixtures.make_gguf"


def test_the_table_of_mlx_has_what_is_said_by_hand() -> None:
    table = json.loads((DATA / "mlx.json").read_text("utf-8"))
    for section in SECTIONS:
        if section.startswith("mlx_"):
            assert by_hand(section).keys() <= {*table[section.removeprefix("mlx_")]}, "python -m fixtures.make_mlx"


def test_the_rows_of_types_have_the_facts_that_are_said_by_hand() -> None:
    for section in ("activations", "cache", "counted_otherwise", "more_embedding_rows"):
        found = {name: entry[section] for name, entry in table().items() if section in entry}
        measured = MEASURED if section == "cache" else {}
        assert found == {name: fact for name, fact in {**measured, **by_hand(section)}.items() if name in table()}


def test_no_fact_of_a_cache_that_is_measured_stands_by_hand_as_well() -> None:
    assert not [name for name, fact in by_hand("cache").items() if MEASURED.get(name) == fact]


def test_each_data_file_names_the_command_that_makes_it_and_the_release() -> None:
    for path in DATA.rglob("*.json"):
        if path.name in ("gpus.json", "by_hand.json", "schema.json"):
            continue
        head = path.read_text("utf-8")[:300]
        assert "make_" in head or "-m tests.oracles" in head or "-m benchmarks" in head, path.name
        if path.parent.name in ("classes", "designs") or path.name == "speed.json":
            continue  # of one release, which digests.json names; of published measurements, of none
        assert any(
            f'"{name}"' in head or f"{name} " in head for name in ("transformers", "diffusers", "mlx-lm", "build")
        ), path.name


def test_code_names_fewer_than_35_model_types() -> None:
    """Most are words that mean something else there: a file's name, a role, a kind of layer or state, a packing."""
    types = set(table()) | {path.stem for path in (DATA / "classes").glob("*.json")} - {"index"}
    named = []
    for path in (DATA.parent).rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        named += [
            f"{path.relative_to(DATA.parent)}:{node.lineno} {node.value}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and node.value in types and id(node) not in prose
        ]
    assert len(named) < 35, named
