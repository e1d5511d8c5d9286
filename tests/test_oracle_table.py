"""docs/oracles.md says what the oracles left in docs/oracles/."""

from __future__ import annotations

import json

import pytest

from tests.oracles.table import DOCS, FOLDER, rendered


def test_the_page_is_up_to_date() -> None:
    assert (DOCS / "oracles.md").read_text("utf-8") == rendered()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_every_exception_has_its_cause(path: object) -> None:
    rows = json.loads(path.read_text("utf-8"))  # type: ignore[attr-defined]
    assert all(rows[key] for key in ("transformers", "date", "command"))
    for key, names in rows.items():
        if isinstance(names, dict):
            assert all(names.values()), key


def test_nearly_all_classes_agree() -> None:
    rows = json.loads((FOLDER / "parameters.json").read_text("utf-8"))
    assert rows["equal"] >= 0.99 * rows["classes"]
    assert rows["equal"] + len(rows["differs"]) == rows["classes"] > 1_600
    designs = json.loads((FOLDER / "designs.json").read_text("utf-8"))
    assert designs["equal"] >= 0.99 * designs["classes"] > 1_600
    facts = json.loads((FOLDER / "facts.json").read_text("utf-8"))
    assert facts["equal"] + len(facts["differs"]) == facts["classes"] > 750
