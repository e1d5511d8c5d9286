"""A table over ranges of settings: each cell is what the single question answers, and wrong values are told by name."""

from __future__ import annotations

from typing import Any

import pytest

import inspector
from inspector.api.grid import MAX_CELLS
from inspector.errors import UsageError
from inspector.settings import split_values
from tests.conftest import Run, repo_files
from tests.hub_server import LoopbackHub

QWEN = "Qwen/Qwen3-8B"


@pytest.fixture(scope="module")
def model() -> inspector.LoadedModel:
    return inspector.load(QWEN, offline=True)


def test_each_cell_of_inference_is_the_estimate_and_the_verdict_of_its_settings(model: inspector.LoadedModel) -> None:
    gpus = ("RTX 4090", "2xRTX 4090")
    found = inspector.grid(
        QWEN, ranges={"context": "2k,60000", "batch": [1, 3], "dtype": ["BF16", "awq"]}, gpus=gpus, offline=True
    )
    assert found.axes == {
        "context": (2048, 60000),
        "batch": (1, 3),
        "dtype": ("bf16", "awq"),
        "gpu": ("RTX 4090", "2 x RTX 4090"),
    }
    assert len(found.cells) == 16
    for cell in found.cells:
        settings: dict[str, Any] = {name: cell.settings[name] for name in ("context", "batch", "dtype")}
        alone, fit = model.estimate(**settings), model.fit(str(cell.gpu).replace(" x ", "x"), **settings)
        assert cell.parts == {part.name: part.bytes for part in alone.parts}
        assert cell.total == alone.total
        assert (cell.needed, cell.usable, cell.headroom, cell.fits) == (fit.needed, fit.usable, fit.headroom, fit.fits)
    assert set(found.fits) == {True, False}


@pytest.mark.parametrize(("engine", "gpu"), [("vllm", "RTX 4090"), ("sglang", "H100"), ("llama.cpp", "2xRTX 4090")])
def test_a_cell_of_an_engine_is_its_verdict_and_its_parts_sum_to_what_is_needed(
    model: inspector.LoadedModel, engine: str, gpu: str
) -> None:
    found = inspector.grid(QWEN, ranges={"context": ["4k", "32k"]}, engine=engine, gpus=gpu, offline=True)
    for cell in found.cells:
        fit = model.fit(gpu, engine=engine, context=cell.settings["context"])
        assert (cell.needed, cell.usable, cell.fits) == (fit.needed, fit.usable, fit.fits)
        assert sum(size or 0 for size in cell.per_gpu.values()) == cell.needed


def test_engines_are_an_axis_and_have_their_own_options_alone() -> None:
    found = inspector.grid(
        QWEN,
        ranges={"engine": "vllm,llama.cpp", "dtype": "bf16,Q4_K_M"},
        serving={"n_gpu_layers": 10},
        gpus="RTX 4090",
        offline=True,
    )
    vllm, refused, llama, file_type = found.cells
    assert vllm.fits
    assert refused.needed is None
    assert "llama.cpp's files" in str(refused.why)
    assert llama.fits
    assert llama.needed is not None
    assert llama.needed < 10 * 2**30  # ten of the layers are on the GPU
    assert file_type.fits
    with pytest.raises(UsageError, match=r"n-gpu-layers is a setting of llama\.cpp"):
        inspector.grid(QWEN, ranges={"engine": "vllm,sglang"}, serving={"n_gpu_layers": 1}, gpus="H100", offline=True)


def test_each_cell_of_training_is_the_step_of_its_settings(model: inspector.LoadedModel) -> None:
    found = inspector.train_grid(
        QWEN, ranges={"method": "full,lora", "batch": "1,2"}, gpus="H100", checkpointing="full", offline=True
    )
    for cell in found.cells:
        asked: dict[str, Any] = {name: cell.settings[name] for name in ("method", "batch")}
        alone = inspector.train(QWEN, gpus="H100", checkpointing="full", offline=True, **asked)
        assert cell.total == alone.peak
        assert cell.parts == {part.name: part.bytes for part in alone.training.parts}
        assert (cell.needed, cell.fits) == (alone.fits[0].needed, alone.fits[0].fits)
    assert model.train(checkpointing="full").peak == found.cells[0].total


def test_a_training_without_adapters_has_one_cell_for_all_ranks() -> None:
    found = inspector.train_grid(QWEN, ranges={"method": "full,lora", "lora_rank": "8,16"}, gpus="H100", offline=True)
    told = [(cell.settings["method"], cell.settings["lora_rank"], cell.fits) for cell in found.cells]
    assert told == [("full", None, False), ("lora", 8, True), ("lora", 16, True)]
    assert [cell.total for cell in found.cells] == [
        inspector.train(QWEN, offline=True).peak,
        *(inspector.train(QWEN, method="lora", lora_rank=rank, offline=True).peak for rank in (8, 16)),
    ]
    one = inspector.train_grid(QWEN, ranges={"method": "full,lora"}, lora_rank=8, gpus="H100", offline=True)
    assert [cell.total for cell in one.cells] == [cell.total for cell in found.cells[:2]]
    with pytest.raises(UsageError, match="these settings are of adapters"):
        inspector.train_grid(QWEN, ranges={"lora_rank": "8,16"}, offline=True)


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({"dtype": "bf16,fp9"}, "unknown precision 'fp9'"),
        ({"context": ["4k", "many"]}, "'many' is not a number of tokens"),
        ({"context": [4096, 0]}, "context 0: context and batch must be at least 1"),
        ({"batch": "1,x"}, "'x' is not a number of batch"),
        ({"batch": "1,,2"}, "'1,,2' has an empty value"),
        ({"context": "4,096,8k"}, "commas within numbers"),
        ({"engine": "vllm,vlm"}, "no memory profile for the engine 'vlm'"),
        ({"gpus": "H100,A100"}, "no table is over 'gpus'"),
        ({"images": "1,2"}, "no table is over 'images'"),
        ({"context": []}, "no values of context"),
        ({"context": list(range(1, 12)), "batch": list(range(1, 101))}, "a table of 1,100 cells: 1,000 are the most"),
    ],
)
def test_what_no_table_has_is_refused_before_anything_is_read(ranges: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        inspector.grid("org/never-seen", ranges=ranges, gpus="24GiB", offline=True)


def test_options_of_one_verdict_are_refused() -> None:
    ranges = {"context": "4k,8k"}
    for more in ({"all_gpus": True}, {"all_options": True, "gpus": "24GiB"}, {"price": 2.0, "gpus": "24GiB"}):
        with pytest.raises(UsageError, match="a table"):
            inspector.grid(QWEN, ranges=ranges, offline=True, **more)
    with pytest.raises(UsageError, match="a table"):
        inspector.train_grid(QWEN, ranges=ranges, measure=True, offline=True)


def test_a_list_is_split_at_its_commas_and_a_number_is_not() -> None:
    assert split_values("4k,32k, 128k", "tokens") == ["4k", "32k", "128k"]
    assert split_values("4,096", "tokens") == ["4,096"]
    assert split_values("131,072", "tokens") == ["131,072"]
    assert split_values("1,8,8") == ["1", "8"]


def test_a_thousand_cells_are_sized() -> None:
    contexts = [1000 + at for at in range(MAX_CELLS // 2)]
    found = inspector.grid(QWEN, ranges={"context": contexts}, gpus="RTX 4090,H100", offline=True)
    assert len(found.cells) == MAX_CELLS
    needed = [cell.needed for cell in found.cells if cell.gpu == "RTX 4090" and cell.needed is not None]
    assert needed == sorted(needed)
    assert len(needed) == len(contexts)


def test_one_reading_of_the_hub_for_all_cells(run_process: Run, loopback_hub: LoopbackHub) -> None:
    loopback_hub.add_repo("org/model", repo_files("openai-community/gpt2"))
    ranges = ["--context", "256,512,1024", "--batch", "1,2", "--gpu", "24GiB,16GiB"]
    record = run_process("org/model", *ranges, "--json", endpoint=loopback_hub.url).record
    assert record["network"]["requests"] == len(loopback_hub.seen)
    asked = len(loopback_hub.seen)
    loopback_hub.forget()
    loopback_hub.add_repo("org/other", repo_files("openai-community/gpt2"))
    run_process("org/other", "--json", endpoint=loopback_hub.url)
    assert len(loopback_hub.seen) == asked  # as many as for one setting
    assert len(record["grid"]["cells"]) == 12
