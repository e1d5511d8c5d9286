"""The registry of the ways of packing: what each line has to have, and who may name a method."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import inspector
from inspector.model.config.read import SIGNS
from inspector.model.packing.packing import Packing
from inspector.model.packing.registry import (
    ALIASES,
    METHODS,
    ONLINE,
    PACKINGS,
    all_packings,
    facts_of,
    own_name,
    packing_of,
)

PACKAGE = Path(inspector.__file__).parent
SHARED = {"__init__", "packing", "registry", "recipe", "groups", "patterns", "report", "unpack", "guess"}


@pytest.mark.parametrize("method", METHODS)
def test_each_line_names_a_packing_that_stores_something(method: str) -> None:
    packing = packing_of(method)
    assert isinstance(packing, Packing)
    assert packing.tensors
    assert type(packing).__doc__


def test_each_file_of_a_packing_is_in_the_registry() -> None:
    files = {path.stem for path in (PACKAGE / "model/packing").glob("*.py")} - SHARED
    assert files == {reference.partition(":")[0] for reference in PACKINGS.values()}


def test_no_two_lines_have_the_same_name() -> None:
    names = [name for line in PACKINGS for name in line.split() or [""]]
    assert len(names) == len(set(names)) == len(METHODS) + len(ALIASES)


def test_a_file_without_a_recipe_is_looked_into_for_every_sign() -> None:
    signs = {sign for packing in all_packings().values() for sign in packing.signs or ()}
    assert all(any(known.endswith(sign) for known in SIGNS) for sign in signs)


def test_of_a_method_that_is_not_known_engines_know_nothing() -> None:
    for method in (None, "", "unheard-of"):
        assert type(facts_of(method)) is Packing
    assert packing_of("unheard-of") is None


@pytest.mark.parametrize("alias", ALIASES)
def test_under_each_of_its_names_a_method_has_the_same_rules(alias: str) -> None:
    assert facts_of(alias) is facts_of(ALIASES[alias]) is packing_of(alias)
    assert own_name(alias) == ALIASES[alias]


def test_names_for_what_engines_make_while_loading_are_no_packings() -> None:
    assert not {name for names in ONLINE.values() for name in names.split()} & (METHODS.keys() | ALIASES.keys())


def test_a_recipe_loads_its_own_packing_alone() -> None:
    code = (
        "import sys\n"
        "from inspector.model.packing.recipe import read_recipe\n"
        "read_recipe({'quant_method': 'hqq'})\n"
        "print(*[name.rpartition('.')[2] for name in sys.modules if 'model.packing.' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) - SHARED == {"hqq"}


def test_no_method_is_compared_by_name_outside_packing_and_an_engine() -> None:
    found = []
    for path in PACKAGE.rglob("*.py"):
        folder = path.relative_to(PACKAGE).as_posix()
        if folder.startswith("model/packing/") or (folder.startswith("engines/") and "/common/" not in folder):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Compare):
                continue
            sides = [node.left, *node.comparators]
            asked = any(isinstance(side, ast.Attribute) and side.attr in ("method", "quantization") for side in sides)
            texts = {text.value for side in sides for text in ast.walk(side) if isinstance(text, ast.Constant)}
            if asked and texts & (METHODS.keys() | ALIASES.keys()):
                found.append(f"{folder}:{node.lineno}")
    assert found == []
