"""What counts memory: torch's allocator and nvidia-smi on a GPU; every storage that is made, on the CPU."""

from __future__ import annotations

import contextlib
import subprocess
from typing import Any

import torch

from tests.oracles.live import Live


class CudaMeter:
    """The first CUDA device."""

    device = torch.device("cuda", 0)

    @property
    def name(self) -> str:
        """The GPU, its driver."""
        driver = _smi("driver_version")
        return torch.cuda.get_device_name(0) + (f", driver {driver}" if driver else "")

    @property
    def free(self) -> int:
        return torch.cuda.mem_get_info(0)[0]

    def counting(self) -> Any:
        return contextlib.nullcontext()

    def reset(self) -> None:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()

    def peak(self) -> int:
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated()

    def live(self) -> int:
        return torch.cuda.memory_allocated()

    def reserved(self) -> int | None:
        return torch.cuda.max_memory_reserved()

    def used(self) -> int | None:
        """What nvidia-smi shows for the device, of all processes: nothing else should run there."""
        shown = _smi("memory.used")
        return int(shown) * 2**20 if shown.isdigit() else None

    def empty(self) -> None:
        """Give everything back, cuBLAS's workspaces, too."""
        torch._C._cuda_clearCublasWorkspaces()
        torch.cuda.empty_cache()


class CpuMeter:
    """The CPU: what lives of all that torch makes within `counting`, in bytes as they are."""

    device = torch.device("cpu")
    name = "CPU"
    free = 2**40

    def __init__(self) -> None:
        self.mode = Live()

    def counting(self) -> Any:
        self.mode = Live()
        return self.mode

    def reset(self) -> None:
        self.mode.most()

    def peak(self) -> int:
        return self.mode.peak

    def live(self) -> int:
        return self.mode.bytes

    def reserved(self) -> int | None:
        return None

    def used(self) -> int | None:
        return None

    def empty(self) -> None:
        """Nothing is cached."""


Meter = CudaMeter | CpuMeter


def _smi(key: str) -> str:
    """One line of nvidia-smi's; empty where there is none."""
    try:
        command = ["nvidia-smi", f"--query-gpu={key}", "--format=csv,noheader,nounits", "--id=0"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
