"""The devices this library knows: a data file, read once, and the search for a device by its name."""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from inspector.errors import UsageError

MIB = 1024**2
GIB = 1024**3

Kind = Literal["cuda", "rocm", "metal", "xpu", "hpu", "cpu"]
Basis = Literal["measured", "nominal"]

DATA_FILE = Path(__file__).parent.parent / "data" / "gpus.json"

SEE_GPUS = "`llm-inspect gpus` lists the names; a size such as 24GiB works for any device."

_METAL_NOTE = "memory shared with the CPU; usable is what Metal recommends (2/3, from 36 GB on 3/4)"
_METAL_THREE_QUARTERS_FROM_MIB = 36 * 1024


@dataclass(frozen=True, slots=True)
class Device:
    """One kind of device.

    Attributes:
        name: its short name, e.g. "RTX 4090"; unique.
        aliases: other names that mean this device and no other.
        kind: what drives it: "cuda", "rocm", "metal", "xpu", "hpu" (Gaudi).
        gb: the size on its box, in the vendor's GB.
        memory_mib: total memory in MiB as the driver reports it (nvidia-smi's memory.total).
        basis: "measured" where `memory_mib` was read in printed output, "nominal" where it is the size on the box.
        visible_mib: MiB that a program can see (torch.cuda.get_device_properties().total_memory, or Metal's
            recommended working set); None where that is not known.
        memory_bandwidth: bytes a second by the data sheet; None where that is not known.
        arithmetic: 16-bit dense products and sums a second by the data sheet; None where that is not known.
        compute_capability: CUDA's ("8.9"), or AMD's architecture ("gfx942"); None for others.
        architecture: what its chip is built as ("ada", "cdna3"): a key of `architectures` in data/gpus.json.
        computes: which of "bf16", "fp8", "fp4" and "int8" its matrix instructions multiply; None where not known.
        families: names that this device shares with others ("A100"), too vague to mean one of them.
        source: where the figures come from; the keys are explained in data/gpus.json.
        page: the vendor's page of it; "" where none is known.
        note: what its user should know.
        unified: its memory is shared with the CPU: engines go by what the system has available of it.
        system_mib: MiB that the system itself holds of it, as start-up logs show; None where that is not known.
        slice_of: the GPU that it is a slice of (MIG); None for a whole one.
    """

    name: str
    vendor: str
    kind: Kind
    gb: int
    memory_mib: int
    basis: Basis
    visible_mib: int | None = None
    memory_bandwidth: int | None = None
    arithmetic: int | None = None
    compute_capability: str | None = None
    architecture: str | None = None
    computes: frozenset[str] | None = None
    aliases: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    source: str = ""
    page: str = ""
    note: str = ""
    unified: bool = False
    system_mib: int | None = None
    slice_of: str | None = None

    @property
    def family(self) -> str | None:
        """The first name that it shares with other devices."""
        return self.families[0] if self.families else None

    @property
    def capacity(self) -> int:
        """Bytes that one program can have of it: the visible memory where known, else all that the driver reports."""
        return MIB * (self.memory_mib if self.visible_mib is None else self.visible_mib)

    @property
    def alone(self) -> bool:
        """Whether a machine holds no second one: Macs, laptops, processors with a GPU."""
        return "Laptop" in self.name or (self.unified and self.kind != "cuda")

    @property
    def reserve(self) -> int:
        """Bytes that the driver keeps of its own total; 0 where that is not known."""
        return MIB * self.memory_mib - self.capacity


def metal_working_set_mib(memory_mib: int) -> int:
    """MiB that Metal recommends one program to take of a Mac's unified memory, unless iogpu.wired_limit_mb raises it.

    Two thirds below 36 GiB, three quarters from there on. From recommendedMaxWorkingSetSize in llama.cpp's logs
    (printed in MB of 1e6 bytes): 16 GiB 11,453.25; 24 GiB 17,179.89; 32 GiB 22,906.50; 36 GiB 28,991.03. Newer
    systems grant more (16 GiB 12,713.12; 128 GiB 107.5 GiB), so this is the safe side.
    """
    share = Fraction(3, 4) if memory_mib >= _METAL_THREE_QUARTERS_FROM_MIB else Fraction(2, 3)
    return int(memory_mib * share)


@cache
def _data() -> Mapping[str, Any]:
    data: Mapping[str, Any] = json.loads(DATA_FILE.read_text(encoding="utf-8"))
    return data


@cache
def list_devices() -> tuple[Device, ...]:
    """Every known device, in the data file's order: by vendor and line, newest or largest first. The slices that a GPU
    can be cut into (MIG) follow it."""
    data = _data()
    computes = {name: frozenset(facts["computes"]) for name, facts in data["architectures"].items()}
    found: list[Device] = []
    for entry in data["devices"]:
        whole = _devices_of(entry, computes, data["pages"])
        profiles = data["mig"]["gpus"].get(entry["name"], {})
        found += whole + [_slice(whole[0], name, *size) for name, size in profiles.items()]
    return tuple(found)


class Instance(NamedTuple):
    """What a cloud provider calls so many GPUs: its name for them, the provider, and the GPUs ("8xH100 SXM")."""

    name: str
    provider: str
    gpus: str


@cache
def list_instances() -> tuple[Instance, ...]:
    """Every known machine of the cloud providers, by provider."""
    return tuple(
        Instance(name, provider, gpus)
        for provider, facts in _data()["instances"].items()
        for gpus, names in facts["types"].items()
        for name in names
    )


def find_instance(name: str) -> Instance | None:
    """The cloud provider's machine of that name, whatever its case and punctuation; Azure's with or without
    "Standard_"."""
    return _instances().get(_instance_key(name))


@cache
def _instances() -> Mapping[str, Instance]:
    return {_instance_key(each.name): each for each in list_instances()}


def _instance_key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower()).removeprefix("standard")


def find_device(name: str, memory_mib: int | None = None) -> Device | None:
    """The device that a name means, whatever its case, spaces, dashes and maker; None for a name that is not known.

    Args:
        name: e.g. "rtx4090", "NVIDIA A100-SXM4-80GB", "M3 Max 64GB", "H100 1g.10gb".
        memory_mib: the total that the driver reports, where there is one: it settles which one a shared name means.

    Raises:
        UsageError: the name is shared by several devices, or carries a size that this device does not have.
    """
    by_name, by_family = _index()
    key = name_key(name)
    if key in by_name:
        return by_name[key]
    if key in by_family:
        members = by_family[key]
        if len(members) == 1:
            return members[0]
        if memory_mib is None:
            raise UsageError(f"'{name.strip()}' can mean several devices", f"Say which: {_names(members)}.")
        return min(members, key=lambda member: abs(member.memory_mib - memory_mib))
    for base, size in _splits(key):
        members = (by_name[base],) if base in by_name else by_family.get(base, ())
        matching = [member for member in members if member.gb == size]
        if len(matching) == 1:
            return matching[0]
        if members:
            raise _wrong_size(name.strip(), size, members)
    return None


def search_devices(words: Iterable[str]) -> tuple[Device, ...]:
    """The known devices of whom all of the words are true: names, vendor, kind, architecture, what they compute
    ("mi300", "apple 64gb", "ada", "fp8"), and "mig" for slices; without words all of them."""
    wanted = _words(words)
    return tuple(device for device in list_devices() if _holds(" ".join(_words_of(device)), wanted))


def search_instances(words: Iterable[str]) -> tuple[Instance, ...]:
    """The machines of cloud providers in whose name, provider or GPUs all of the words stand."""
    wanted = _words(words)
    return tuple(each for each in list_instances() if _holds(" ".join(each), wanted))


def _words(texts: Iterable[str]) -> list[str]:
    return [word.lower() for text in texts for word in text.split()]


def _words_of(device: Device) -> tuple[str, ...]:
    """All that a device may be looked for by; computed words ("fp8") and its compute capability, too."""
    return (
        device.name,
        *device.aliases,
        *device.families,
        device.vendor,
        device.kind,
        device.architecture or "",
        device.compute_capability or "",
        *sorted(device.computes or ()),
        "mig" if device.slice_of else "",
    )


def _holds(text: str, words: Sequence[str]) -> bool:
    """Whether every word stands in the text, with or without the spaces and dashes between its words."""
    plain, joined = text.lower(), re.sub(r"[^a-z0-9.+]", "", text.lower())
    return all(word in plain or (re.sub(r"[^a-z0-9.+]", "", word) or word) in joined for word in words)


@cache
def plus_names() -> tuple[str, ...]:
    """What stands before the + of the names that have one, as a key ("ryzenaimax"); else a + stands between GPUs."""
    names = {name for device in list_devices() for name in (device.name, *device.aliases, *device.families)}
    return tuple(sorted({name_key(name.partition("+")[0]) for name in names if "+" in name}))


def near_names(name: str, count: int = 3) -> list[str]:
    """Known names that look like `name`, the nearest first."""
    by_name, by_family = _index()
    labels = {key: device.name for key, device in by_name.items()}
    labels.update({key: _family_named(key, members[0]) for key, members in by_family.items()})
    if re.search(r"[._-]", name):
        labels.update({key: each.name for key, each in _instances().items()})
    keys = difflib.get_close_matches(name_key(name), labels, n=3 * count, cutoff=0.5)
    return list(dict.fromkeys(labels[key] for key in keys))[:count]


def _family_named(key: str, member: Device) -> str:
    return next((family for family in member.families if name_key(family) == key), member.family or "")


def name_key(name: str) -> str:
    """A name without case, separators, and the words that vendors put around it.

    >>> name_key("NVIDIA GeForce RTX 4090 Laptop GPU"), name_key("A100 80 GiB")
    ('rtx4090laptop', 'a10080gb')
    """
    lower = _PROFILE.sub(r" \1of\2 ", re.sub(r"\((?:r|tm)\)", " ", name.lower()))
    words = re.findall(r"[a-z0-9]+", lower)
    words = [re.sub(r"^(\d+)g(?:i?b)?$", r"\1gb", word) for word in words if word not in _NOISE]
    joined = re.sub(r"(\d)gib$", r"\1gb", "".join(words))
    return re.sub(rf"^(?:{'|'.join(_NOISE)})+|gpu", "", joined)


_NOISE = ("nvidia", "geforce", "tesla", "amd", "radeon", "instinct", "intel", "apple", "graphics", "gpu", "mig")
_SERIES = ("rtx", "gtx", "rx", "arc")
_PROFILE = re.compile(r"(\d)g\.(\d+)gb(?:\+me)?")
"""A slice of a GPU, as nvidia-smi calls it: eighths of what computes, and its memory ("1g.10gb")."""


@cache
def _index() -> tuple[Mapping[str, Device], Mapping[str, tuple[Device, ...]]]:
    """Devices by the key of a name of their own, and groups of devices by the key of a name that they share."""
    by_name = {name_key(name): device for device in list_devices() for name in (device.name, *device.aliases)}
    by_family: dict[str, tuple[Device, ...]] = {}
    for device in list_devices():
        for family in device.families:
            key = name_key(family)
            by_family[key] = (*by_family.get(key, ()), device)
    # "4090" is as clear as "RTX 4090", as long as no other device is called so.
    for series in _SERIES:
        for key, device in list(by_name.items()):
            if key.startswith(series):
                by_name.setdefault(key.removeprefix(series), device)
        for key, members in list(by_family.items()):
            if key.startswith(series) and key.removeprefix(series) not in by_name:
                by_family.setdefault(key.removeprefix(series), members)
    return by_name, by_family


def _slice(whole: Device, profile: str, eighths: int, gib: float | None) -> Device:
    """A slice of a GPU (MIG): so many eighths of its memory and bandwidth. Its share of what computes is not known
    exactly, so its arithmetic is not."""
    bandwidth = whole.memory_bandwidth
    return dataclasses.replace(
        whole,
        name=f"{whole.name} {profile}",
        aliases=tuple(f"{alias} {profile}" for alias in whole.aliases),
        families=tuple(f"{family} {profile}" for family in whole.families),
        gb=int(profile.partition(".")[2].removesuffix("gb")),
        memory_mib=whole.memory_mib * eighths // 8 if gib is None else int(gib * 1024),
        basis="nominal" if gib is None else "measured",
        visible_mib=None,
        memory_bandwidth=None if bandwidth is None else bandwidth * eighths // 8,
        arithmetic=None,
        source="mig",
        note=f"a slice of {whole.name}: a program sees one of them, and slices do not work together",
        slice_of=whole.name,
    )


def _devices_of(
    entry: Mapping[str, Any], computes: Mapping[str, frozenset[str]], pages: Mapping[str, str]
) -> list[Device]:
    """The devices of one entry: one, or one a size where the buyer chooses the memory (Apple, Ryzen AI Max)."""
    architecture: str | None = entry.get("architecture")
    multiplied = computes.get(architecture) if architecture else None
    bandwidth = entry["bandwidth_gb_s"]
    bytes_per_second = None if bandwidth is None else round(bandwidth * 10**9)
    page = pages.get(entry.get("page", ""), "")
    if "sizes" in entry:
        return [
            Device(
                name=f"{entry['name']} {size}GB",
                vendor=entry["vendor"],
                kind=entry["kind"],
                gb=size,
                memory_mib=size * 1024,
                basis="nominal",
                visible_mib=_usable_mib(size * 1024, entry.get("usable")),
                memory_bandwidth=bytes_per_second,
                compute_capability=entry.get("compute_capability"),
                architecture=architecture,
                computes=multiplied,
                aliases=tuple(f"{name} {size}GB" for name in entry.get("also", ())),
                families=(entry["name"], *entry.get("also", ())),
                source=entry.get("source", "metal"),
                page=page,
                note=entry.get("note", _METAL_NOTE),
                unified=True,
            )
            for size in entry["sizes"]
        ]
    return [
        Device(
            name=entry["name"],
            vendor=entry["vendor"],
            kind=entry["kind"],
            gb=entry["gb"],
            memory_mib=entry["memory_mib"],
            basis=entry["basis"],
            visible_mib=entry["visible_mib"],
            memory_bandwidth=bytes_per_second,
            arithmetic=round(entry["bf16_tflops"] * 10**12) if "bf16_tflops" in entry else None,
            compute_capability=entry["compute_capability"],
            architecture=architecture,
            computes=multiplied,
            aliases=tuple(entry["aliases"]),
            families=(entry["family"],) if "family" in entry else (),
            source=entry["source"],
            page=page,
            note=entry.get("note", ""),
            unified=entry.get("unified", False),
            system_mib=entry.get("system_mib"),
        )
    ]


def _usable_mib(memory_mib: int, share: Sequence[int] | None) -> int:
    """MiB that a program can have of memory that the CPU shares: the share that the entry states, else Metal's."""
    return metal_working_set_mib(memory_mib) if share is None else memory_mib * share[0] // share[1]


def _splits(key: str) -> Iterator[tuple[str, int]]:
    """The ways to read a key as a name and a size: "a10080gb" as "a1008" + 0 GB, "a100" + 80 GB, ..."""
    digits = re.search(r"(\d+)gb$", key)
    if digits:
        for start in range(digits.end(1) - 1, digits.start(1) - 1, -1):
            yield key[:start], int(key[start : digits.end(1)])


def _wrong_size(name: str, size: int, members: tuple[Device, ...]) -> UsageError:
    hint = f"Known: {_names(members)}. A size alone works for any device: {size}GiB."
    return UsageError(f"'{name}': no such device has {size} GB", hint)


def _names(devices: tuple[Device, ...]) -> str:
    return ", ".join(device.name for device in sorted(devices, key=lambda device: device.gb))
