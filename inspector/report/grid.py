"""A table over ranges of settings: which of them makes columns, which rows, and what stands in a cell."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from inspector.report.units import gib_text, inert, label, verdict_text

if TYPE_CHECKING:
    from rich.console import Console

    from inspector.record import Record

COLUMN_AXES = ("context", "batch", "dtype", "lora_rank", "kv_dtype", "engine")
"""The first of these that is a range makes the columns; what is none of them makes rows."""

_UNITS = {"context": ("token", "tokens"), "batch": ("sequence", "sequences")}
_NAMES = {"dtype": "weights", "kv_dtype": "KV cache", "gpu": "device", "lora_rank": "LoRA rank"}


class Marks(NamedTuple):
    """What stands behind a cell's number: a verdict is told without colours, too."""

    fits: str
    not_fit: str
    unknown: str = "?"
    none: str = "-"

    def of(self, cell: Record) -> str:
        """A cell's; "" where no device was asked for."""
        if cell["gpu"] is None:
            return self.none if cell["why"] else ""
        if cell["fits"] is None:
            return self.unknown if cell["needed"] is not None or not cell["why"] else self.none
        return self.fits if cell["fits"] else self.not_fit

    @property
    def meanings(self) -> Mapping[str, str]:
        """Each with what it says."""
        none = "cannot tell, or no such run"
        return {self.fits: verdict_text(True), self.not_fit: verdict_text(False), self.unknown: "cannot tell"} | {
            self.none: none
        }


WORDS = Marks(verdict_text(True), verdict_text(False), verdict_text(None))


class Table(NamedTuple):
    """One table: of a device, or of all.

    Attributes:
        device: any cell of the device that it is about; None where it is about none, or about several.
        rows_of: settings whose values stand before a row.
        columns_of: the setting whose values stand above the columns; None where these are parts of memory.
        columns: its values, or the parts' names.
        rows: a row's values, and its cells, a cell a column; of parts one cell a row.
    """

    device: Record | None
    rows_of: tuple[str, ...]
    columns_of: str | None
    columns: tuple[Any, ...]
    rows: tuple[tuple[tuple[Any, ...], tuple[Record, ...]], ...]


def tables_of(grid: Record, *, apart: bool) -> list[Table]:
    """The tables that a record's `grid` is shown as.

    One range and at most one device: a row a value, a column a part of memory. Else the columns are the context, if
    that is a range, or the next of `COLUMN_AXES`, and the rows are the other ranges.

    Args:
        apart: several devices have a table each, where there is another range for the rows.
    """
    axes, cells = grid["axes"], grid["cells"]
    names = [name for name, values in axes.items() if len(values) > 1] or list(axes)[:1]
    settings = [name for name in names if name != "gpu"]
    if len(names) == 1 and settings:
        parts = tuple(dict.fromkeys(name for cell in cells for name in _parts_of(cell)))
        rows = tuple(((cell[settings[0]],), (cell,)) for cell in cells)
        return [Table(cells[0] if cells[0]["gpu"] else None, (settings[0],), None, parts, rows)]
    across = next((name for name in COLUMN_AXES if name in settings), settings[-1])
    down = [name for name in settings if name != across]
    devices: Sequence[str | None] = list(dict.fromkeys(axes.get("gpu", ()))) or [None]
    by_device = [[cell for cell in cells if cell["gpu"] == gpu] for gpu in devices]
    columns = tuple(axes[across])
    if apart and down:
        return [_table(each, tuple(down), across, columns, alone=True) for each in by_device]
    down = ["gpu", *down] if len(devices) > 1 else down
    return [_table(list(itertools.chain(*by_device)), tuple(down), across, columns, alone=len(devices) == 1)]


def _parts_of(cell: Record) -> Record:
    """What stands in a row of parts: the model's, or those on one GPU; and what that must hold, where it is another."""
    parts: Record = cell["memory"] or cell["per_gpu"] or {}
    alike = cell["gpu"] is None or cell["needed"] == parts.get("total")
    return parts if alike else {**parts, "needed": cell["needed"]}


def _table(
    cells: Sequence[Record], down: tuple[str, ...], across: str, columns: tuple[Any, ...], *, alone: bool
) -> Table:
    rows: dict[tuple[Any, ...], dict[Any, Record]] = {}
    for cell in cells:
        rows.setdefault(tuple(cell[name] for name in down), {})[cell[across]] = cell
    device = cells[0] if alone and cells[0]["gpu"] else None
    return Table(
        device,
        down,
        across,
        columns,
        tuple((values, tuple(_cell_of(found, column) for column in columns)) for values, found in rows.items()),
    )


def _cell_of(row: Mapping[Any, Record], column: Any) -> Record:
    """A row's cell; one without a value of the columns' setting, a rank of no adapters, stands in all of them."""
    return row[column] if column in row else row[None]


def heads_of(table: Table) -> list[str]:
    """Above the rows' values and the columns."""
    before = [_name(name) for name in table.rows_of]
    if table.columns_of is None:
        return [*before, *(label(name) for name in table.columns), *(("left",) if table.device else ())]
    corner = f"{before.pop()} \\ {_name(table.columns_of)}" if before else _name(table.columns_of)
    return [*before, corner, *(value_text(value) for value in table.columns)]


def body_of(table: Table, marks: Marks) -> Iterator[tuple[list[str], list[tuple[str, Record | None]]]]:
    """Each row: its values, and its cells' texts, each with the cell whose verdict it tells."""
    for values, cells in table.rows:
        before = [
            "" if name == "lora_rank" and value is None else value_text(value)
            for name, value in zip(table.rows_of, values, strict=True)
        ] or [""]
        if table.columns_of is not None:
            yield before, [(cell_text(cell, marks), cell) for cell in cells]
            continue
        (cell,) = cells
        parts = _parts_of(cell)
        texts: list[tuple[str, Record | None]] = [
            (gib_text(parts[name]) if name in parts else "", None) for name in table.columns
        ]
        if table.device:
            left = "" if cell["headroom"] is None else gib_text(cell["headroom"])
            texts.append((f"{left} {marks.of(cell)}".strip(), cell))
        yield before, texts


def value_text(value: Any) -> str:
    """A setting's value, as it stands in a table."""
    return f"{value:,}" if isinstance(value, int) else "default" if value is None else inert(str(value))


def cell_text(cell: Record, marks: Marks) -> str:
    """The bytes that a device must hold, or all that the model takes, in GiB; and the verdict."""
    size = cell["needed"] if cell["gpu"] else size_of(cell)
    return " ".join(filter(None, ("" if size is None else gib_text(size), marks.of(cell)))) or marks.unknown


def size_of(cell: Record) -> int | None:
    """All that the model takes."""
    memory = cell["memory"] or {}
    size: int | None = memory.get("peak", memory.get("total"))
    return size


def _name(setting: str) -> str:
    return _NAMES.get(setting, setting.replace("_", " "))


def print_grid(console: Console, record: Record) -> None:
    """The tables of one model for a person: each cell's GiB with a mark and a colour for its verdict."""
    from rich.text import Text

    from inspector.report.text import indented

    grid = record["grid"]
    marks = _marks(console.encoding)
    indented(console, Text(inert(record["repo_id"]), "bold cyan"), 0)
    what, *fixed = heading_of(grid)
    indented(console, (Text(what, "bold"), *fixed), 0)
    for table in tables_of(grid, apart=True):
        console.print()
        if table.device is not None:
            indented(console, device_of(table), 0)
        _print_table(console, table, marks)
    found = {marks.of(cell) for cell in grid["cells"]}
    meanings = [f"{mark} {words}" for mark, words in marks.meanings.items() if mark in found]
    if meanings:
        console.print()
        indented(console, [Text(each, "dim") for each in meanings])
    for text in reasons_of(grid):
        indented(console, Text(text, "dim"))


def _marks(encoding: str) -> Marks:
    try:
        "\u2713\u2717".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return Marks("ok", "no")
    return Marks("\u2713", "\u2717")


def device_of(table: Table) -> str:
    """A device's name, and what an engine may use of it: "RTX 4090: 21.64 of 23.52 GiB"."""
    cells = [cell for _, row in table.rows for cell in row]
    cell, usable = cells[0], {cell["usable"] for cell in cells} - {None}
    each = " per GPU" if (cell["count"] or 1) > 1 else ""
    share = f"{gib_text(min(usable))} of " if len(usable) == 1 and min(usable) != cell["capacity"] else ""
    return f"{inert(cell['gpu'])}: {share}{gib_text(cell['capacity'])} GiB{each}"


def heading_of(grid: Record) -> Iterator[str]:
    """What the numbers are, and what all cells have alike: "1 sequence", "weights as stored"."""
    yield "Peak of a training step, GiB" if grid["of"] == "training" else "Memory for inference, GiB"
    cells = grid["cells"]
    for name in cells[0]:
        if name == "gpu":
            return
        values = list({cell[name]: None for cell in cells if not (cell["why"] and cell["needed"] is None)})
        if len(values) != 1 or values[0] is None or len(grid["axes"].get(name, ())) > 1:
            continue
        one, many = _UNITS.get(name, ("", ""))
        text = "as stored" if values[0] == "stored" else value_text(values[0])
        yield f"{text} {one if values[0] == 1 else many}" if one else f"{_name(name)} {text}"


def reasons_of(grid: Record) -> list[str]:
    """Why cells have no verdict: each reason once, with the values that all of its cells have."""
    names = [name for name, values in grid["axes"].items() if len(values) > 1]
    found: dict[str, list[Record]] = {}
    for cell in grid["cells"]:
        if cell["why"]:
            found.setdefault(cell["why"], []).append(cell)
    texts = []
    for why, cells in found.items():
        alike = [value_text(cells[0][name]) for name in names if len({cell[name] for cell in cells}) == 1]
        texts.append(": ".join(filter(None, (", ".join(alike), inert(why.removeprefix("cannot tell: "))))))
    return texts


def _print_table(console: Console, table: Table, marks: Marks) -> None:
    """In a terminal that is too narrow for all columns, some below the others."""
    from rich.text import Text

    from inspector.report.text import VERDICT_STYLE, Grid, indented

    heads, rows = heads_of(table), list(body_of(table, marks))
    before = len(rows[0][0])
    widths = [
        max(len(head), *(len([*values, *(text for text, _ in cells)][at]) for values, cells in rows))
        for at, head in enumerate(heads)
    ]
    room = console.width - 2 if console.is_terminal else None
    for first, last in _chunks(widths[before:], None if room is None else room - sum(widths[:before]) - 2 * before):
        if first:
            console.print()
        grid = Grid(heads[0])
        for at in range(1, before):
            grid.add_column(heads[at])
        for head in heads[before + first : before + last]:
            grid.add_column(head, number=True)
        for values, cells in rows:
            told = cells[first:last]
            grid.add_row(
                *values,
                *(Text(text, VERDICT_STYLE[cell["fits"]] if cell and cell["gpu"] else "") for text, cell in told),
            )
        indented(console, grid)


def _chunks(widths: Sequence[int], room: int | None) -> Iterator[tuple[int, int]]:
    """Runs of columns that fit side by side, two columns between them; one alone that fits nowhere."""
    first = 0
    while first < len(widths):
        last, used = first + 1, widths[first]
        while last < len(widths) and (room is None or used + 2 + widths[last] <= room):
            used += 2 + widths[last]
            last += 1
        yield first, last
        first = last
