"""Devices and their memory, this machine's among them; and from an `Estimate` to a `Fit`."""

from inspector.hardware.detect import LocalDevice, detect
from inspector.hardware.devices import Device, find_device, list_devices
from inspector.hardware.fit import Fit, check_fit, memoized, min_count
from inspector.hardware.fleet import ENGINE_KINDS, SERVED_KINDS, fits_on_any
from inspector.hardware.serving import SERVING_ENGINES, Serving, ServingSettings, plan_serving
from inspector.hardware.spec import GpuSpec, local_specs, parse_gpu, parse_gpus

__all__ = [
    "ENGINE_KINDS",
    "SERVED_KINDS",
    "SERVING_ENGINES",
    "Device",
    "Fit",
    "GpuSpec",
    "LocalDevice",
    "Serving",
    "ServingSettings",
    "check_fit",
    "detect",
    "find_device",
    "fits_on_any",
    "list_devices",
    "local_specs",
    "memoized",
    "min_count",
    "parse_gpu",
    "parse_gpus",
    "plan_serving",
]
