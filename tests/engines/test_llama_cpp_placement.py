"""Experts and other tensors that llama.cpp leaves with the CPU, and caches that several sequences share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inspector.engines.llama_cpp.log import LlamaCppLog
from inspector.engines.llama_cpp.placement import named_overrides, overridden, overrides_of
from inspector.errors import UsageError
from tests.case_files import lay_out
from tests.conftest import Run

CASE = Path(__file__).parent.parent / "cases" / "gguf_gpt_oss_20b.json"
EXPERT = 2880 * 2880 * 32 * 17 // 32
"""One of the three matrices of a layer's 32 experts, MXFP4: 17 bytes a block of 32 values."""

LAYER = 3 * EXPERT + 3 * 32 * 2880 * 4
"""All three, with their biases in F32."""


@pytest.fixture
def gpt_oss(tmp_path: Path) -> str:
    return str(lay_out(json.loads(CASE.read_text())["files"], tmp_path))


def fit(run: Run, model: str, *arguments: str) -> tuple[int, Any]:
    done = run("fit", model, "--engine", "llama.cpp", "--gpu", "24GiB", "--context", "8k", "--json", *arguments)
    return done.code, done.record["serving"]


def test_experts_of_the_first_layers_are_with_the_cpu(run: Run, gpt_oss: str) -> None:
    _, whole = fit(run, gpt_oss)
    _, some = fit(run, gpt_oss, "--n-cpu-moe", "10")
    assert whole["per_gpu"]["weights"] - some["per_gpu"]["weights"] == 10 * LAYER
    assert some["cpu"]["weights"] - whole["cpu"]["weights"] == 10 * LAYER
    assert some["per_gpu"]["kv_pool"] == whole["per_gpu"]["kv_pool"]
    # A prompt's step copies one matrix of experts at a time to the GPU.
    assert some["per_gpu"]["activations"] - whole["per_gpu"]["activations"] == EXPERT
    assert some["settings"]["n_cpu_moe"] == 10


def test_all_experts_by_each_of_the_three_options(run: Run, gpt_oss: str) -> None:
    every = [
        fit(run, gpt_oss, *arguments)[1]["per_gpu"]
        for arguments in (["--cpu-moe"], ["--n-cpu-moe", "99"], ["--override-tensor", r"\.ffn_.*_exps\.=CPU"])
    ]
    assert every[0] == every[1] == every[2]


def test_a_pattern_given_by_hand_comes_before_n_cpu_moe(run: Run, gpt_oss: str) -> None:
    _, some = fit(run, gpt_oss, "--n-cpu-moe", "10")
    _, kept = fit(run, gpt_oss, "--n-cpu-moe", "10", "--override-tensor", r"blk\.0\.ffn_up_exps\.weight=CUDA0")
    assert kept["per_gpu"]["weights"] - some["per_gpu"]["weights"] == EXPERT


def test_tensors_go_to_another_gpu(run: Run, gpt_oss: str) -> None:
    arguments = ("fit", gpt_oss, "--engine", "llama.cpp", "--gpu", "2x24GiB", "--context", "8k", "--json")
    whole, moved = (run(*arguments, *more).record["serving"] for more in ((), ("--override-tensor", "exps=CUDA1")))
    # 25 layers with the output: 13 of them on the first GPU.
    assert moved["per_gpu"]["weights"] - whole["per_gpu"]["weights"] > 12 * LAYER
    assert moved["cpu"] == whole["cpu"]


def test_advice_for_a_mixture_is_its_experts_on_the_cpu(run: Run, gpt_oss: str) -> None:
    done = run("fit", gpt_oss, "--engine", "llama.cpp", "--gpu", "8GiB", "--context", "8k", "--json")
    (option,) = [each["option"] for each in done.record["serving"]["changes"] if "--n-cpu-moe" in each["option"]]
    least = int(option.split()[-1])
    arguments = ("fit", gpt_oss, "--engine", "llama.cpp", "--gpu", "8GiB", "--context", "8k", "--n-cpu-moe")
    assert (run(*arguments, str(least - 1)).code, run(*arguments, str(least)).code) == (1, 0)


def test_sequences_that_share_a_cache(run: Run, gpt_oss: str) -> None:
    _, one = fit(run, gpt_oss)
    _, four = fit(run, gpt_oss, "--batch", "4", "--kv-unified")
    # Windows of 128 for four sequences and a step of 512: 1,024 cells; of one 640, padded to 768. 12 layers of 24.
    row = 2 * 8 * 64 * 2
    assert four["per_gpu"]["kv_pool"] - one["per_gpu"]["kv_pool"] == 12 * row * (1024 - 768)
    assert four["settings"]["n_ctx"] == 8192
    _, full = fit(run, gpt_oss, "--swa-full")
    assert full["per_gpu"]["kv_pool"] == 24 * row * 8192


def test_the_cache_stays_with_the_cpu(run: Run, gpt_oss: str) -> None:
    _, whole = fit(run, gpt_oss)
    _, kept = fit(run, gpt_oss, "--no-kv-offload")
    assert kept["per_gpu"]["kv_pool"] == 0
    assert kept["cpu"]["kv_cache"] == whole["per_gpu"]["kv_pool"]


def test_shares_of_the_gpus(run: Run, gpt_oss: str) -> None:
    arguments = ("fit", gpt_oss, "--engine", "llama.cpp", "--context", "8k", "--json", "--tensor-split", "3,1")
    # 25 layers with the output: indices below 18.75 on the first GPU.
    like = run(*arguments, "--gpu", "2x24GiB").record["serving"]
    layer = (fit(run, gpt_oss)[1]["per_gpu"]["weights"] - like["per_gpu"]["weights"]) / 6
    assert like["per_gpu"]["weights"] == pytest.approx(19 * layer, rel=0.2)
    unlike = run(*arguments, "--gpu", "RTX 4090 + RTX 3060 12GB").record["serving"]
    assert "layers by --tensor-split: 19 + 5" in unlike["notes"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--override-tensor", "exps"], "is no PATTERN=BUFFER"),
        (["--override-tensor", "exps=DISK"], "is no PATTERN=BUFFER"),
        (["--override-tensor", "ex(ps=CPU"], "is no pattern"),
        (["--override-tensor", "exps=CUDA1"], "names GPU 1, and --gpu has 1"),
        (["--tensor-split", "3,1"], "has 2 shares, --gpu 1"),
        (["--tensor-split", "a"], "is no list of shares"),
        (["--flash-attn", "off", "--cache-type-v", "q8_0"], "under flash attention alone"),
        (["--n-cpu-moe", "4", "--emit", "ollama"], "a Modelfile has no --n-cpu-moe"),
    ],
)
def test_what_cannot_be_is_refused(run: Run, gpt_oss: str, arguments: list[str], words: str) -> None:
    done = run("fit", gpt_oss, "--engine", "llama.cpp", "--gpu", "24GiB", *arguments)
    assert (done.code, words in done.err) == (2, True), done.err


def test_the_command_names_them(run: Run, gpt_oss: str) -> None:
    done = run(
        *("fit", gpt_oss, "--gpu", "24GiB", "--context", "8k", "--n-cpu-moe", "4", "--flash-attn", "off"),
        *("--emit", "llama-server"),
    )
    assert "--n-cpu-moe 4" in done.out
    assert "--flash-attn off" in done.out


def test_a_log_names_the_tensors_that_were_moved() -> None:
    log = LlamaCppLog()
    for line in (
        "load_tensors: loading model tensors, this can take a while... (mmap = true)",
        "tensor blk.0.ffn_gate_exps.weight (134 MiB mxfp4) buffer type overridden to CPU",
        "tensor blk.1.ffn_up_exps.weight buffer type overriden to CUDA3",
        "load_tensors:        CUDA0 model buffer size = 1000.00 MiB",
    ):
        log.feed(line)
    moved = log.finish().settings["overridden"]
    assert moved == {"blk.0.ffn_gate_exps.weight": "CPU", "blk.1.ffn_up_exps.weight": "CUDA3"}
    layers = [{"ffn_gate_exps.weight": 7, "ffn_up_exps.weight": 5}] * 2
    assert overridden(layers, named_overrides(moved, 2)) == ({None: 7}, {})


def test_a_layers_number_is_matched_whole() -> None:
    layers = [{"ffn_up_exps.weight": 1}] * 12
    found = overridden(layers, overrides_of(None, 2, cpu_moe=False))
    assert [index for index, each in enumerate(found) if each] == [0, 1]
    with pytest.raises(UsageError, match="no pattern"):
        overrides_of("a" * 2000 + "=CPU", None, cpu_moe=False)
