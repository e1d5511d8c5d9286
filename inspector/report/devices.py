"""The devices that are known, and those of this machine: a table for people, and records for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from inspector.devices.detect import LocalDevice
from inspector.devices.table import Device, Instance
from inspector.report.units import GIB, gib_text, inert

if TYPE_CHECKING:
    from rich.console import Console


def print_devices(
    console: Console,
    known: Sequence[Device],
    local: Sequence[LocalDevice],
    machines: Sequence[Instance] = (),
    searched: bool = False,
) -> None:
    """What this machine has, then the devices with the memory that a program can have of each.

    Args:
        machines: of cloud providers, which are listed where they were looked for.
        searched: the devices are those that were looked for; else slices are only counted.
    """
    from rich.text import Text

    from inspector.report.text import Grid, indented

    slices = [] if searched else [device for device in known if device.slice_of]
    indented(console, Text("This machine", "bold"), 0)
    for device in local:
        free = "" if device.free is None else f", {device.free / GIB:,.2f} free"
        indented(console, f"{inert(device.name)} ({device.kind}): {device.usable / GIB:,.2f} GiB usable{free}")
    if not local:
        indented(console, "none found")
    table = Grid("device", "usable GiB", "TB/s")
    table.add_column("driven by")
    table.add_column("figure")
    for known_device in known:
        if known_device in slices:
            continue
        bandwidth = known_device.memory_bandwidth
        table.add_row(
            _called(known_device),
            gib_text(known_device.capacity),
            "" if bandwidth is None else f"{bandwidth / 1e12:.2f}",
            known_device.kind,
            known_device.basis,
        )
    if table.rows:
        console.print()
        indented(console, table, 0)
    if not searched:
        console.print()
        rest = f"{len(slices)} slices of GPUs (`gpus mig`), {len(machines)} machines of cloud providers (`gpus aws`)"
        indented(console, rest, 0)
    elif machines:
        console.print()
        indented(console, Text("Machines of cloud providers", "bold"), 0)
        for name, provider, gpus in machines:
            indented(console, f"{name} ({provider}): {gpus}")


def _called(device: Device) -> str:
    """Its name, with another that says something else: "GB10 (DGX Spark)"."""
    words = set(device.name.lower().split())
    other = next((name for name in device.aliases if not words & set(name.lower().split())), None)
    return device.name if other is None or device.slice_of else f"{device.name} ({other})"


def devices_record(
    known: Sequence[Device],
    local: Sequence[LocalDevice],
    machines: Sequence[Instance] = (),
    searched: bool = False,
) -> dict[str, Any]:
    """The lists as JSON values; sizes in bytes, bandwidth in bytes per second."""
    del searched
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
                "page": device.page or None,
                "slice_of": device.slice_of,
            }
            for device in known
        ],
        "instances": [each._asdict() for each in machines],
    }
