"""What `--gpu` says: a name, a size, a count, or "auto", turned into a `GpuSpec`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from inspector.errors import UsageError
from inspector.hardware.detect import LocalDevice, detect
from inspector.hardware.devices import SEE_GPUS, Device, Kind, find_device, near_names

MAX_COUNT = 1024

# "4xH100" and "H100x4", with a letter, a multiplication sign or an asterisk; "H100:4" as well.
_COUNT_FIRST = re.compile(r"(?P<count>\d+)\s*[x\u00d7*]\s*(?P<card>.+)", re.IGNORECASE)
_COUNT_LAST = re.compile(r"(?P<card>.+?)\s*[x\u00d7*:]\s*(?P<count>\d+)", re.IGNORECASE)

_UNITS = {
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}


@dataclass(frozen=True, slots=True)
class GpuSpec:
    """So many cards of one kind.

    Attributes:
        name: of one card: the device's, or the size as it was given.
        count: cards, all alike.
        capacity: bytes that a program can have of one card.
        kind: what drives it; None for a bare size.
        device: the known device, or None for a bare size or a local card that the data file does not have.
        free: bytes that are free now on the fullest of the cards; None where they are not this machine's.
        notes: what the reader of a verdict should know.
    """

    name: str
    count: int
    capacity: int
    kind: Kind | None = None
    device: Device | None = None
    free: int | None = None
    notes: tuple[str, ...] = ()


def parse_gpu(text: str) -> GpuSpec:
    """The cards that a text means: "RTX 4090", "4xH100", "H100:4", "2xA100-80GB", "24GiB", "2x24GB", "M3 Max 64GB".

    A bare size is that many bytes, all of them usable; GB is 1e9 bytes and GiB is 2**30.

    Raises:
        UsageError: the name is not known or means several devices, or the count is not 1 to 1024.
    """
    stripped = text.strip()
    whole = _one_card(stripped)
    if whole is not None:
        return whole
    # "RTX4090" would read as 4090 cards called "RT": a count is looked for only where the whole is no name.
    for pattern in (_COUNT_FIRST, _COUNT_LAST):
        match = pattern.fullmatch(stripped)
        card = _one_card(match["card"]) if match else None
        if match and card:
            return _with_count(card, int(match["count"]), stripped)
    raise _unknown(stripped)


def parse_gpus(texts: Iterable[str]) -> tuple[GpuSpec, ...]:
    """`parse_gpu` of each text; "auto" stands for this machine's cards, one spec for each group of equal ones."""
    specs: list[GpuSpec] = []
    for text in texts:
        if text.strip().lower() == "auto":
            specs.extend(local_specs(detect()))
        else:
            specs.append(parse_gpu(text))
    return tuple(specs)


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
            count=len(cards),
            capacity=usable,
            kind=cards[0].kind,
            device=cards[0].device,
            free=min((card.free for card in cards if card.free is not None), default=None),
            notes=tuple(dict.fromkeys(card.note for card in cards if card.note)),
        )
        for (name, usable), cards in groups.items()
    )


def spec_of(device: Device) -> GpuSpec:
    """One card of a known device."""
    return GpuSpec(
        name=device.name,
        count=1,
        capacity=device.capacity,
        kind=device.kind,
        device=device,
        notes=(device.note,) if device.note else (),
    )


def _one_card(text: str) -> GpuSpec | None:
    size = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([mgt]i?b)", text.strip(), re.IGNORECASE)
    if size:
        capacity = int(Decimal(size[1]) * _UNITS[size[2].lower()])
        if capacity < 1:
            raise UsageError(f"'{text.strip()}' is no memory at all", "Give a size such as 24GiB.")
        return GpuSpec(name="".join(text.split()), count=1, capacity=capacity)
    device = find_device(text)
    return None if device is None else spec_of(device)


def _with_count(card: GpuSpec, count: int, text: str) -> GpuSpec:
    if not 1 <= count <= MAX_COUNT:
        raise UsageError(f"'{text}': a count must be 1 to {MAX_COUNT}", "Write it as 4xH100.")
    return GpuSpec(card.name, count, card.capacity, card.kind, card.device, notes=card.notes)


def _unknown(text: str) -> UsageError:
    match = _COUNT_FIRST.fullmatch(text) or _COUNT_LAST.fullmatch(text)
    near = list(dict.fromkeys(near_names(text) + (near_names(match["card"]) if match else [])))[:3]
    meant = f"Did you mean {' or '.join(near)}? " if near else ""
    return UsageError(f"unknown GPU '{text}'", meant + SEE_GPUS)
