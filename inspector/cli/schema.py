"""The command `schema`: the JSON Schema of every JSON output."""

from __future__ import annotations

import json
from pathlib import Path

import click

SCHEMA_FILE = Path(__file__).resolve().parents[1] / "data" / "schema.json"


@click.command()
def schema() -> int:
    """Print the JSON Schema (draft 2020-12) of every JSON output; its $defs have a name for each."""
    click.echo(json.dumps(json.loads(SCHEMA_FILE.read_bytes()), indent=2))
    return 0
