"""What the product says of an engine's cache, beside that engine's own code: `make oracle-engines`.

    python -m tests.oracles.engines NAME LINES.jsonl [--write]

One entry an engine in `ORACLES`: a module whose `compared(lines)` gives counts (numbers) and what differs by name
(objects), whose TITLE and MEANINGS say what they are, and whose `head()` names the releases. --write keeps all in
docs/oracles/engines_NAME.json and renders docs/oracles.md. The engine's own side runs in an environment of its own: the
Makefile has a target for each.
"""

from __future__ import annotations

import argparse
import importlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import inspector
from inspector.devices.spec import parse_gpu
from inspector.engines.registry import engine_named
from inspector.engines.serving import Serving
from inspector.memory import Workload
from inspector.model import Model
from tests.oracles.table import ENGINES, keep

ORACLES: Mapping[str, str] = ENGINES
"""Engine -> its comparison (tests/oracles/table.py has the list, as it renders what each left)."""

GPU = "H200"


def asked(
    engine_name: str,
    config: Mapping[str, Any],
    context: int,
    folder: Path,
    header: Mapping[str, Any] | None = None,
    **options: Any,
) -> tuple[Model, Serving]:
    """The product's answer for a config.json, beside one stand-in tensor or the header given.

    Args:
        folder: to be made; the files stay.
    """
    tensors = header or {"x": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}
    text = json.dumps(tensors).encode()
    size = max(entry["data_offsets"][1] for entry in tensors.values())
    folder.mkdir()
    folder.joinpath("config.json").write_text(json.dumps(config), "utf-8")
    with folder.joinpath("model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + size)
    model = inspector.load(str(folder)).model
    engine = engine_named(engine_name)
    return model, engine.plan(
        model, Workload(context=context), parse_gpu(GPU), engine.options(**options), suggest=False
    )


def differing(facts: dict[str, tuple[Any, Any]], engine: str) -> dict[str, str]:
    """What is told and what the engine says, of the facts that differ."""

    def said(value: Any) -> str:
        return f"{value:,}" if isinstance(value, int) else str(value)

    return {
        name: f"{said(told)} told, {said(real)} by {engine}" for name, (told, real) in facts.items() if told != real
    }


def cannot_tell(serving: Serving) -> str | None:
    """Why the product gives no account; None where it gives one."""
    return next((note for note in serving.notes if note.startswith("cannot tell")), None)


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("engine", choices=sorted(ORACLES))
    parser.add_argument("lines", type=Path)
    parser.add_argument("--write", action="store_true", help="store the findings and render docs/oracles.md")
    parser.add_argument("--release", help="of the lines, where it is not the one that the product's table is of")
    given = parser.parse_args()
    oracle = importlib.import_module(ORACLES[given.engine])
    found = oracle.compared(read_lines(given.lines))
    print(json.dumps(found, indent=1))
    if given.write:
        rows = {"command": f"make oracle-{given.engine}", **oracle.head(), **found}
        name = f"engines_{given.engine}"
        if given.release:
            name, rows["transformers"] = f"{name}_{given.release}", f"of the release; {given.engine} {given.release}"
        keep(name, rows)


if __name__ == "__main__":
    main()
