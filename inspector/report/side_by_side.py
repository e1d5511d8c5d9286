"""Models side by side on one device: a table for people, the object for programs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from rich.text import Text

from inspector.record import SCHEMA, serving_record
from inspector.report.text import VERDICT_STYLE, indented, plain_table
from inspector.report.units import device_text, gib_text, inert, verdict_text

if TYPE_CHECKING:
    from rich.console import Console

    from inspector.advice.together import Tenant, Together


def print_together(console: Console, result: Together) -> None:
    """The verdict in a line whose numbers sum, each model's share in the order of the starts, and what to know."""
    each = " per GPU" if result.count > 1 else ""
    verdict = Text(f"{device_text(result.gpu, result.count)}: {verdict_text(result.fits)}", VERDICT_STYLE[result.fits])
    words = f"{len(result.tenants)} models side by side ({result.engine})"
    if result.needed is not None and result.headroom is not None:
        state = "left" if result.headroom >= 0 else "short"
        words += f" take {gib_text(result.needed)} of {gib_text(result.usable)} GiB{each}"
        words += f", {gib_text(abs(result.headroom))} {state}"
    if result.beside:
        words += f"; {gib_text(result.beside)} GiB beside them"
    indented(console, (verdict, words), 0)
    rows = [_cells(tenant) for tenant in result.tenants]
    heads = [head for head in rows[0] if any(row[head] for row in rows)]
    table = plain_table("start", *heads)
    for tenant, row in zip(result.tenants, rows, strict=True):
        table.add_row(Text(f"{tenant.order} {inert(tenant.name)}"), *(row[head] for head in heads))
    indented(console, table)
    if result.free_asleep is not None:
        indented(
            console, Text(f"while all sleep, {gib_text(result.free_asleep)} GiB{each} are free (--enable-sleep-mode)")
        )
    for note in result.notes:
        indented(console, Text(inert(note), "dim"))


def _cells(tenant: Tenant) -> dict[str, str]:
    """A model's row; "" for what it has not."""
    sizes = {} if tenant.serving is None else tenant.serving.per_gpu
    pool = sizes.get("kv_pool")
    if tenant.share is None and pool is not None and tenant.serving and tenant.serving.request_bytes:
        pool = round(tenant.serving.request_bytes * (tenant.at_once or 1))  # of what it needs, not of the whole device
    return {
        "share": "" if tenant.share is None else f"{tenant.share:.3f}".removesuffix("0"),
        "GiB": gib_text(tenant.needed),
        "weights": gib_text(sizes["weights"]) if "weights" in sizes else "",
        "KV pool": "" if pool is None else gib_text(max(0, pool)),
        "tokens": f"{tenant.context:,}",
        "at once": "" if tenant.at_once is None else f"{tenant.at_once:,.1f}",
        "asleep": "" if tenant.asleep is None else gib_text(tenant.asleep),
    }


def together_record(result: Together) -> dict[str, Any]:
    """The same as a JSON object: sizes in bytes of each GPU."""
    record = dataclasses.asdict(result)
    for tenant, source in zip(record["tenants"], result.tenants, strict=True):
        tenant["repo_id"] = tenant.pop("name")
        tenant["serving"] = None if source.serving is None else serving_record(source.serving)
        del tenant["fit"]
        tenant["fits"] = source.fit.fits
    return {"schema": SCHEMA, **record}
