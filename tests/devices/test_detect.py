"""Detection, against real files and real processes: a nvidia-smi of our own on PATH, a sysfs of our own on disk."""

from __future__ import annotations

import importlib
import time
from pathlib import Path

import pytest

from inspector.devices.detect import LocalDevice, detect

MIB = 2**20
QUERY = "--query-gpu=index,uuid,mig.mode.current,memory.total,memory.free,name --format=csv,noheader,nounits"
TWO_GPUS = """\
0, GPU-aaaa1111, [N/A], 24564, 24000, NVIDIA GeForce RTX 4090
1, GPU-bbbb2222, Disabled, 81559, 81000, NVIDIA H100 80GB HBM3
"""


class Machine:
    """A machine made of a folder: bin/ is all of PATH, the rest is the root of /sys and /proc."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environ = {"PATH": str(root / "bin")}
        (root / "bin").mkdir()
        self.file("proc/meminfo", "MemTotal:       32000000 kB\nMemFree: 1 kB\nMemAvailable:   16000000 kB\n")

    def file(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def tool(self, name: str, script: str) -> None:
        self.file(f"bin/{name}", f"#!/bin/sh\n{script}\n")
        (self.root / "bin" / name).chmod(0o755)

    def nvidia_smi(self, rows: str) -> None:
        """Answers the one query that is expected, as nvidia-smi does; anything else is an error."""
        self.tool("nvidia-smi", f"[ \"$*\" = '{QUERY}' ] || exit 2\nprintf '%s' '{rows}'")

    def amd_gpu(self, number: int, total: int, used: int, product: str = "") -> None:
        folder = f"sys/class/drm/card{number}/device"
        self.file(f"{folder}/mem_info_vram_total", f"{total}\n")
        self.file(f"{folder}/mem_info_vram_used", f"{used}\n")
        self.file(f"{folder}/device", "0x744c\n")
        if product:
            self.file(f"{folder}/product_name", f"{product}\n")

    def detect(self, system: str = "Linux", **environ: str) -> list[LocalDevice]:
        return detect(root=self.root, environ={**self.environ, **environ}, system=system)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_nvidia_gpus_with_their_total_free_and_usable_memory(machine: Machine) -> None:
    machine.nvidia_smi(TWO_GPUS)
    rtx, h100 = machine.detect()
    assert (rtx.name, rtx.kind, rtx.index) == ("RTX 4090", "cuda", 0)
    assert (rtx.total, rtx.free) == (24_564 * MIB, 24_000 * MIB)
    # What the driver keeps is taken off: torch sees 81,089 of 81,559 MiB.
    assert (h100.name, h100.total, h100.usable) == ("H100 SXM", 81_559 * MIB, 81_089 * MIB)
    assert h100.device is not None


def test_the_total_of_the_driver_at_hand_counts_not_the_data_files(machine: Machine) -> None:
    machine.nvidia_smi("0, GPU-a, [N/A], 16160, 16000, Tesla V100-SXM2-16GB\n")
    (gpu,) = machine.detect()
    assert (gpu.name, gpu.total, gpu.usable) == ("V100 16GB", 16_160 * MIB, (16_160 - 254) * MIB)


def test_a_gpu_that_nobody_knows_is_kept_with_its_drivers_figures(machine: Machine) -> None:
    machine.nvidia_smi("0, GPU-a, [N/A], 50000, [N/A], NVIDIA Wonder 1, special edition\n")
    (gpu,) = machine.detect()
    assert (gpu.name, gpu.usable, gpu.free, gpu.device) == ("Wonder 1, special edition", 50_000 * MIB, None, None)


def test_a_known_name_with_a_size_of_its_own_is_kept_too(machine: Machine) -> None:
    machine.nvidia_smi("0, GPU-a, [N/A], 49140, 49000, NVIDIA GeForce RTX 4080 48GB\n")
    (gpu,) = machine.detect()
    assert (gpu.total, gpu.device) == (49_140 * MIB, None)


def test_mig_is_noted(machine: Machine) -> None:
    machine.nvidia_smi("0, GPU-a, Enabled, 81920, 81000, NVIDIA A100-SXM4-80GB\n")
    (gpu,) = machine.detect()
    assert gpu.name == "A100 80GB"
    assert "MIG" in gpu.note


def test_unified_memory_is_the_machines(machine: Machine) -> None:
    machine.nvidia_smi("0, GPU-a, [N/A], [N/A], [N/A], NVIDIA GB10\n")
    (gpu,) = machine.detect()
    assert (gpu.name, gpu.total, gpu.free) == ("GB10", 32_000_000 * 1024, 16_000_000 * 1024)


def test_a_gpu_of_no_memory_is_left_out(machine: Machine) -> None:
    machine.nvidia_smi("0, GPU-a, [N/A], [N/A], [N/A], NVIDIA GB10\n")
    machine.file("proc/meminfo", "")
    assert machine.detect() == []


@pytest.mark.parametrize(
    ("wanted", "indices"),
    [
        ("0,1", [0, 1]),
        ("1,0", [1, 0]),
        ("1", [1]),
        (" 1 ", [1]),
        ("GPU-bbbb", [1]),
        ("GPU-bbbb2222,0", [1, 0]),
        # From the first that is not there on, nothing is seen; one named twice ends it, too.
        ("1,7,0", [1]),
        ("0,0", [0]),
        ("GPU-", []),
        ("-1", []),
        ("", []),
        ("MIG-aaaa", []),
    ],
)
def test_cuda_visible_devices_hides_and_orders(machine: Machine, wanted: str, indices: list[int]) -> None:
    machine.nvidia_smi(TWO_GPUS)
    seen = machine.detect(CUDA_VISIBLE_DEVICES=wanted)
    assert [device.index for device in seen if device.kind == "cuda"] == indices


@pytest.mark.parametrize(
    "script",
    [
        "echo 'NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.'; exit 9",
        "echo 'No devices were found'; exit 6",
        "echo 'No devices were found'",
        "echo 'a, b, c, d, e, f'; echo '0, GPU-a'; printf '\\377\\376,,,,,'",
        "exit 0",
        "kill -9 $$",
    ],
)
def test_a_tool_that_fails_or_babbles_counts_as_no_gpu(machine: Machine, script: str) -> None:
    machine.tool("nvidia-smi", script)
    assert [device.kind for device in machine.detect()] == ["cpu"]


def test_a_tool_that_is_no_program_counts_as_no_gpu(machine: Machine) -> None:
    machine.file("bin/nvidia-smi", "not executable")
    assert [device.kind for device in machine.detect()] == ["cpu"]


def test_a_tool_that_hangs_is_given_up(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("inspector.devices.detect"), "TIMEOUT_SECONDS", 0.2)
    machine.tool("nvidia-smi", "exec /bin/sleep 60")
    start = time.monotonic()
    assert [device.kind for device in machine.detect()] == ["cpu"]
    assert time.monotonic() - start < 20


def test_amd_gpus_from_sysfs_in_their_order(machine: Machine) -> None:
    machine.amd_gpu(10, 25_753_026_560, 10, "Radeon RX 7900 XTX")
    machine.amd_gpu(2, 206_141_652_992, 1_000, "AMD Instinct MI300X")
    machine.file("sys/class/drm/card2-DP-1/device/mem_info_vram_total", "99999999999")
    first, second = machine.detect()
    assert (first.name, first.kind, first.index) == ("MI300X", "rocm", 0)
    assert (first.total, first.free) == (206_141_652_992, 206_141_651_992)
    assert (second.name, second.index, second.usable) == ("RX 7900 XTX", 1, 25_753_026_560)


def test_an_amd_gpu_without_a_name_shows_its_pci_number(machine: Machine) -> None:
    machine.amd_gpu(0, 17_163_091_968, 0)
    (gpu,) = machine.detect()
    assert (gpu.name, gpu.device) == ("AMD GPU 0x744c", None)


def test_a_processors_graphics_part_is_no_gpu(machine: Machine) -> None:
    machine.amd_gpu(0, 512 * MIB, 0)
    machine.amd_gpu(1, -1, 0)
    assert [device.kind for device in machine.detect()] == ["cpu"]


def test_nvidia_and_amd_gpus_together(machine: Machine) -> None:
    machine.nvidia_smi(TWO_GPUS)
    machine.amd_gpu(0, 25_753_026_560, 0, "Radeon RX 7900 XTX")
    assert [device.kind for device in machine.detect()] == ["cuda", "cuda", "rocm"]


def test_without_a_gpu_the_machines_memory_or_its_containers_limit(machine: Machine) -> None:
    (cpu,) = machine.detect()
    assert (cpu.name, cpu.total, cpu.usable) == ("CPU", 32_000_000 * 1024, 32_000_000 * 1024)
    assert cpu.free == 16_000_000 * 1024
    assert "no GPU found" in cpu.note
    machine.file("sys/fs/cgroup/memory.max", "max\n")
    assert machine.detect()[0].usable == 32_000_000 * 1024
    machine.file("sys/fs/cgroup/memory.max", "1073741824\n")
    assert machine.detect()[0].usable == 2**30


def test_a_machine_that_tells_nothing_has_nothing(tmp_path: Path) -> None:
    assert detect(root=tmp_path, environ={"PATH": str(tmp_path)}, system="Windows") == []
    assert detect(root=tmp_path, environ={"PATH": str(tmp_path)}, system="Darwin") == []


def sysctl(memory: int, limit: str, brand: str = "Apple M3 Max") -> str:
    return (
        f'case "$2" in hw.memsize) echo {memory};; iogpu.wired_limit_mb) {limit};;'
        f' machdep.cpu.brand_string) echo "{brand}";; *) exit 1;; esac'
    )


@pytest.mark.parametrize(
    ("limit", "usable"),
    [("echo 0", 48 * 2**30), ("echo 57344", 57_344 * MIB), ("exit 1", 48 * 2**30), ("echo 99999999", 64 * 2**30)],
)
def test_a_mac_grants_its_wired_limit_or_what_metal_recommends(machine: Machine, limit: str, usable: int) -> None:
    machine.tool("sysctl", sysctl(64 * 2**30, limit))
    (mac,) = machine.detect("Darwin")
    assert (mac.name, mac.kind, mac.total, mac.usable) == ("M3 Max 64GB", "metal", 64 * 2**30, usable)
    assert mac.device is not None


def test_a_mac_of_a_size_or_make_that_nobody_knows(machine: Machine) -> None:
    machine.tool("sysctl", sysctl(40 * 2**30, "echo 0", "Apple M9 Nano"))
    (mac,) = machine.detect("Darwin")
    assert (mac.name, mac.usable, mac.device) == ("M9 Nano 40GB", 30 * 2**30, None)
    machine.tool("sysctl", sysctl(16 * 2**30, "echo 0", "Intel(R) Core(TM) i7"))
    (old,) = machine.detect("Darwin")
    assert (old.kind, old.usable) == ("cpu", 16 * 2**30)
