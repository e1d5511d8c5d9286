"""One row a model: the comparison table's columns, and the same as CSV and Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from inspector.api.inspection import Inspection
from inspector.errors import InspectError
from inspector.record import error_record, inspection_record
from inspector.report.units import bytes_text, count_text, device_text, inert, number_text

Result = tuple[str, Inspection | InspectError]
"""The model as the user named it, and what came of it."""

COUNT_OF_NUMBERS = 6
"""Columns of the comparison before the devices'; all but the first hold numbers."""


def flat_record(name: str, result: Inspection | InspectError) -> dict[str, Any]:
    """A JSON record with its nested keys joined by dots; lists (fit) by their index."""
    record = error_record(name, result) if isinstance(result, InspectError) else inspection_record(result)
    flat: dict[str, Any] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else str(key), inner)
        elif isinstance(value, list) and prefix == "fit":
            for index, inner in enumerate(value):
                walk(f"{prefix}.{index}", inner)
        elif isinstance(value, list) and prefix != "parts":  # by_component has a column for each of them
            flat[prefix] = "; ".join(map(str, value))
        elif not isinstance(value, list):
            flat[prefix] = value

    walk("", record)
    return flat


def csv_text(results: Sequence[Result]) -> str:
    """A header line and a row a model; sizes in bytes; an empty cell for what is not known."""
    rows = [flat_record(name, result) for name, result in results]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows([{key: _csv_cell(value) for key, value in row.items()} for row in rows])
    return out.getvalue()


def _csv_cell(value: Any) -> Any:
    """Text from a repo, inert: no control characters, and nothing that a spreadsheet would run as a formula."""
    if not isinstance(value, str):
        return value
    text = inert(value)
    return f"'{text}" if text[:1] in "=+-@" else text


def comparison(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """The heads and rows of the comparison table: the models that could be read, and for each device its verdict."""
    good = [(name, result) for name, result in results if isinstance(result, Inspection)]
    gpus = list(dict.fromkeys(device_text(fit) for _, r in good for fit in r.fits))
    heads = ["model", "params", "weights", "KV cache", "total", "tokens", *gpus]
    rows = []
    for name, inspection in good:
        estimate = inspection.estimate
        rows.append(
            [
                inert(name),
                count_text(inspection.model.parameters.total),
                bytes_text(estimate.weights.bytes),
                bytes_text(estimate.kv_cache.bytes),
                bytes_text(estimate.total),
                number_text(estimate.workload.context),
                *({True: "fits", False: "no", None: "unknown"}[fit.fits] for fit in inspection.fits),
            ]
        )
    return heads, rows


def markdown_text(results: Sequence[Result]) -> str:
    """The comparison as a Markdown table."""
    heads, rows = comparison(results)
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"
