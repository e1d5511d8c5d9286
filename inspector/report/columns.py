"""Columns of CSV, Markdown and Parquet: their names, where they stand in a record, and what people see in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from inspector.report.units import bytes_text, count_text, device_text, gib_text, number_text, verdict_text

if TYPE_CHECKING:
    from inspector.record import Record

FIRST_COLUMNS = ("id", "outcome")
"""Of every row of a batch: a resumed one goes by them."""

CSV_COLUMNS = (
    *("repo_id", "revision", "source", "model.model_type", "model.architecture", "model.dtype"),
    *("parameters.total", "parameters.active", "parameters.exact"),
    *("checkpoint.format", "checkpoint.files", "checkpoint.tensor_bytes", "checkpoint.download_bytes"),
    *("memory.inference.weights", "memory.inference.kv_cache", "memory.inference.activations"),
    *("memory.inference.overhead", "memory.inference.total", "memory.inference.context", "memory.inference.batch"),
)
"""Of a batch's CSV, whose head is written before the records are known; then each device's, warnings and error."""
FIT_COLUMNS = ("gpu", "count", "needed", "fits", "headroom", "max_context")

_WORD = re.compile("[a-z_]+")


class Column(NamedTuple):
    """A column for people.

    Attributes:
        key: what it shows, keys of the record joined by dots.
        head: what it is called.
        shown: a value as people read it, None included.
        short: the head where there is little room; "" where `head` is short.
        short_shown: a value where there is little room; None where that is as `shown`.
    """

    key: str
    head: str
    shown: Callable[[Any], str]
    short: str = ""
    short_shown: Callable[[Any], str] | None = None

    def narrow(self, value: Any) -> str:
        """A value where there is little room."""
        return (self.short_shown or self.shown)(value)


MEMORY_COLUMNS = (
    Column("parameters.total", "parameters", count_text, "params"),
    Column("memory.inference.weights", "weights", bytes_text),
    Column("memory.inference.kv_cache", "KV cache", bytes_text),
    Column("memory.inference.total", "total", bytes_text),
    Column("memory.inference.context", "context", number_text, "tokens"),
)
TRAINING_COLUMNS = (
    Column("training.method", "method", str),
    Column("parameters.total", "parameters", count_text),
    Column("training.trainable_parameters", "trainable", count_text),
    Column("training.weights", "weights", bytes_text),
    Column("training.gradients", "gradients", bytes_text),
    Column("training.optimizer_states", "optimizer states", bytes_text),
    Column("training.activations", "activations", bytes_text),
    Column("training.logits", "logits", bytes_text),
    Column("training.temporaries", "temporaries", bytes_text),
    Column("training.peak", "peak", bytes_text),
)


LAYOUT_COLUMN = Column("training.layout.least.options", "layout", str)
"""Of a step whose layout was proposed."""


def _range_text(found: Record | None) -> str:
    return "" if found is None else f"{found['low']:,.3g}-{found['high']:,.3g}"


BUNDLED_COLUMNS = (
    Column("repo_id", "model", str),
    Column("parameters.total", "parameters", count_text, "params"),
    Column("license", "license", lambda value: value or ""),
    Column("pipeline_tag", "task", lambda value: value or ""),
)
FOUND_COLUMNS = (
    Column("repo_id", "model", str),
    Column("parameters.total", "parameters", count_text, "params"),
    Column("dtype", "weights", str),
    Column("engine", "engine", str),
    Column("needed", "needs", bytes_text, "GiB", gib_text),
    Column("headroom", "headroom", bytes_text, "left", gib_text),
    Column("max_context", "longest context", number_text, "context"),
    Column("decode_bound", "tok/s at most", lambda value: "" if value is None else f"{value:,.3g}", "tok/s"),
    Column("decode_forecast", "tok/s, likely", _range_text, "likely"),
    Column(
        "decode_cost", "USD per million tokens, at least", lambda value: "" if value is None else f"{value:,.3g}", "$/M"
    ),
    Column("license", "license", lambda value: value or ""),
)
"""Of `find`."""


def device_columns(devices: Sequence[str]) -> tuple[Column, ...]:
    """A verdict for each of the devices."""
    return tuple(
        Column(f"fit.{index}.fits", device, verdict_text, short_shown=_short_verdict)
        for index, device in enumerate(devices)
    )


def _short_verdict(fits: bool | None) -> str:
    return "unknown" if fits is None else "fits" if fits else "no"


def columns_of(records: Sequence[Record]) -> tuple[Column, ...]:
    """What people want to see of these records: of `find`, of training, where one is about it, else of inference."""
    if any("pipeline_tag" in record for record in records):
        found = FOUND_COLUMNS if any("rank" in record for record in records) else BUNDLED_COLUMNS
        return found[1:]
    fits: Sequence[Any] = max((record.get("fit", ()) for record in records), key=len, default=())
    chosen = TRAINING_COLUMNS if any("training" in record for record in records) else MEMORY_COLUMNS
    if any((record.get("training") or {}).get("layout") for record in records):
        chosen = (*chosen, LAYOUT_COLUMN)
    return (*chosen, *device_columns([device_text(fit["gpu"], fit["count"]) for fit in fits]))


def rows_of(record: Record) -> Sequence[Record]:
    """The record itself, or, where it is of ranges of settings, one for each of its cells."""
    if "grid" not in record:
        return (record,)
    first = {name: record[name] for name in ("repo_id", "revision")}
    parts = ("memory", "per_gpu")
    known = [
        {key: value for key, value in cell.items() if value or key not in parts} for cell in record["grid"]["cells"]
    ]
    return [{**first, "of": record["grid"]["of"], **cell} for cell in known]


def flat(record: Record) -> Record:
    """A record with its nested keys joined by dots, those of devices by their index; other lists are values."""
    row: Record = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, list) and prefix in ("fit", "serving"):
            value = {str(index): inner for index, inner in enumerate(value)}
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else key, inner)
        else:
            row[prefix] = value

    walk("", record)
    return row


def value_at(record: Record, column: str) -> Any:
    """What stands under keys joined by dots, None where there is nothing."""
    value: Any = record
    for key in column.split("."):
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and key.isascii() and key.isdigit() and int(key[:9]) < len(value):
            value = value[int(key[:9])]
        else:
            return None
    return value


def batch_columns(columns: Sequence[str]) -> list[str]:
    """With the columns of every row of a batch before them, each once."""
    return list(dict.fromkeys([*FIRST_COLUMNS, *columns]))


def id_and_outcome(found: Sequence[Any]) -> tuple[str, str]:
    """The first two cells of a row of a batch.

    Raises:
        ValueError: they are no ID and outcome.
    """
    if len(found) != len(FIRST_COLUMNS) or not all(isinstance(cell, str) and cell for cell in found):
        raise ValueError("no line of a batch")
    if not _WORD.fullmatch(found[1]):
        raise ValueError("no outcome")
    return found[0], found[1]
