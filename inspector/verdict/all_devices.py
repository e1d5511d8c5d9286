"""Every known device at once: the smallest number of each that a model fits on, cheapest memory first."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection

from inspector.devices.spec import GpuSpec, spec_of
from inspector.devices.table import Device, list_devices
from inspector.errors import UsageError
from inspector.verdict.fit import Fit

COUNTS = (1, 2, 4, 8)
"""GPUs of one kind that are tried: what one machine holds, and what divides heads evenly. Of what stands alone
(`Device.alone`): one. Slices (MIG) are left out: who has one names it."""


def fits_on_any(verdict: Callable[[GpuSpec], Fit], kinds: Collection[str] | None = None) -> tuple[Fit, ...]:
    """The verdicts that are yes, of the fewest GPUs (of `COUNTS`) of each known device; least memory in all first.

    Args:
        verdict: whether it fits so many GPUs of one kind. A number of GPUs that is refused does not fit.
        kinds: what may drive the devices; None for all.
    """
    devices = [each for each in list_devices() if (kinds is None or each.kind in kinds) and each.slice_of is None]
    found = [fit for device in devices if (fit := _fewest(verdict, device)) is not None]
    return tuple(sorted(found, key=lambda fit: (fit.count * fit.capacity, fit.count)))


def _fewest(verdict: Callable[[GpuSpec], Fit], device: Device) -> Fit | None:
    for count in (1,) if device.alone else COUNTS:
        try:
            fit = verdict(dataclasses.replace(spec_of(device), count=count))
        except UsageError:  # heads that cannot be laid over so many
            continue
        if fit.fits:
            return fit
    return None
