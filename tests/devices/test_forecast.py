"""The likely range beside a bound of speed: its table is that of the measurements, which are all below the bounds."""

from __future__ import annotations

import json
from functools import cache

import pytest

import inspector
from benchmarks import speed
from benchmarks.speed import Row, Score, Scored
from inspector.devices.forecast import Alike, device_class, forecast
from inspector.devices.spec import parse_gpu
from inspector.devices.table import find_device, list_devices
from inspector.engines.registry import names
from tests.conftest import Run

LLAMA = "meta-llama/Llama-3.1-8B"


@cache
def scored() -> Scored:
    return speed.scored()


def test_the_table_and_the_page_are_what_the_measurements_make() -> None:
    made = speed.grouped(scored().scores)
    assert speed.TABLE.read_text(encoding="utf-8") == speed.table_text(made), "run `python -m benchmarks.speed --write`"
    page = speed.PAGE.read_text(encoding="utf-8")
    assert page == speed.page_with(page, speed.page_text(scored()))


def test_every_measurement_has_an_address_where_it_was_read() -> None:
    rows, sources = speed.load_rows()
    assert len(rows) >= 40
    assert {row.source for row in rows} == sources.keys()
    assert all(each["url"].startswith("https://") and each["what"] for each in sources.values())
    assert {row.engine for row in rows} <= set(names())
    assert all(find_device(row.device) is not None for row in rows)


def test_no_published_decode_is_faster_than_its_bound() -> None:
    over = [(score.row, score.share) for score in scored().scores if score.kind.part == "decode" and score.share > 1]
    assert over == []


def test_every_device_counts_the_same_in_a_quantile() -> None:
    kind = Alike("decode", "mlx", "Apple", False, 0)

    def score(device: str, share: float) -> Score:
        row = Row("source", device, 1, LLAMA, "bf16", "mlx", 1, 1, share, None, None)
        return Score(row, kind, measured=share, bound=1)

    # Weights of 1/4, 1/4 and 1/2, whose middles are at 1/8, 3/8 and 3/4: the half is a third of the way from 0.2 to 0.9
    found = [score("M1", 0.1), score("M1", 0.2), score("M2", 0.9)]
    assert speed.quantile(found, 0.5) == pytest.approx(0.2 + 0.7 / 3)
    assert speed.quantile(found, 0) == 0.1
    assert speed.quantile(found, 1) == 0.9


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("RTX 4090", "GeForce RTX"),
        ("RTX 4090 Laptop", "GeForce RTX"),
        ("GTX 1050 Ti", "GeForce GTX"),
        ("RTX 4000 Ada", "NVIDIA workstation and data center"),
        ("RTX A6000", "NVIDIA workstation and data center"),
        ("RTX PRO 6000 Blackwell", "NVIDIA workstation and data center"),
        ("H100 SXM", "NVIDIA workstation and data center"),
        ("GB10", "NVIDIA unified memory"),
        ("RX 7900 XTX", "Radeon"),
        ("MI300X", "AMD Instinct"),
        ("Ryzen AI Max+ 395 128GB", "AMD unified memory"),
        ("M4 Max 64GB", "Apple"),
    ],
)
def test_devices_of_a_class_share_their_kind_of_memory(name: str, shown: str) -> None:
    device = find_device(name)
    assert device is not None
    assert device_class(device) == shown


def test_every_device_has_a_class() -> None:
    assert {device_class(device) for device in list_devices()} >= {"Apple", "Radeon", "Intel", "GeForce RTX"}


def test_a_range_is_shares_of_the_bound_of_measurements_that_are_alike() -> None:
    model, spec = inspector.load(LLAMA, offline=True).model, parse_gpu("RTX 4090")
    rows = json.loads(speed.TABLE.read_text(encoding="utf-8"))["shares"]
    (row,) = [
        each
        for each in rows
        if (each["part"], each["engine"], each["devices"], each["mixture"], each["pace"])
        == ("decode", "llama.cpp", "GeForce RTX", False, 100)
    ]
    found = forecast("decode", "llama.cpp", spec, model, 100)
    assert found is not None
    assert (found.low, found.high) == (100 * row["low"], 100 * row["high"])
    assert (found.measurements, found.sources) == (row["measurements"], row["sources"])
    assert found.low < found.high < 100
    assert forecast("decode", "llama.cpp", spec, model, 100, batch=2) is None
    assert forecast("decode", "llama.cpp", parse_gpu("2xRTX 4090"), model, 100) is None
    assert forecast("decode", "llama.cpp", parse_gpu("24GiB"), model, 100) is None
    assert forecast("decode", "mlx", spec, model, 100) is None
    assert forecast("decode", "llama.cpp", spec, model, None) is None


def test_no_range_is_above_its_bound() -> None:
    assert any(row["high"] > 1 for row in json.loads(speed.TABLE.read_text(encoding="utf-8"))["shares"])
    model = inspector.load(LLAMA, offline=True).model
    found = forecast("prefill", "llama.cpp", parse_gpu("RTX 4090"), model, 2583.25)
    assert found is not None
    assert (found.high, found.share_high) == (2583.25, 1)
    assert found.low < found.high


def test_a_verdict_and_find_show_the_range_beside_the_bound(run: Run) -> None:
    asked = ("--gpu", "RTX 4090", "--engine", "llama.cpp", "--offline")
    (fit,) = run("fit", LLAMA, *asked, "--dtype", "Q4_K_M", "--json").record["fit"]
    found = fit["decode_forecast"]
    assert found["low"] == pytest.approx(fit["decode_bound"] * found["share_low"])
    assert found["high"] == pytest.approx(fit["decode_bound"] * found["share_high"])
    assert fit["prefill_forecast"]["measurements"] >= speed.FEWEST
    text = " ".join(run("fit", LLAMA, *asked, "--dtype", "Q4_K_M").out.split())
    assert f"likely: decode {found['low']:.0f} to {found['high']:.0f} tok/s" in text
    assert f"by {found['measurements']} published measurements of llama.cpp on GeForce RTX" in text
    several = run("fit", LLAMA, *asked, "--dtype", "Q4_K_M", "--batch", "4", "--json").record["fit"][0]
    assert several["decode_bound"]
    assert several["decode_forecast"] is None
    models = json.loads(run("find", *asked, "--bundled", "--json").out)
    assert any(each["decode_forecast"] for each in models)
    for each in models:
        if each["decode_forecast"]:
            assert each["decode_forecast"]["high"] <= each["decode_bound"]
