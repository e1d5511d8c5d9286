"""`--engine mlx` as a user runs it: sizes by hand, searches, changes, and refusals."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Run

LLAMA3 = "meta-llama/Meta-Llama-3-8B"
MAC = ("--gpu", "M3 Max 64GB")
GIB = 1024**3


def fit(run: Run, *arguments: str, model: str = LLAMA3) -> tuple[int, Any]:
    done = run("fit", model, "--engine", "mlx", "--json", *arguments)
    return done.code, done.record["serving"]


def test_llama_3_8b_in_bf16_on_a_mac(run: Run) -> None:
    code, serving = fit(run, *MAC, "--context", "8k")
    assert code == 0
    assert serving["engine_version"] == "0.32.2"
    assert serving["per_gpu"]["weights"] == 2 * 8_030_261_248
    # 8,192 rows * 2 (K and V) * 8 heads * 128 * 32 layers * 2 B
    assert serving["per_gpu"]["kv_pool"] == GIB
    parts = ("weights", "activations", "kv_pool")
    assert serving["per_gpu"]["total"] == sum(serving["per_gpu"][part] for part in parts)
    assert serving["capacity"] == 48 * GIB
    assert serving["longest_context"] == 8192


def test_the_largest_context_and_batch_fit_and_one_more_does_not(run: Run) -> None:
    _, serving = fit(run, "--gpu", "16.7GiB", "--context", "4k")
    longest, many = serving["longest_context"], int(serving["max_concurrency"])
    assert 4096 < longest < 16384
    assert fit(run, "--gpu", "16.7GiB", "--context", str(longest))[0] == 0
    assert fit(run, "--gpu", "16.7GiB", "--context", "4k", "--batch", str(many))[0] == 0
    assert fit(run, "--gpu", "16.7GiB", "--context", "4k", "--batch", str(many + 1))[0] == 1


def test_what_makes_it_fit(run: Run) -> None:
    done = run("fit", LLAMA3, "--engine", "mlx", "--gpu", "M2 16GB", "--context", "8k", "--json")
    assert done.code == 1
    changes = {change["option"].partition(" ")[0]: change for change in done.record["fit"][0]["changes"]}
    assert changes["--dtype"]["option"] == "--dtype mlx-8bit"
    assert changes["--dtype"]["needed"] <= done.record["serving"]["capacity"]
    done = run("fit", LLAMA3, "--engine", "mlx", "--gpu", "M2 24GB", "--context", "8k", "--json")
    texts = [change["text"] for change in done.record["fit"][0]["changes"]]
    assert any("sudo sysctl iogpu.wired_limit_mb=" in text for text in texts)
    assert any(" of 8,192 tokens" in text for text in texts)


def test_a_quantized_cache(run: Run) -> None:
    _, serving = fit(run, *MAC, "--context", "8k", "--kv-bits", "8", "--dtype", "int4")
    # 8 bits a value, and 4 B for each 64
    assert serving["per_gpu"]["kv_pool"] == GIB * 17 // 32
    assert serving["settings"]["kv_bits"] == 8
    assert serving["max_concurrency"] == 1
    assert fit(run, *MAC, "--context", "8k", "--kv-dtype", "int8", "--dtype", "int4")[1] == serving
    # before token 5,000 it is not quantized
    assert fit(run, *MAC, "--context", "4k", "--kv-bits", "8")[1]["per_gpu"]["kv_pool"] == GIB // 2


def test_two_machines_cut_the_layers_and_keep_the_embedding_whole(run: Run) -> None:
    _, serving = fit(run, "--gpu", "2xM2 Ultra 128GB", model="meta-llama/Meta-Llama-3-70B")
    whole = 2 * (2 * 128256 * 8192 + (2 * 80 + 1) * 8192)  # embedding, head, norms
    assert serving["per_gpu"]["weights"] == whole + (2 * 70_553_706_496 - whole) // 2
    assert serving["settings"]["tensor_parallel_size"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gpu", "H100"], "MLX is accounted for on Apple's devices; H100 SXM is none"),
        ([*MAC, "--gpu-memory-utilization", "0.9"], "--gpu-memory-utilization is a setting of vllm, not of mlx"),
        ([*MAC, "--engine-version", "0.20"], "not of mlx"),
        ([*MAC, "--tp", "2"], "tensor parallel 2 is not the 1 machines of --gpu"),
        ([*MAC, "--kv-dtype", "fp8"], "no KV cache of type fp8"),
        ([*MAC, "--kv-dtype", "int8", "--kv-bits", "8"], "name the same thing"),
        ([*MAC, "--kv-bits", "7"], "no cache of 7 bits"),
        ([*MAC, "--kv-bits", "8", "--batch", "2"], "one request at a time"),
        (["--gpu", "3xM3 Max 64GB"], "32 heads can't be cut over 3 machines"),
        (["--gpu", "16xM3 Max 64GB"], "8 key/value heads can't be cut over 16 machines"),
    ],
)
def test_what_makes_no_sense_is_refused(run: Run, arguments: list[str], message: str) -> None:
    done = run("fit", LLAMA3, "--engine", "mlx", *arguments)
    assert done.code == 2
    assert message in " ".join(done.err.split())


def test_a_class_that_cannot_be_cut_is_refused_for_two_machines(run: Run) -> None:
    done = run("fit", "google/gemma-2-2b", "--engine", "mlx", "--gpu", "2xM3 Max 64GB")
    assert (done.code, "has no shard()" in " ".join(done.err.split())) == (2, True)


@pytest.mark.parametrize(
    ("model", "arguments", "reason"),
    [
        ("google-bert/bert-base-uncased", [], "no class for the model type 'bert'"),
        (LLAMA3, ["--dtype", "nf4"], "mlx_lm.convert makes no nf4"),
        ("openai/gpt-oss-20b", ["--dtype", "int4"], "packed already (mxfp4)"),
    ],
)
def test_what_cannot_be_told_says_why(run: Run, model: str, arguments: list[str], reason: str) -> None:
    done = run("fit", model, "--engine", "mlx", *MAC, *arguments, "--json")
    assert done.record["serving"]["fits"] is None
    assert reason in " ".join(done.record["fit"][0]["notes"])


def test_each_number_is_explained(run: Run) -> None:
    done = run("fit", "deepseek-ai/DeepSeek-V3", "--engine", "mlx", *MAC, "--dtype", "int4", "--explain")
    text = " ".join(done.out.split())
    for words in ("mlx_lm.convert -q: 4 bits", "10 command buffers", "use_fallback", "KVCache", "QuantizedKVCache"):
        assert words in text


def test_all_gpus_are_all_macs(run: Run) -> None:
    done = run("fit", LLAMA3, "--engine", "mlx", "--all-gpus", "--dtype", "int4", "--json")
    assert done.code == 0
    assert {fit["kind"] for fit in done.record["fit"]} <= {"metal", None}
    assert all(fit["gpu"].startswith("M") for fit in done.record["fit"])
