"""This machine's devices, read from its tools and files: no driver library is loaded, torch is never imported."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from inspector.devices.table import GIB, MIB, Device, Kind, find_device, metal_working_set_mib
from inspector.errors import UsageError

TIMEOUT_SECONDS = 5.0
"""For nvidia-smi and sysctl; nvidia-smi takes up to 2 s where no daemon keeps the driver loaded."""

_NVIDIA_QUERY = "index,uuid,mig.mode.current,memory.total,memory.free,name"

_INTEGRATED_BYTES = GIB
"""An AMD device with less memory of its own is a processor's graphics part, whose memory is the machine's."""


@dataclass(frozen=True, slots=True)
class LocalDevice:
    """A device of this machine.

    Attributes:
        name: the data file's name for it, or the driver's where the file does not have it.
        kind: what drives it; "cpu" for the machine's own memory.
        index: its number among devices of its kind, as its tool counts.
        total: bytes that the driver reports.
        usable: bytes that one program can have: the total without what the driver keeps.
        free: bytes that nothing holds now; None where that cannot be read.
        device: the known device, or None.
        note: what its user should know.
    """

    name: str
    kind: Kind
    index: int
    total: int
    usable: int
    free: int | None = None
    device: Device | None = None
    note: str = ""


def detect(
    *, root: Path = Path("/"), environ: Mapping[str, str] = os.environ, system: str | None = None
) -> list[LocalDevice]:
    """The GPUs of this machine that a program started now would see; its own memory where there is none.

    Args:
        root: where /sys and /proc are looked for.
        environ: PATH finds nvidia-smi and sysctl; CUDA_VISIBLE_DEVICES hides and orders the NVIDIA devices.
        system: what platform.system() says, if not that.
    """
    system = system or platform.system()
    if system == "Darwin":
        return _apple(environ)
    return _nvidia(root, environ) + _amd(root) or _memory(root)


def machine_memory(
    *, root: Path = Path("/"), environ: Mapping[str, str] = os.environ, system: str | None = None
) -> LocalDevice | None:
    """This machine's own memory, which the CPU computes in; None where it cannot be read."""
    if (system or platform.system()) != "Darwin":
        return next(iter(_memory(root)), None)
    total = _decimal(_output(["sysctl", "-n", "hw.memsize"], environ))
    return LocalDevice("CPU", "cpu", 0, total, total) if total else None


def _nvidia(root: Path, environ: Mapping[str, str]) -> list[LocalDevice]:
    """nvidia-smi's devices. Its numbers are in bus order; CUDA's are, too, unless GPUs of different speed are mixed
    and CUDA_DEVICE_ORDER is not PCI_BUS_ID."""
    command = ["nvidia-smi", f"--query-gpu={_NVIDIA_QUERY}", "--format=csv,noheader,nounits"]
    found: dict[str, tuple[str, LocalDevice]] = {}
    for line in _output(command, environ).splitlines():
        # The name comes last, since it alone may hold a comma.
        fields = [field.strip() for field in line.split(",", 5)]
        if len(fields) != 6 or not fields[0].isdecimal():
            continue
        index, uuid, mig, total_mib, free_mib, name = fields
        if total_mib.isdecimal():
            total, free = int(total_mib) * MIB, int(free_mib) * MIB if free_mib.isdecimal() else None
        else:
            # "[N/A]": the GPU has no memory of its own and shares the machine's (GB10, Jetson).
            total, free = _proc_memory(root)
        if total:
            found[index] = (uuid, _cuda_device(name, int(index), total, free, mig))
    return _visible(found, environ.get("CUDA_VISIBLE_DEVICES"))


def _cuda_device(name: str, index: int, total: int, free: int | None, mig: str) -> LocalDevice:
    device = _known(name, total)
    note = "MIG is on: a program sees one slice of this memory, not all of it" if mig == "Enabled" else ""
    reserve = device.reserve if device and device.basis == "measured" else 0
    return LocalDevice(
        name=device.name if device else name.removeprefix("NVIDIA "),
        kind="cuda",
        index=index,
        total=total,
        usable=max(total - reserve, 0),
        free=free,
        device=device,
        note=note,
    )


def _visible(found: Mapping[str, tuple[str, LocalDevice]], wanted: str | None) -> list[LocalDevice]:
    """What CUDA_VISIBLE_DEVICES leaves, by its rules: numbers or starts of UUIDs, in that order, up to the first one
    that is not there (CUDA C++ Programming Guide, "CUDA Environment Variables")."""
    if wanted is None:
        return [device for _, device in found.values()]
    chosen: list[LocalDevice] = []
    for entry in (entry.strip() for entry in wanted.split(",")):
        matches = [
            device
            for index, (uuid, device) in found.items()
            if entry == index or (entry.startswith("GPU-") and uuid.startswith(entry))
        ]
        if len(matches) != 1 or matches[0] in chosen:
            break
        chosen += matches
    return chosen


def _amd(root: Path) -> list[LocalDevice]:
    """The amdgpu driver's GPUs, from the files that it shows in sysfs (kernel: gpu/amdgpu/driver-misc)."""
    # "card0" is a GPU, "card0-DP-1" one of its connectors.
    gpus = [path for path in (root / "sys/class/drm").glob("card*") if re.fullmatch(r"card\d+", path.name)]
    devices: list[LocalDevice] = []
    for gpu in sorted(gpus, key=lambda path: int(path.name.removeprefix("card"))):
        files = gpu / "device"
        total, used = _number(files / "mem_info_vram_total"), _number(files / "mem_info_vram_used")
        if total is None or total < _INTEGRATED_BYTES:
            continue
        name = _text(files / "product_name") or f"AMD GPU {_text(files / 'device')}".strip()
        device = _known(name, total)
        devices.append(
            LocalDevice(
                name=device.name if device else name,
                kind="rocm",
                index=len(devices),
                total=total,
                usable=total,
                free=None if used is None else max(total - used, 0),
                device=device,
            )
        )
    return devices


def _apple(environ: Mapping[str, str]) -> list[LocalDevice]:
    """A Mac's unified memory: what iogpu.wired_limit_mb grants where it is set, else what Metal recommends."""
    total = _decimal(_output(["sysctl", "-n", "hw.memsize"], environ))
    if not total:
        return []
    name = _output(["sysctl", "-n", "machdep.cpu.brand_string"], environ).strip()
    if not name.startswith("Apple"):
        return [LocalDevice("CPU", "cpu", 0, total, total, note="no GPU found: the machine's own memory")]
    limit = _decimal(_output(["sysctl", "-n", "iogpu.wired_limit_mb"], environ))
    device = _known(f"{name} {total // GIB}GB", total)
    usable = min(limit * MIB, total) if limit else metal_working_set_mib(total // MIB) * MIB
    return [
        LocalDevice(
            name=device.name if device else f"{name.removeprefix('Apple ')} {total // GIB}GB",
            kind="metal",
            index=0,
            total=total,
            usable=usable,
            device=device,
            note="iogpu.wired_limit_mb" if limit else "usable is what Metal recommends; iogpu.wired_limit_mb raises it",
        )
    ]


def _memory(root: Path) -> list[LocalDevice]:
    """The machine's own memory, for want of a GPU; a container's limit where that is less."""
    total, free = _proc_memory(root)
    if not total:
        return []
    limit = _number(root / "sys/fs/cgroup/memory.max")
    usable = total if limit is None else min(total, limit)
    return [LocalDevice("CPU", "cpu", 0, total, usable, free, note="no GPU found: the machine's own memory")]


def _proc_memory(root: Path) -> tuple[int, int | None]:
    """Total and available bytes by /proc/meminfo, whose "kB" are KiB; a total of 0 where it cannot be read."""
    sizes = dict(re.findall(r"^(\w+):\s+(\d+) kB$", _text(root / "proc/meminfo"), re.MULTILINE))
    available = sizes.get("MemAvailable")
    return int(sizes.get("MemTotal", 0)) * 1024, None if available is None else int(available) * 1024


def _known(name: str, total: int) -> Device | None:
    try:
        return find_device(name, total // MIB)
    except UsageError:
        return None  # a known name with a size that the data file does not have


def _output(command: list[str], environ: Mapping[str, str]) -> str:
    """What a command prints; nothing where it is not installed, fails, or does not answer in time."""
    import subprocess

    try:
        result = subprocess.run(
            command,
            env=dict(environ),
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return result.stdout.decode(errors="replace")


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _decimal(text: str) -> int | None:
    return int(text) if text.strip().isdecimal() else None


def _number(path: Path) -> int | None:
    return _decimal(_text(path))
