"""inspector/data/by_hand.json: what no script finds out, and what is made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import inspector
from inspector.hub.formats.gguf.config import gguf_table
from inspector.model.config.light import by_hand, table

DATA = Path(inspector.__file__).parent / "data"
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


@pytest.mark.parametrize("section", ["cache", "mlp_width"])
def test_the_rows_of_types_have_the_facts_that_are_said_by_hand(section: str) -> None:
    found = {name: entry[section] for name, entry in table().items() if section in entry}
    assert found == by_hand(section)
