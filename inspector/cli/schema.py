"""The command `schema`: the JSON Schema of every JSON output."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from inspector.errors import UsageError

SCHEMA_FILE = Path(__file__).resolve().parents[1] / "data" / "schema.json"


@click.command()
def schema() -> int:
    """Print the JSON Schema (draft 2020-12) of every JSON output; its $defs have a name for each."""
    click.echo(json.dumps(json.loads(SCHEMA_FILE.read_bytes()), indent=2))
    return 0


def check_columns(names: Sequence[str]) -> None:
    """Refuse keys that no record of a model has, before anything is asked for.

    Args:
        names: keys joined by dots: "parameters.total", "fit.0.fits".

    Raises:
        UsageError: one that the schema does not have.
    """
    defs = json.loads(SCHEMA_FILE.read_bytes())["$defs"]
    tops = {**defs["inspection"]["properties"], **defs["error"]["properties"], "id": True, "outcome": True}
    for name in names:
        here: Any = {"properties": tops}
        for at, key in enumerate(name.split(".")):
            here = _whole(here, defs)
            known = here.get("properties", {}) if isinstance(here, dict) else {}
            if key in known:
                here = known[key]
            elif isinstance(here, dict) and here.get("type") == "array" and key.isdigit():
                here = here["items"]
            elif isinstance(here, dict) and isinstance(here.get("additionalProperties"), dict):
                here = here["additionalProperties"]
            elif here is True or (known == {} and here.get("type") == "object"):
                break
            else:
                near = difflib.get_close_matches(key, known, 1, 0.6)
                before = ".".join(name.split(".")[:at])
                meant = f"Did you mean {'.'.join(filter(None, (before, near[0])))}?" if near else ""
                raise UsageError(f"no record has the key '{name}'", meant or "`llm-inspect schema` prints them all.")


def _whole(part: Any, defs: dict[str, Any]) -> Any:
    """A part of the schema, what it refers to put in its place; of several kinds the one with keys."""
    while isinstance(part, dict) and ("$ref" in part or "anyOf" in part):
        if "$ref" in part:
            part = defs[part["$ref"].rpartition("/")[2]]
        else:
            part = next((each for each in part["anyOf"] if "$ref" in each or "properties" in each), part["anyOf"][0])
    return part
