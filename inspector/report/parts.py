"""What a report shows of a checkpoint that is made of parts: a pipeline's components, modules, an adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspector.report.units import bytes_text, inert

if TYPE_CHECKING:
    from rich.console import Console

    from inspector.model import Model


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
