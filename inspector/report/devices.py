"""The devices that are known, and those of this machine: a table for people, and records for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from inspector.devices.detect import LocalDevice
from inspector.devices.table import Device
from inspector.report.units import GIB, gib_text, inert

if TYPE_CHECKING:
    from rich.console import Console


def print_devices(console: Console, known: Sequence[Device], local: Sequence[LocalDevice]) -> None:
    """What this machine has, then every device of the data file with the memory a program can have of it."""
    from rich.table import Table
    from rich.text import Text

    console.print(Text("This machine", "bold"))
    for device in local:
        free = "" if device.free is None else f", {device.free / GIB:,.2f} free"
        console.print(Text(f"  {inert(device.name)} ({device.kind}): {device.usable / GIB:,.2f} GiB usable{free}"))
    if not local:
        console.print("  none found")
    console.print()
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for head, justify in (("device", "left"), ("usable GiB", "right"), ("TB/s", "right"), ("driven by", "left")):
        table.add_column(head, justify="right" if justify == "right" else "left", no_wrap=True)
    table.add_column("figure")
    for known_device in known:
        bandwidth = known_device.memory_bandwidth
        table.add_row(
            known_device.name,
            gib_text(known_device.capacity),
            "" if bandwidth is None else f"{bandwidth / 1e12:.2f}",
            known_device.kind,
            known_device.basis,
        )
    console.print(table)


def devices_record(known: Sequence[Device], local: Sequence[LocalDevice]) -> dict[str, Any]:
    """Both lists as JSON values; sizes in bytes, bandwidth in bytes a second."""
    return {
        "local": [
            {
                "name": device.name,
                "kind": device.kind,
                "index": device.index,
                "total": device.total,
                "usable": device.usable,
                "free": device.free,
            }
            for device in local
        ],
        "known": [
            {
                "name": device.name,
                "aliases": list(device.aliases),
                "vendor": device.vendor,
                "kind": device.kind,
                "capacity": device.capacity,
                "memory_bandwidth": device.memory_bandwidth,
                "compute_capability": device.compute_capability,
                "architecture": device.architecture,
                "computes": None if device.computes is None else sorted(device.computes),
                "unified": device.unified,
                "basis": device.basis,
                "source": device.source,
            }
            for device in known
        ],
    }
