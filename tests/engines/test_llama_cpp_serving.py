"""`--engine llama.cpp` as a user runs it: sizes by hand, the layers that fit, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inspector import inspect
from inspector.hub import Resolver
from inspector.hub.cache.snapshot import loads
from inspector.model import build_model
from inspector.model.model import Model
from tests.conftest import SNAPSHOTS, Run
from tests.hub.formats.make_gguf import Header, text, u32

LLAMA3 = "meta-llama/Meta-Llama-3-8B"
MIB = 1024**2


def model_of(repo_id: str) -> Model:
    return build_model(loads((SNAPSHOTS / f"{repo_id.replace('/', '--')}.json").read_bytes()))


def fit(run: Run, *arguments: str, model: str = LLAMA3) -> tuple[int, Any]:
    done = run("fit", model, "--engine", "llama.cpp", "--json", *arguments)
    return done.code, done.record["serving"]


def test_llama_3_8b_in_bf16_on_one_gpu(run: Run) -> None:
    code, serving = fit(run, "--gpu", "24GiB", "--context", "8k")
    assert code == 0
    # llama.cpp prints 14315.02 MiB on the GPU and 1002.00 MiB with the CPU for this file: the embedding stays there.
    assert serving["per_gpu"]["weights"] == pytest.approx(14315.02 * MIB, abs=0.01 * MIB)
    assert serving["cpu"]["weights"] == 128256 * 4096 * 2
    # 8,192 cells * 2 (K and V) * 8 heads * 128 * 32 layers * 2 B
    assert serving["per_gpu"]["kv_pool"] == 1024 * MIB
    # 512 tokens * (4 B * (3 * 14,336 + 4 * 4,096) + a mask of 8,192 * 2 B)
    assert serving["per_gpu"]["activations"] == 512 * (4 * (3 * 14336 + 4 * 4096) + 8192 * 2)
    assert serving["per_gpu"]["total"] == sum(
        serving["per_gpu"][part] for part in ("weights", "activations", "non_torch", "kv_pool")
    )
    assert serving["settings"]["n_gpu_layers"] == "33/33"


def test_cache_types_are_whole_blocks(run: Run) -> None:
    _, serving = fit(run, "--gpu", "24GiB", "--context", "8k", "--cache-type-k", "q8_0", "--cache-type-v", "q4_0")
    # K: 34 B for 32 values, V: 18; each 512 MiB in f16
    assert serving["per_gpu"]["kv_pool"] == 512 * MIB * (34 + 18) // 64
    _, serving = fit(run, "--gpu", "24GiB", "--context", "8k", "--kv-dtype", "fp32")
    assert serving["per_gpu"]["kv_pool"] == 2048 * MIB


def test_fewer_layers_leave_the_rest_to_the_cpu(run: Run) -> None:
    layer = model_of(LLAMA3).parameters.by_layer[0]
    _, serving = fit(run, "--gpu", "24GiB", "--context", "8k", "--n-gpu-layers", "11")
    # The output is one of the 11: 10 layers of 32 are on the GPU.
    assert serving["per_gpu"]["kv_pool"] == 10 * 32 * MIB
    assert serving["cpu"]["kv_cache"] == 22 * 32 * MIB
    norms = 2 * 4096 * 2  # written as F32: 2 B more a value
    assert serving["cpu"]["weights"] == 128256 * 4096 * 2 + 22 * (2 * layer + norms)
    _, none = fit(run, "--gpu", "24GiB", "--context", "8k", "--n-gpu-layers", "0")
    assert none["per_gpu"]["weights"] == none["per_gpu"]["kv_pool"] == 0
    assert none["cpu"]["weights"] == pytest.approx((14315.02 + 1002) * MIB, abs=0.01 * MIB)


def test_what_does_not_fit_names_the_layers_that_do(run: Run) -> None:
    code, serving = fit(run, "--gpu", "12GiB", "--context", "8k")
    assert (code, serving["fits"]) == (1, False)
    (layers,) = [change["option"] for change in serving["changes"] if "--n-gpu-layers" in change["option"]]
    most = int(layers.split()[-1])
    assert fit(run, "--gpu", "12GiB", "--context", "8k", "--n-gpu-layers", str(most))[0] == 0
    assert fit(run, "--gpu", "12GiB", "--context", "8k", "--n-gpu-layers", str(most + 1))[0] == 1


def test_two_gpus_take_whole_layers(run: Run) -> None:
    _, serving = fit(run, "--gpu", "2x12GiB", "--context", "8k")
    # 33 layers with the output: 17 on the first GPU, 15 and the output on the second, which is the fuller one.
    assert serving["per_gpu"]["kv_pool"] == 15 * 32 * MIB
    assert serving["fits"] is True


def test_a_batch_is_as_many_caches(run: Run) -> None:
    _, one = fit(run, "--gpu", "80GiB", "--context", "8k")
    _, four = fit(run, "--gpu", "80GiB", "--context", "8k", "--batch", "4")
    assert four["per_gpu"]["kv_pool"] == 4 * one["per_gpu"]["kv_pool"]
    assert four["settings"]["n_ctx"] == 4 * 8192


def test_the_longest_context_and_the_most_sequences_are_the_last_that_fit(run: Run) -> None:
    _, serving = fit(run, "--gpu", "18GiB", "--context", "4k", model="meta-llama/Llama-3.1-8B")
    longest, many = serving["longest_context"], int(serving["max_concurrency"])
    at = lambda *more: fit(run, "--gpu", "18GiB", *more, model="meta-llama/Llama-3.1-8B")[0]  # noqa: E731
    assert (at("--context", str(longest)), at("--context", str(longest + 1))) == (0, 1)
    assert (at("--context", "4k", "--batch", str(many)), at("--context", "4k", "--batch", str(many + 1))) == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--engine", "llama.cpp", "--tp", "2"], "--tp is a setting of vllm and sglang"),
        (["--engine", "llama.cpp", "--gpu-memory-utilization", "0.9"], "--gpu-memory-utilization is a setting of vllm"),
        (["--engine", "llama.cpp", "--enforce-eager"], "--enforce-eager"),
        (["--engine", "vllm", "--n-gpu-layers", "3"], "--n-gpu-layers is a setting of llama.cpp"),
        (["--engine", "sglang", "--max-num-seqs", "3"], "--max-num-seqs is a setting of vllm"),
        (["--cache-type-k", "q8_0"], "--cache-type-k is a setting of serving engines, not of transformers"),
        (["--engine", "llama.cpp", "--kv-dtype", "fp8"], "no KV cache of type fp8"),
        (["--engine", "llama.cpp", "--kv-dtype", "fp16", "--cache-type-k", "f16"], "name the same thing"),
        (["--engine", "llama.cpp", "--cache-type-v", "q3_k"], "unknown cache type 'q3_k'"),
        (["--engine", "llama.cpp", "--engine-version", "0.19"], "no build of llama.cpp"),
        (["--engine", "llama.cpp", "--n-gpu-layers", "-1"], "--n-gpu-layers"),
    ],
)
def test_settings_that_contradict_each_other_are_usage_errors(run: Run, arguments: list[str], words: str) -> None:
    done = run("fit", LLAMA3, "--gpu", "24GiB", *arguments)
    assert done.code == 2
    assert words in done.err


@pytest.mark.parametrize(
    ("model", "arguments", "words"),
    [("deepseek-ai/DeepSeek-V3", [], "fp8"), (LLAMA3, ["--dtype", "int4"], "int4 names no single GGUF type")],
)
def test_what_it_would_be_converted_to_is_not_guessed(run: Run, model: str, arguments: list[str], words: str) -> None:
    done = run("fit", model, "--engine", "llama.cpp", "--gpu", "24GiB", *arguments)
    assert done.code == 4
    assert words in " ".join(done.out.split())


def test_gpt_oss_keeps_its_blocks_and_has_all_else_in_16_bits() -> None:
    """conversion/gpt_oss.py of llama.cpp repacks MXFP4; vectors and routers are written as F32, the rest as BF16."""
    model = "openai/gpt-oss-20b"
    tensors = Resolver(offline=True).resolve(model).tensors
    packed = sum(each.nbytes for each in tensors if each.name.endswith(("_blocks", "_scales")))
    plain = [each for each in tensors if not each.name.endswith(("_blocks", "_scales", "embed_tokens.weight"))]
    small = [each for each in plain if "router" in each.name or "norm" in each.name or "bias" in each.name]
    small += [each for each in plain if each.name.endswith("sinks")]
    wide = {each.name for each in plain} - {each.name for each in small}
    expected = (
        packed + sum(4 * each.numel for each in small) + sum(2 * each.numel for each in plain if each.name in wide)
    )
    serving = inspect(model, gpus="24GiB", engine="llama.cpp", offline=True).servings[0]
    assert serving.per_gpu["weights"] == expected
    assert "counted as converted to GGUF with its weights as MXFP4" in serving.notes


def test_the_report_shows_what_stays_with_the_cpu(run: Run) -> None:
    done = run("fit", LLAMA3, "--engine", "llama.cpp", "--gpu", "24GiB", "--dtype", "int8", "--explain")
    assert done.code == 0
    assert "with the CPU: weights 532 MiB" in done.out  # 128,256 * 4,096 * 34 / 32 B
    assert "counted as converted to GGUF" in done.out


def gguf_file(path: Path) -> None:
    """A llama of 2 layers with a tied head: embedding Q8_0, matrices F16, norms F32."""
    hidden, inner, vocabulary = 256, 512, 1024
    metadata = [
        ("general.architecture", text("llama")),
        *(
            (f"llama.{key}", u32(value))
            for key, value in (
                ("block_count", 2),
                ("embedding_length", hidden),
                ("feed_forward_length", inner),
                ("context_length", 8192),
                ("attention.head_count", 4),
                ("attention.head_count_kv", 2),
                ("vocab_size", vocabulary),
            )
        ),
    ]
    f32, f16, q8_0 = 0, 1, 8
    tensors: list[tuple[str, tuple[int, ...], int]] = [
        ("token_embd.weight", (hidden, vocabulary), q8_0),
        ("output_norm.weight", (hidden,), f32),
    ]
    for index in range(2):
        tensors += [
            (f"blk.{index}.{name}.weight", shape, f32 if len(shape) == 1 else f16)
            for name, shape in (
                ("attn_norm", (hidden,)),
                ("ffn_norm", (hidden,)),
                ("attn_q", (hidden, 256)),
                ("attn_k", (hidden, 128)),
                ("attn_v", (hidden, 128)),
                ("attn_output", (256, hidden)),
                ("ffn_gate", (hidden, inner)),
                ("ffn_up", (hidden, inner)),
                ("ffn_down", (inner, hidden)),
            )
        ]
    rows, offset = [], 0
    for name, shape, kind in tensors:
        rows.append((name, shape, kind, offset))
        count = 1
        for size in shape:
            count *= size
        offset += {f32: 4 * count, f16: 2 * count, q8_0: count // 32 * 34}[kind]
    path.write_bytes(Header(metadata, rows).bytes(offset))


def test_a_gguf_file_is_taken_as_it_is(run: Run, tmp_path: Path) -> None:
    gguf_file(tmp_path / "tiny.gguf")
    path = str(tmp_path / "tiny.gguf")
    _, serving = fit(run, "--gpu", "1GiB", "--context", "1k", model=path)
    embedding = 1024 * 256 * 34 // 32
    layer = 2 * (2 * 256 * 256 + 2 * 256 * 128 + 3 * 256 * 512) + 2 * 4 * 256
    # The head is tied: the GPU has a copy of the embedding, the CPU the embedding itself.
    assert serving["per_gpu"]["weights"] == 2 * layer + embedding + 4 * 256
    assert serving["cpu"]["weights"] == embedding
    _, none = fit(run, "--gpu", "1GiB", "--context", "1k", "--n-gpu-layers", "0", model=path)
    assert none["cpu"]["weights"] == 2 * layer + embedding + 4 * 256  # one embedding, not two
    done = run("fit", path, "--engine", "llama.cpp", "--gpu", "1GiB", "--dtype", "bf16")
    assert (done.code, "has its types already" in " ".join(done.out.split())) == (4, True)


def test_mistrals_window_is_not_used(run: Run) -> None:
    # Its GGUF is of the architecture llama, which has no windows: 32 MiB a layer at 8,192 cells of this width.
    _, serving = fit(run, "--gpu", "24GiB", "--context", "8k", model="mistralai/Mistral-7B-v0.1")
    assert serving["per_gpu"]["kv_pool"] == 32 * 32 * MIB


def test_gemma_3s_windows_keep_themselves_and_a_step(run: Run) -> None:
    _, serving = fit(run, "--gpu", "24GiB", "--context", "8k", model="google/gemma-3-4b-it")
    # 34 layers, 29 of them with a window: 1,024 + 512 cells; 4 heads * 256 * 2 (K and V) * 2 B
    assert serving["per_gpu"]["kv_pool"] == (5 * 8192 + 29 * 1536) * 4096
