"""The data of plots: each point is what the single question answers."""

from __future__ import annotations

import dataclasses
import json
from typing import Literal

import pytest

import inspector
from inspector.api.curves import bars, curve
from inspector.api.settings import Settings
from inspector.errors import UsageError

QWEN = inspector.load("Qwen/Qwen3-8B", offline=True)


@pytest.mark.parametrize("over", ["context", "batch"])
def test_each_point_of_a_curve_is_the_estimate_of_that_value(over: Literal["context", "batch"]) -> None:
    found = curve(QWEN.model, Settings(context=3000), over, points=5)
    for at, value in enumerate(found.values):
        alone = QWEN.estimate(**{"context": 3000, "batch": 1} | {over: int(value)})
        assert found.total[at] == alone.total
        assert {name: sizes[at] for name, sizes in found.parts.items()} == {
            part.name: part.bytes for part in alone.parts
        }
    assert found.asked == (3000 if over == "context" else 1)
    assert found.asked in found.values


@pytest.mark.parametrize(
    ("engine", "gpu"),
    [("transformers", "2xRTX 4090"), ("vllm", "RTX 4090"), ("llama.cpp", "RTX 4090"), ("mlx", "M3 Max 64GB")],
)
def test_a_device_of_a_curve_has_the_verdicts_of_fit(engine: str, gpu: str) -> None:
    (device,) = curve(QWEN.model, Settings(engine=engine, gpus=(gpu,)), points=3, most=80_000).devices
    values = curve(QWEN.model, Settings(engine=engine, gpus=(gpu,)), points=3, most=80_000).values
    for at, value in enumerate(values):
        alone = QWEN.fit(gpu, engine=engine, context=int(value))
        assert (device.needed[at], device.usable[at], device.fits[at]) == (alone.needed, alone.usable, alone.fits)
    assert device.largest == QWEN.fit(gpu, engine=engine).max_context


def test_a_curve_ends_beyond_the_most_that_fits_and_not_beyond_the_model() -> None:
    assert curve(QWEN.model, Settings()).values[-1] == 40_960  # the model's own maximum
    small = curve(QWEN.model, Settings(gpus=("18GiB",)), log=True)
    largest = small.devices[0].largest
    assert largest is not None
    assert largest < small.values[-1] == 32 * 1024
    assert list(small.values) == sorted(small.values)


def test_bars_are_the_precisions_of_the_report_each_once() -> None:
    report = QWEN.inspect()
    found = bars(QWEN.model, Settings(gpus=("RTX 4090",)))
    assert found.values == ("stored", "fp32", "int8", "int4")  # bf16 is as stored
    by_name = {each.workload.dtype: each.total for each in report.precisions}
    assert found.total == (report.estimate.total, by_name["fp32"], by_name["int8"], by_name["int4"])
    assert found.devices[0].fits == (True, False, True, True)
    asked = bars(QWEN.model, Settings(dtype="awq"))
    assert asked.values[0] == asked.asked == "awq"
    assert asked.total[0] == QWEN.estimate(dtype="awq").total


def test_sweeps_are_json() -> None:
    for found in (curve(QWEN.model, Settings(gpus=("24GiB",)), points=2), bars(QWEN.model, Settings())):
        assert json.loads(json.dumps(dataclasses.asdict(found)))["over"] == found.over


def test_what_no_curve_has_is_refused() -> None:
    with pytest.raises(UsageError, match="not over 'dtype'"):
        curve(QWEN.model, Settings(), "dtype")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"2 to 1,000 points"):
        curve(QWEN.model, Settings(), points=1)
    with pytest.raises(UsageError, match="Apple's devices"):
        curve(QWEN.model, Settings(engine="mlx", gpus=("H100",)))
