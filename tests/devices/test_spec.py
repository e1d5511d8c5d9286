"""What `--gpu` texts mean, by a table; and this machine's GPUs as specs."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.devices.detect import LocalDevice
from inspector.devices.spec import local_specs, parse_gpu, parse_gpus
from inspector.errors import UsageError

TABLE = json.loads(Path(__file__).with_name("gpu_specs.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("text", "name", "count", "capacity"), TABLE["good"])
def test_texts_that_mean_gpus(text: str, name: str, count: int, capacity: int) -> None:
    spec = parse_gpu(text)
    assert (spec.name, spec.count, spec.capacity) == (name, count, capacity)


@pytest.mark.parametrize(("text", "message", "hint"), TABLE["bad"])
def test_texts_that_mean_none_say_what_to_do(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_gpu(text)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert "\n" not in caught.value.message + caught.value.hint


def test_a_bare_size_is_no_device_and_a_name_is_one() -> None:
    assert parse_gpu("24GiB").device is None
    assert parse_gpu("24GiB").kind is None
    assert parse_gpu("2xL40S").device is parse_gpu("L40S").device
    assert parse_gpu("L40S").kind == "cuda"


@pytest.mark.parametrize(
    ("text", "computes", "capability", "unified"),
    [
        ("RTX 4090", {"bf16", "fp8", "int8"}, (8, 9), False),
        ("RTX 4090 + T4", {"int8"}, (7, 5), False),
        ("RTX 4090 + 24GiB", None, None, False),
        ("2xMI300X", {"bf16", "fp8", "int8"}, None, False),
        ("M1 16GB", {"bf16"}, None, True),
        ("GB10", {"bf16", "fp4", "fp8", "int8"}, (12, 1), True),
        ("24GiB", None, None, False),
    ],
)
def test_what_the_gpus_of_a_spec_compute(
    text: str, computes: set[str] | None, capability: tuple[int, int] | None, unified: bool
) -> None:
    spec = parse_gpu(text)
    assert (spec.computes, spec.compute_capability, spec.unified) == (computes, capability, unified)


@given(st.text())
def test_any_text_is_a_spec_or_a_usage_error(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert parse_gpu(text).capacity >= 1


@given(st.integers(1, 1024), st.integers(1, 10**6))
def test_counts_and_sizes_are_read_exactly(count: int, size: int) -> None:
    for text in (f"{count}x{size}MiB", f"{size}MiBx{count}", f"{size} MiB:{count}"):
        assert (parse_gpu(text).count, parse_gpu(text).capacity) == (count, size * 2**20)


def test_equal_local_gpus_form_one_spec_with_the_least_free_memory() -> None:
    gpus = [
        LocalDevice("RTX 3090", "cuda", 0, 100, 90, 80),
        LocalDevice("T4", "cuda", 1, 50, 45, 44),
        LocalDevice("RTX 3090", "cuda", 2, 100, 90, 70, note="hot"),
    ]
    first, second = local_specs(gpus)
    assert (first.name, first.count, first.capacity, first.free, first.notes) == ("RTX 3090", 2, 90, 70, ("hot",))
    assert (second.name, second.count, second.capacity, second.free) == ("T4", 1, 45, 44)


def test_no_local_gpu_is_a_usage_error_with_a_hint() -> None:
    with pytest.raises(UsageError, match="no GPU was found") as caught:
        local_specs([])
    assert "--gpu" in caught.value.hint


def test_auto_stands_for_this_machine_and_other_texts_keep_their_place() -> None:
    specs = parse_gpus(("24GiB", "auto", "T4"))
    assert (specs[0].name, specs[-1].name) == ("24GiB", "T4")
    assert len(specs) >= 3
