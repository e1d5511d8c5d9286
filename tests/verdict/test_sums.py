"""Every verdict sums: what the engine may use is what is needed and what is left, in JSON and as it is printed."""

from __future__ import annotations

import re
from io import StringIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

import inspector
from inspector.devices.table import list_devices
from inspector.engines.registry import names
from inspector.report.text import print_verdicts

MODELS = (
    "openai-community/gpt2",
    "Qwen/Qwen3-8B",
    "deepseek-ai/DeepSeek-V3",
    "google/gemma-3-4b-it",
    "openai/gpt-oss-20b",
)
GPUS = ("1MiB", "16GiB", "T4", "RTX 4090", "H100", "8xH100", "M3 Max 64GB", "MI300X", "RTX 4090 + RTX 3060 12GB")
SUM = re.compile(r"needs ([\d.,]+) of ([\d.,]+) GiB(?: per GPU)?(?: \([^)]*\))?, ([\d.,]+) (left|short)")


@pytest.mark.parametrize("engine", ["transformers", "vllm", "sglang", "llama.cpp", "mlx"])
def test_a_verdict_sums(engine: str) -> None:
    seen = 0
    for name in MODELS:
        model = inspector.load(name, offline=True)
        for gpu in GPUS:
            try:
                report = model.inspect(gpus=gpu, engine=engine)
            except inspector.InspectError:  # no such engine on this device
                continue
            fit = report.fits[0]
            if fit.needed is None:
                continue
            seen += 1
            assert fit.usable is not None
            assert fit.headroom == fit.usable - fit.needed
            assert fit.usable <= fit.capacity or gpu == "1MiB"
            assert (fit.fits is True) <= (fit.headroom >= 0)
            out = StringIO()
            print_verdicts(Console(file=out, width=200), report)
            assert "KV pool  -" not in out.getvalue()
            for needed, usable, rest, word in SUM.findall(out.getvalue()):
                sizes = [float(each.replace(",", "")) for each in (needed, usable, rest)]
                assert round(sizes[0] + (sizes[2] if word == "left" else -sizes[2]), 2) == sizes[1]
    assert seen >= 4


@given(
    model=st.sampled_from(MODELS),
    engine=st.sampled_from(names()),
    device=st.sampled_from([each.name for each in list_devices()]),
    count=st.sampled_from([1, 2, 3, 8]),
    context=st.sampled_from([1, 1024, 8192, 131_072]),
    batch=st.sampled_from([1, 7, 512]),
)
@settings(max_examples=150, deadline=None)
def test_needed_and_headroom_sum_on_every_device_and_no_part_is_negative(
    model: str, engine: str, device: str, count: int, context: int, batch: int
) -> None:
    loaded = LOADED.setdefault(model, inspector.load(model, offline=True))
    context = min(context, loaded.model.architecture.max_position_embeddings or context)
    gpu = device if count == 1 else f"{count}x{device}"
    try:
        record = loaded.inspect(gpus=gpu, engine=engine, context=context, batch=batch).to_dict()
    except inspector.InspectError:  # the engine does not run on it, or not so
        return
    (fit,) = record["fit"]
    if fit["needed"] is not None:
        assert fit["needed"] + fit["headroom"] == fit["usable"] <= fit["capacity"]
        assert fit["fits"] is None or fit["fits"] == (fit["headroom"] >= 0)
    for sizes in (record.get("serving", {}).get(name, {}) for name in ("per_gpu", "cpu")):
        assert all(size is None or size >= 0 for size in sizes.values()), sizes


LOADED: dict[str, inspector.LoadedModel] = {}
