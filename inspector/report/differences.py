"""Two checkpoints and what differs between them: for people and for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich.text import Text

from inspector.api.differences import MISSING, Difference, TensorGroup
from inspector.report.text import design_text, indented, plain_table
from inspector.report.units import bytes_text, count_text, inert, label, number_text, tokens_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from inspector.api.differences import Stored
    from inspector.api.inspection import Inspection

SCHEMA = 1
MAX_ROWS = 60
"""Of each kind, for people; --json has all."""
MAX_VALUE_CHARACTERS = 60

_COUNTS = ("parameters", "active_parameters")


def difference_record(before: Inspection, after: Inspection, difference: Difference) -> dict[str, Any]:
    """The difference as a JSON object: sizes in bytes, what is not known null."""
    workload = after.estimate.workload
    return {
        "schema": SCHEMA,
        "equal": difference.equal,
        "before": _side(before),
        "after": _side(after),
        "context": workload.context,
        "batch": workload.batch,
        "tensors": {
            "added": [_group(group) for group in difference.added],
            "removed": [_group(group) for group in difference.removed],
            "changed": [_group(group) for group in difference.changed],
        },
        "config": {
            "added": {change.key: change.after for change in difference.config if change.before is MISSING},
            "removed": {change.key: change.before for change in difference.config if change.after is MISSING},
            "changed": {
                change.key: {"before": change.before, "after": change.after}
                for change in difference.config
                if MISSING not in (change.before, change.after)
            },
        },
        "numbers": {
            name: {"before": numbers.before, "after": numbers.after, "difference": numbers.difference}
            for name, numbers in difference.numbers.items()
        },
        "warnings": {"before": list(before.warnings), "after": list(after.warnings)},
    }


def print_difference(console: Console, before: Inspection, after: Inspection, difference: Difference) -> None:
    """The two, their numbers, and what differs in config and headers."""
    indented(console, Text.assemble((_name(before), "bold cyan"), " -> ", (_name(after), "bold cyan")), 0)
    workload = after.estimate.workload
    indented(console, Text(f"memory of {tokens_text(workload.context, workload.batch)}", "dim"))
    console.print()
    table = plain_table("", "before", "after", "difference")
    for name, numbers in difference.numbers.items():
        shown = count_text if name in _COUNTS else number_text if name == "tensors" else bytes_text
        more = numbers.difference
        text = "unknown" if more is None else f"{'+' if more > 0 else '-'}{shown(abs(more))}" if more else "equal"
        table.add_row(label(name), shown(numbers.before), shown(numbers.after), text)
    indented(console, table)
    console.print()
    if difference.equal:
        indented(console, "Equal: the same config, and the same names, shapes and dtypes of all tensors.", 0)
        return
    if difference.config:
        console.print(Text(f"Config: {_counted(len(difference.config), 'key')}", "bold"))
        for change in difference.config[:MAX_ROWS]:
            indented(console, Text(f"{inert(change.key)}: {_value(change.before)} -> {_value(change.after)}"))
        _more(console, len(difference.config), "keys")
    for title, groups in (
        ("Removed", difference.removed),
        ("With another shape or dtype", difference.changed),
        ("Added", difference.added),
    ):
        _print_groups(console, title, groups)


def _print_groups(console: Console, title: str, groups: Sequence[TensorGroup]) -> None:
    if not groups:
        return
    console.print(Text(f"{title}: {_counted(sum(group.count for group in groups), 'tensor')}", "bold"))
    for group in groups[:MAX_ROWS]:
        layers = f" [{group.layers}]" if group.layers else ""
        count = f" x {group.count:,}" if group.count > 1 else ""
        stored = " -> ".join(_stored(each) for each in (group.before, group.after) if each is not None)
        indented(console, Text(f"{inert(group.template)}{layers}{count}: {stored}"))
    _more(console, len(groups), "groups")


def _more(console: Console, count: int, what: str) -> None:
    if count > MAX_ROWS:
        indented(console, Text(f"... and {count - MAX_ROWS:,} more {what}: --json has all", "dim"))


def _group(group: TensorGroup) -> dict[str, Any]:
    record: dict[str, Any] = {"template": group.template, "layers": group.layers, "count": group.count}
    for name, stored, size in (
        ("before", group.before, group.bytes_before),
        ("after", group.after, group.bytes_after),
    ):
        if stored is not None:
            record[name] = {"dtype": stored.dtype, "shape": list(stored.shape), "bytes": size}
    return record


def _side(inspection: Inspection) -> dict[str, Any]:
    checkpoint, workload = inspection.checkpoint, inspection.estimate.workload
    return {
        "repo_id": checkpoint.repo_id,
        "revision": checkpoint.revision,
        "source": checkpoint.source,
        "format": checkpoint.format,
        "dtype": workload.dtype,
        "kv_dtype": inspection.estimate.kv_dtype,
    }


def _name(inspection: Inspection) -> str:
    checkpoint = inspection.checkpoint
    commit = f"@{checkpoint.revision[:7]}" if checkpoint.revision else ""
    return inert(checkpoint.repo_id) + commit + inert(design_text(inspection))


def _stored(stored: Stored) -> str:
    return f"{stored.dtype} [{', '.join(map(str, stored.shape))}]"


def _value(value: Any) -> str:
    if value is MISSING:
        return "(none)"
    text = json.dumps(value, ensure_ascii=False)
    return inert(text if len(text) <= MAX_VALUE_CHARACTERS else text[:MAX_VALUE_CHARACTERS] + "...")


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
