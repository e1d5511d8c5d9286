"""What `--gpu` says: a name, a size, a count, or "auto", turned into a `GpuSpec`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

from inspector.devices.detect import LocalDevice, detect, machine_memory
from inspector.devices.table import SEE_GPUS, Device, Kind, find_device, find_instance, name_key, near_names, plus_names
from inspector.errors import UsageError

MAX_COUNT = 1024

UNEVEN = 2**30
"""Bytes by which the free memory of alike GPUs of this machine may differ and still count as equal."""

# "4xH100" and "H100x4", with a letter, a multiplication sign or an asterisk; "H100:4" as well.
_COUNT_FIRST = re.compile(r"(?P<count>\d+)\s*[x\u00d7*]\s*(?P<gpu>.+)", re.IGNORECASE)
_COUNT_LAST = re.compile(r"(?P<gpu>.+?)\s*[x\u00d7*:]\s*(?P<count>\d+)", re.IGNORECASE)

_UNITS = {
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}


@dataclass(frozen=True)
class GpuSpec:
    """So many GPUs, of one kind or mixed.

    Attributes:
        name: of one GPU: the device's, or the size as it was given; of mixed ones all of them.
        count: GPUs in all.
        capacity: bytes that a program can have of one GPU, of mixed ones the smallest.
        kind: what drives it; None for a bare size.
        device: the known device, or None for a bare size or a local GPU that the data file does not have.
        free: bytes that are free now on the fullest of the GPUs; None where they are not this machine's.
        notes: what the reader of a verdict should know.
        mixed: where the GPUs are not alike, each of them, in order.
    """

    name: str
    count: int
    capacity: int
    kind: Kind | None = None
    device: Device | None = None
    free: int | None = None
    notes: tuple[str, ...] = ()
    mixed: tuple[GpuSpec, ...] = ()

    @cached_property
    def cards(self) -> tuple[GpuSpec, ...]:
        """One spec a GPU, in order."""
        return self.mixed or (dataclasses.replace(self, count=1),) * self.count

    @cached_property
    def capacities(self) -> tuple[int, ...]:
        """Bytes of each GPU, in order."""
        return tuple(gpu.capacity for gpu in self.mixed) or (self.capacity,) * self.count

    @cached_property
    def computes(self) -> frozenset[str] | None:
        """Which of "bf16", "fp8", "fp4" and "int8" the matrix instructions of all of the GPUs multiply; None where that
        is not known of one: of a bare size, and of a local GPU that the data file does not have."""
        known = [gpu.device.computes if gpu.device else None for gpu in self.mixed or (self,)]
        return None if None in known else frozenset.intersection(*(each for each in known if each is not None))

    @cached_property
    def compute_capability(self) -> tuple[int, int] | None:
        """CUDA's, as (8, 9), the least of all GPUs; None for other devices, or where it is not known."""
        known = [gpu.device.compute_capability if gpu.device else None for gpu in self.mixed or (self,)]
        numbers = [re.fullmatch(r"(\d+)\.(\d+)", text or "") for text in known]
        return (
            min(((int(number[1]), int(number[2])) for number in numbers if number), default=None)
            if all(numbers)
            else None
        )

    @property
    def unified(self) -> bool:
        """Whether the memory is the CPU's, too: what is left to the CPU is then nowhere else."""
        return self.kind == "cpu" or any(gpu.device is not None and gpu.device.unified for gpu in self.mixed or (self,))

    @property
    def alone(self) -> bool:
        """Whether a machine holds no second one."""
        return self.kind == "cpu" or any(
            each.device is not None and each.device.alone for each in self.mixed or (self,)
        )

    @property
    def label(self) -> str:
        """ "4 x H100-80GB", "RTX 4090 + RTX 3090", or the name alone of one GPU."""
        return self.name if self.count == 1 or self.mixed else f"{self.count} x {self.name}"


def parse_gpu(text: str) -> GpuSpec:
    """The GPUs that a text means: "RTX 4090", "4xH100", "H100:4", "2xA100-80GB", "24GiB", "2x24GB", "M3 Max 64GB",
    "RTX 4090 + 2xRTX 3060 12GB", "H100 1g.10gb" (a slice), "g5.12xlarge" (a cloud's machine), "cpu", "cpu 64GiB".

    A bare size is that many bytes, all of them usable; GB is 1e9 bytes and GiB is 2**30.

    Raises:
        UsageError: a name is not known or means several devices, the count is not 1 to 1024, or no single program
            drives all of the GPUs.
    """
    stripped = text.strip()
    if "+" in stripped:
        return mixed_spec(list(_each_gpu([part.strip() for part in stripped.split("+")], stripped)))
    found = _counted(stripped)
    if found is None:
        raise _unknown(stripped)
    return found


def _each_gpu(parts: Sequence[str], text: str) -> Iterator[GpuSpec]:
    """One spec a GPU of names with a + between them; "Ryzen AI Max+ 395" is a name with one of its own."""
    if len(parts) > MAX_COUNT:
        raise UsageError(f"{len(parts)} GPUs: a count must be 1 to {MAX_COUNT}", "Write it as 4xH100.")
    place = 0
    while place < len(parts):
        cut = place + 1 < len(parts) and name_key(parts[place]).endswith(plus_names())
        both = _counted(f"{parts[place]}+ {parts[place + 1]}") if cut else None
        if both is None and not parts[place]:
            raise UsageError(f"'{text}' names no GPU beside a +", "Write it as 'RTX 4090 + RTX 3090'.")
        found = both or _counted(parts[place])
        if found is None:
            raise _unknown(parts[place])
        yield from found.cards
        place += 2 if both else 1


def _counted(text: str) -> GpuSpec | None:
    """So many of one GPU, or of one machine of a cloud's; None for a name that is not known."""
    whole = _one_gpu(text)
    if whole is not None:
        return whole
    # "RTX4090" would read as 4090 GPUs called "RT": a count is looked for only where the whole is no name.
    for pattern in (_COUNT_FIRST, _COUNT_LAST):
        match = pattern.fullmatch(text)
        gpu = _one_gpu(match["gpu"]) if match else None
        if match and gpu:
            return _with_count(gpu, int(match["count"]) * gpu.count, text)
    return None


def mixed_spec(gpus: Sequence[GpuSpec]) -> GpuSpec:
    """All of these single GPUs together; a plain count where they are alike.

    Raises:
        UsageError: too many, or different drivers.
    """
    if len(gpus) > MAX_COUNT:
        raise UsageError(f"{len(gpus)} GPUs: a count must be 1 to {MAX_COUNT}", "Write it as 4xH100.")
    kinds = {gpu.kind for gpu in gpus if gpu.kind is not None}
    if len(kinds) > 1:
        raise UsageError(
            f"no program uses {' and '.join(sorted(kinds))} devices as one: {', '.join(_names(gpus))}",
            "Ask for each with a --gpu of its own.",
        )
    if all(gpu == gpus[0] for gpu in gpus):
        return dataclasses.replace(gpus[0], count=len(gpus))
    return GpuSpec(
        name=" + ".join(_names(gpus)),
        count=len(gpus),
        capacity=min(gpu.capacity for gpu in gpus),
        kind=next(iter(kinds), None),
        free=min((gpu.free for gpu in gpus if gpu.free is not None), default=None),
        notes=tuple(dict.fromkeys(note for gpu in gpus for note in gpu.notes)),
        mixed=tuple(gpus),
    )


def _names(gpus: Sequence[GpuSpec]) -> list[str]:
    """ "2xRTX 4090", "RTX 3060 12GB": a name for each run of GPUs that are called alike."""
    runs: list[tuple[str, int]] = []
    for gpu in gpus:
        if runs and runs[-1][0] == gpu.name:
            runs[-1] = (gpu.name, runs[-1][1] + 1)
        else:
            runs.append((gpu.name, 1))
    return [name if count == 1 else f"{count}x{name}" for name, count in runs]


def parse_gpus(texts: Iterable[str]) -> tuple[GpuSpec, ...]:
    """`parse_gpu` of each text; "auto" stands for this machine's GPUs, all together where one driver has them."""
    specs: list[GpuSpec] = []
    for text in texts:
        if text.strip().lower() == "auto":
            specs.extend(machine_specs(detect()))
        else:
            specs.append(parse_gpu(text))
    return tuple(specs)


def machine_specs(devices: Iterable[LocalDevice]) -> tuple[GpuSpec, ...]:
    """This machine's GPUs as one spec for each driver, mixed where they differ or where much more is free on one.

    Raises:
        UsageError: there is no device.
    """
    found = list(devices)
    groups = local_specs(found)
    free = [device.free for device in found if device.free is not None]
    uneven = bool(free) and max(free) - min(free) >= UNEVEN
    if len(found) == 1 or (len(groups) == 1 and not uneven):
        return groups
    by_kind: dict[Kind, list[GpuSpec]] = {}
    for device in found:
        by_kind.setdefault(device.kind, []).extend(local_specs([device]))
    return tuple(mixed_spec(gpus) for gpus in by_kind.values())


def local_specs(devices: Iterable[LocalDevice]) -> tuple[GpuSpec, ...]:
    """One spec for each group of equal devices (same name, same usable memory), in order of first appearance.

    Raises:
        UsageError: there is no device.
    """
    groups: dict[tuple[str, int], list[LocalDevice]] = {}
    for device in devices:
        groups.setdefault((device.name, device.usable), []).append(device)
    if not groups:
        raise UsageError("no GPU was found on this machine", "Name one, e.g. --gpu 'RTX 4090' or --gpu 24GiB.")
    return tuple(
        GpuSpec(
            name=name,
            count=len(gpus),
            capacity=usable,
            kind=gpus[0].kind,
            device=gpus[0].device,
            free=min((gpu.free for gpu in gpus if gpu.free is not None), default=None),
            notes=tuple(dict.fromkeys(gpu.note for gpu in gpus if gpu.note)),
        )
        for (name, usable), gpus in groups.items()
    )


def spec_of(device: Device) -> GpuSpec:
    """One GPU of a known device."""
    return GpuSpec(
        name=device.name,
        count=1,
        capacity=device.capacity,
        kind=device.kind,
        device=device,
        notes=(device.note,) if device.note else (),
    )


def _one_gpu(text: str) -> GpuSpec | None:
    """A size, this machine's memory, a device, or the GPUs of a cloud's machine; None for a name that is not known."""
    if cpu := re.fullmatch(r"\s*cpu\b[\s:]*(.*)", text, re.IGNORECASE):
        return _cpu(cpu[1])
    size = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([mgt]i?b)", text.strip(), re.IGNORECASE)
    if size:
        capacity = int(Decimal(size[1]) * _UNITS[size[2].lower()])
        if capacity < 1:
            raise UsageError(f"'{text.strip()}' is no memory at all", "Give a size such as 24GiB.")
        decimal = size[2].lower() in ("gb", "tb")
        note = f"{size[1]} {size[2]} is {capacity / 2**30:,.2f} GiB: a GB has 10^9 bytes" if decimal else ""
        return GpuSpec(name="".join(text.split()), count=1, capacity=capacity, notes=(note,) if note else ())
    device = find_device(text)
    if device is None:
        machine = find_instance(text)
        found = None if machine is None else _counted(machine.gpus)
        if machine is None or found is None:
            return None
        return dataclasses.replace(found, notes=(*found.notes, f"{machine.name} of {machine.provider}: {found.label}"))
    return spec_of(device)


def _cpu(size: str) -> GpuSpec | None:
    """The memory of a CPU: of this machine's, or so much ("cpu 64GiB")."""
    if not size:
        memory = machine_memory()
        if memory is None:
            raise UsageError("how much memory this machine has cannot be read", "Say it: --gpu 'cpu 64GiB'.")
        return GpuSpec(memory.name, 1, memory.usable, memory.kind, free=memory.free, notes=("this machine's memory",))
    given = _one_gpu(size) if re.match(r"\d", size) else None
    if given is None or given.kind is not None:
        return None
    return dataclasses.replace(given, name=f"CPU {given.name}", kind="cpu")


def _with_count(gpu: GpuSpec, count: int, text: str) -> GpuSpec:
    if not 1 <= count <= MAX_COUNT:
        raise UsageError(f"'{text}': a count must be 1 to {MAX_COUNT}", "Write it as 4xH100.")
    if gpu.kind == "cpu" and count > 1:
        raise UsageError(f"'{text}': a machine's memory is one", "Say how much there is: --gpu 'cpu 64GiB'.")
    return dataclasses.replace(gpu, count=count)


def _unknown(text: str) -> UsageError:
    match = _COUNT_FIRST.fullmatch(text) or _COUNT_LAST.fullmatch(text)
    near = list(dict.fromkeys(near_names(text) + (near_names(match["gpu"]) if match else [])))[:3]
    meant = f"Did you mean {' or '.join(near)}? " if near else ""
    if size := re.fullmatch(r"(\d+(?:\.\d+)?)\s*g?", text, re.IGNORECASE):
        meant = f"A size has its unit: {size[1]}GiB (2^30 bytes), or {size[1]}GB (10^9). "
    return UsageError(f"unknown GPU '{text}'", meant + SEE_GPUS)
