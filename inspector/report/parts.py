"""What a report shows of a checkpoint that is made of parts: a pipeline's components, modules, an adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inspector.report.record import parameters_record
from inspector.report.units import bytes_text, inert

if TYPE_CHECKING:
    from rich.console import Console

    from inspector.model import Model


def parts_record(model: Model) -> dict[str, Any]:
    """The JSON's keys `parts` and `adapter`; empty for a checkpoint that is whole."""
    if not model.parts:
        return {}
    record: dict[str, Any] = {
        "parts": [
            {
                "name": part.name,
                "kind": part.kind,
                "class": part.class_name or part.model.architecture.architecture,
                "repo_id": part.checkpoint.repo_id,
                "revision": part.checkpoint.revision,
                "model_type": part.model.architecture.model_type,
                "parameters": parameters_record(part.model.parameters),
                "tensor_bytes": part.checkpoint.tensor_bytes,
                "files": [file.name for file in part.checkpoint.files],
            }
            for part in model.parts
        ]
    }
    if (adapter := model.adapter) is not None:
        record["adapter"] = {
            "base_model": adapter.base_model,
            "base_revision": adapter.base_revision,
            "peft_type": adapter.peft_type,
            "rank": adapter.rank,
            "alpha": adapter.alpha,
            "target_modules": list(adapter.target_modules),
            "modules_to_save": list(adapter.modules_to_save),
            "parameters": adapter.parameters,
            "bytes": adapter.bytes,
        }
    return record


def print_parts(console: Console, model: Model) -> None:
    """A table of the parts, and what an adapter is."""
    if not model.parts:
        return
    from rich.text import Text

    from inspector.report.text import indented, plain_table

    console.print(Text("Parts", "bold"))
    table = plain_table("", "parameters", "stored")
    table.add_column("dtype")
    table.add_column("class", overflow="fold")
    for part in model.parts:
        name = part.checkpoint.repo_id if part.kind == "base" else part.name
        class_name = part.class_name or part.model.architecture.architecture or ""
        table.add_row(
            Text(inert(name)),
            f"{part.model.parameters.total:,}",
            bytes_text(part.checkpoint.tensor_bytes),
            Text(inert(part.model.stored_dtype or "")),
            Text(inert(class_name)),
        )
    indented(console, table)
    if (adapter := model.adapter) is not None:
        words = [inert(adapter.peft_type)]
        words += [f"rank {adapter.rank}"] if adapter.rank is not None else []
        words += [f"alpha {adapter.alpha:g}"] if adapter.alpha is not None else []
        words += [f"on {inert(', '.join(adapter.target_modules))}"] if adapter.target_modules else []
        words += [f"full copies of {inert(', '.join(adapter.modules_to_save))}"] if adapter.modules_to_save else []
        indented(console, Text("adapter: " + ", ".join(words)))
    console.print()
