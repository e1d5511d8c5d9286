"""The device data: what it says, and that every name in it is found again."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from inspector.devices.spec import parse_gpu
from inspector.devices.table import (
    DATA_FILE,
    MIB,
    Device,
    Instance,
    find_device,
    list_devices,
    list_instances,
    metal_working_set_mib,
    name_key,
    near_names,
    search_devices,
    search_instances,
)
from inspector.errors import UsageError

DEVICES = list_devices()


def known(name: str) -> Device:
    device = find_device(name)
    assert device is not None
    return device


@pytest.mark.parametrize(
    ("name", "memory_mib"),
    [
        # nvidia-smi's totals, as people print them.
        ("H100 SXM", 81_559),
        ("A100 80GB", 81_920),
        ("A100 40GB", 40_960),
        ("H200", 143_771),
        ("L40S", 46_068),
        ("A10G", 23_028),
        ("L4", 23_034),
        ("T4", 15_360),
        ("RTX 4090", 24_564),
        ("RTX 3090", 24_576),
        ("RTX 5090", 32_607),
        ("RTX A6000", 49_140),
    ],
)
def test_total_memory_is_the_drivers_not_the_box_size(name: str, memory_mib: int) -> None:
    assert (known(name).memory_mib, known(name).basis) == (memory_mib, "measured")


@pytest.mark.parametrize(
    ("name", "visible_gib"),
    [
        # "total capacity of ... GiB" in torch's errors, and vLLM's start-up logs.
        ("H100 SXM", 79.19),
        ("A100 40GB", 39.56),
        ("A100 80GB", 79.25),
        ("T4", 14.74),
        ("L40S", 44.40),
        ("A10G", 22.06),
        ("RTX A6000", 47.53),
        ("RTX 3090 Ti", 23.55),
        ("RTX 4090", 23.52),
        ("RTX 5090", 31.35),
        ("GB200", 184.31),
        ("MI355X", 287.98),
    ],
)
def test_capacity_is_what_torch_sees(name: str, visible_gib: float) -> None:
    assert known(name).capacity / 2**30 == pytest.approx(visible_gib, rel=0.0005)


def test_a_device_without_a_visible_figure_gives_all_that_its_driver_reports() -> None:
    assert known("A30").capacity == 24_576 * MIB
    assert known("A30").reserve == 0
    assert known("H100").reserve == (81_559 - 81_089) * MIB


def test_there_are_enough_devices_and_their_names_are_unique() -> None:
    assert len(DEVICES) >= 60
    keys = [name_key(name) for device in DEVICES for name in {device.name, *device.aliases}]
    assert len(keys) == len(set(keys))
    assert sum(device.basis == "measured" for device in DEVICES) >= 100


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.name)
def test_every_name_and_alias_means_its_device(device: Device) -> None:
    for name in (device.name, *device.aliases):
        for spelling in (name, name.lower(), name.replace(" ", "-"), name.replace(" ", ""), f"{device.vendor} {name}"):
            assert find_device(spelling) is device


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.name)
def test_figures_are_plausible(device: Device) -> None:
    assert 0.85 < device.memory_mib / (device.gb * 1024) < 1.02
    assert device.visible_mib is None or 0.66 < device.visible_mib / device.memory_mib <= 1
    assert device.basis == "measured" or device.slice_of or device.memory_mib == device.gb * 1024
    assert device.memory_bandwidth is None or 60e9 < device.memory_bandwidth <= 8e12
    assert (device.compute_capability is not None) == (device.kind in ("cuda", "rocm"))


def test_every_device_has_the_vendors_page_or_a_reason_why_not() -> None:
    without = {device.name for device in DEVICES if not device.page.startswith("https://") and not device.slice_of}
    # NVIDIA shows no page of what is sold in China alone, and none of the P40 any more.
    assert without == {"H800", "H20", "A800 80GB", "L20", "P40"}


def test_every_slice_is_smaller_than_its_gpu_and_computes_the_same() -> None:
    slices = [device for device in DEVICES if device.slice_of]
    assert {"A100 80GB", "H100 SXM", "H200", "B200", "RTX PRO 6000 Blackwell"} <= {each.slice_of for each in slices}
    for each in slices:
        whole = known(each.slice_of or "")
        assert (each.computes, each.compute_capability) == (whole.computes, whole.compute_capability)
        assert each.memory_mib <= whole.memory_mib
        assert each.arithmetic is None
        assert (each.memory_bandwidth or 0) <= (whole.memory_bandwidth or 0)


@pytest.mark.parametrize("machine", list_instances(), ids=lambda machine: machine.name)
def test_every_machine_of_a_cloud_is_so_many_known_gpus(machine: Instance) -> None:
    for spelling in (machine.name, machine.name.lower(), machine.name.replace("_", " ")):
        spec = parse_gpu(spelling)
        assert spec.device is not None
        assert (spec.label.replace(" x ", "x"), spec.device.basis) == (machine.gpus, "measured")
        assert f"{machine.name} of {machine.provider}" in spec.notes[-1]


def test_devices_are_found_by_words_of_all_that_is_known_of_them() -> None:
    def names(*words: str) -> list[str]:
        return [device.name for device in search_devices(words)]

    assert search_devices([]) == DEVICES
    assert names("dgx", "spark") == ["GB10"]
    assert names("5090") == ["RTX 5090", "RTX 5090 Laptop"]
    assert {"MI300X", "RX 9070 XT"} < set(names("amd fp8"))
    assert "RX 7900 XTX" not in names("amd fp8")
    assert all(" 1g." in name for name in names("mig", "1g."))
    assert names("rtx4090") == names("RTX 4090") != []
    assert names("no such thing") == []
    assert [each.name for each in search_instances(["p5.48"])] == ["p5.48xlarge"]


def test_every_source_is_explained() -> None:
    explained = json.loads(DATA_FILE.read_text(encoding="utf-8"))["sources"]
    assert {key for device in DEVICES for key in device.source.split(", ")} == set(explained)


def test_bandwidths_are_those_that_public_texts_print() -> None:
    """Of the whole devices, by name and bandwidth (a chip with several sizes counts once a bandwidth)."""
    read = json.loads(Path(__file__).with_name("bandwidths.json").read_text(encoding="utf-8"))["read"]
    found: set[tuple[str, int | None]] = set()
    for address, figures in read.items():
        assert address.startswith(("https://", "http://"))
        for name, gb_s in figures.items():
            device = known(name)
            assert device.memory_bandwidth == pytest.approx(gb_s * 10**9, rel=0.01), (name, address)
            found.add(_chip(device))
    whole = {_chip(device): device.name for device in DEVICES if device.slice_of is None}
    assert sorted(name for chip, name in whole.items() if chip not in found) == [
        "Arc Pro B50",
        "Arc Pro B60",
        "H100 NVL",
        "H200 NVL",
        "Jetson AGX Orin 32GB",
        "Jetson Orin NX 16GB",
        "Jetson T4000",
        "RTX PRO 6000 Blackwell Server Edition",
        "Ryzen AI Max 390 128GB",
    ]


def _chip(device: Device) -> tuple[str, int | None]:
    return re.sub(r" \d+GB$", "", device.name), device.memory_bandwidth


def test_a_name_that_several_devices_share_is_refused_and_the_devices_named() -> None:
    families = {family for device in DEVICES for family in device.families}
    assert {"A100", "V100", "RTX 4060 Ti", "M3 Max", "Strix Halo", "A100 1g.10gb"} <= families
    for family in families:
        members = [device for device in DEVICES if family in device.families]
        if len(members) == 1:
            assert find_device(family) is members[0]
            continue
        with pytest.raises(UsageError) as caught:
            find_device(family)
        assert all(device.name in caught.value.hint for device in members)


def test_memory_settles_which_device_a_shared_name_means() -> None:
    assert find_device("NVIDIA GeForce RTX 4060 Ti", 16_380) is known("RTX 4060 Ti 16GB")
    assert find_device("NVIDIA GeForce RTX 3080", 10_240) is known("RTX 3080 10GB")


def test_unknown_names_are_unknown_and_near_ones_are_told() -> None:
    assert find_device("RTX 90901") is None
    assert find_device("") is None
    assert near_names("rtx4099")[0] == "RTX 4090"
    assert near_names("A1000")[0].startswith("A100")
    assert near_names("zzzzzz") == []


@pytest.mark.parametrize(
    ("memory_gib", "printed_mb"),
    # recommendedMaxWorkingSetSize in llama.cpp's logs, in MB of 1e6 bytes.
    [(16, "11453.25"), (24, "17179.89"), (32, "22906.50"), (36, "28991.03")],
)
def test_metal_grants_two_thirds_and_from_36_gib_on_three_quarters(memory_gib: int, printed_mb: str) -> None:
    working_set = metal_working_set_mib(memory_gib * 1024) * MIB
    assert float(Fraction(working_set, 10**6)) == pytest.approx(float(printed_mb), rel=1e-4)


def test_import_reads_no_data_and_loads_no_heavy_library() -> None:
    code = (
        "import sys, inspector.devices.table as h; "
        "assert h.list_devices.cache_info().currsize == 0; "
        "assert not {'torch', 'numpy', 'pandas', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_every_device_says_what_it_is_built_as_and_every_architecture_has_a_source() -> None:
    architectures = json.loads(DATA_FILE.read_text(encoding="utf-8"))["architectures"]
    assert {device.architecture for device in DEVICES} <= set(architectures)
    for facts in architectures.values():
        assert set(facts["computes"]) <= {"bf16", "fp8", "fp4", "int8"}
        assert facts["source"].startswith("https://")


@pytest.mark.parametrize(
    ("name", "computes"),
    [
        # The vendors' pages: TransformerEngine's support matrix, ROCm's precision support, Intel's article 000098346.
        ("P40", ""),
        ("V100 32GB", ""),
        ("T4", "int8"),
        ("RTX 2080 Ti", "int8"),
        ("A100 80GB", "bf16 int8"),
        ("RTX 3090", "bf16 int8"),
        ("L4", "bf16 fp8 int8"),
        ("H100", "bf16 fp8 int8"),
        ("B200", "bf16 fp4 fp8 int8"),
        ("RTX 5090", "bf16 fp4 fp8 int8"),
        ("MI250X", "bf16 int8"),
        ("MI300X", "bf16 fp8 int8"),
        ("MI355X", "bf16 fp4 fp8 int8"),
        ("RX 6900 XT", ""),
        ("RX 7900 XTX", "bf16 int8"),
        ("RX 9070 XT", "bf16 fp8 int8"),
        ("Gaudi 2", "bf16 fp8"),
        ("Arc B580", "bf16 int8"),
        ("M1 16GB", "bf16"),
    ],
)
def test_devices_say_what_their_matrix_instructions_multiply(name: str, computes: str) -> None:
    assert known(name).computes == frozenset(computes.split())
