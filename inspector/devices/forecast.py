"""The likely range beside an upper bound of speed: what share of such bounds published measurements reach.

data/speed.json has the shares, made by `python -m benchmarks.speed --write` of the measurements in
benchmarks/measured_speed.json: their 10th and 90th percentiles, by what they are alike in (`Alike`).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from inspector.devices.spec import GpuSpec
from inspector.devices.table import Device
from inspector.model import Model
from inspector.tables import table_text

PACES = (0, 100, 300)
"""Tokens per second from which a bound is of the next pace. A step also takes time that no bound has in it (launches,
synchronisation, sampling), about the same for every model: the shorter the step, the larger its part."""

_GEFORCE = re.compile(r"(GTX|RTX) \d{4}(?!.* Ada)")
"""GeForce's names: an RTX 4000 Ada is a workstation's."""


class Alike(NamedTuple):
    """What measurements are alike in.

    Attributes:
        part: "decode" or "prefill".
        engine: its name.
        devices: the class of the device, see `device_class`.
        mixture: the model is a mixture of experts, of which a token reads few and scattered weights.
        pace: the largest of `PACES` that the bound is not below; 0 for prefill.
    """

    part: str
    engine: str
    devices: str
    mixture: bool
    pace: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """The likely range of a speed: the 10th to 90th percentile of published measurements.

    Attributes:
        low / high: tokens per second.
        share_low / share_high: of the bound; at most 1, also where measurements beat it.
        measurements / sources: how many there are, and by how many publishers.
        engine / devices: of which engine, on what class of devices.
    """

    low: float
    high: float
    share_low: float
    share_high: float
    measurements: int
    sources: int
    engine: str
    devices: str


def device_class(device: Device) -> str:
    """What a device shares its memory and its kernels with: "GeForce RTX", "Radeon", "Apple", ..."""
    if device.vendor == "NVIDIA":
        if device.unified:
            return "NVIDIA unified memory"
        found = _GEFORCE.match(device.name)
        return f"GeForce {found[1]}" if found else "NVIDIA workstation and data center"
    if device.vendor == "AMD" and not device.name.startswith("MI"):
        return "AMD unified memory" if device.unified else "Radeon"
    return {"AMD": "AMD Instinct"}.get(device.vendor, device.vendor)


def alike(part: str, engine: str, device: Device, model: Model, bound: float) -> Alike:
    """What a speed with this bound is compared with."""
    pace = max(each for each in PACES if each <= bound) if part == "decode" else 0
    return Alike(part, engine, device_class(device), model.architecture.experts is not None, pace)


def forecast(
    part: str, engine: str, spec: GpuSpec, model: Model, bound: float | None, *, batch: int = 1
) -> Forecast | None:
    """The likely range of a speed.

    None where nothing or too little was published: of several sequences or several GPUs, of a device that is not known.
    """
    if bound is None or spec.device is None or spec.count > 1 or batch > 1:
        return None
    shares = _shares().get(alike(part, engine, spec.device, model, bound))
    if shares is None:
        return None
    low, high, measurements, sources = (min(shares.low, 1.0), min(shares.high, 1.0), *shares[2:])
    return Forecast(low * bound, high * bound, low, high, measurements, sources, engine, device_class(spec.device))


class Shares(NamedTuple):
    """The 10th and 90th percentile of shares of a bound, and how many measurements of how many sources they are of."""

    low: float
    high: float
    measurements: int
    sources: int


@cache
def _shares() -> dict[Alike, Shares]:
    rows = json.loads(table_text("speed.json"))["shares"]
    return {
        Alike(*(row[name] for name in Alike._fields)): Shares(*(row[name] for name in Shares._fields)) for row in rows
    }
