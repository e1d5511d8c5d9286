"""`--dtype Q4_K_M` and the like, against the types and bytes that llama.cpp's own converter and quantizer chose."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from inspector.api.settings import Settings
from inspector.engines.llama_cpp.buffers import gguf_facts
from inspector.errors import UsageError
from inspector.hub.cache.snapshot import decode, loads
from inspector.hub.checkpoint import Checkpoint, Tensor
from inspector.hub.dtypes import FILE_TYPES
from inspector.hub.formats.gguf.config import gguf_table
from inspector.memory import FILE_TYPE_NAMES, Workload, estimate
from inspector.memory.quantization.ggml_recipes import quantized_weights
from inspector.model import build_model
from inspector.model.model import Model
from tests.conftest import SNAPSHOTS, Run

DATA = Path(__file__).parent / "data"
MADE: dict[str, dict[str, Any]] = json.loads((DATA / "ggml_recipes.json").read_bytes())["models"]
TINY = {row["repo_id"]: row for row in json.loads((DATA / "ggml_tiny_models.json").read_bytes())["snapshots"]}

GB = 10**9


def model_of(repo_id: str) -> Model:
    if repo_id in TINY:
        return build_model(decode(TINY[repo_id]))
    return build_model(loads((SNAPSHOTS / f"{repo_id.replace('/', '--')}.json").read_bytes()))


def llama(hidden: int, inner: int | None = None, **config: Any) -> Model:
    """Two layers of a Llama with rows of `hidden`, whose MLP is as wide unless `inner` says otherwise."""
    inner = inner or hidden
    shapes = {
        "model.embed_tokens": (512, hidden),
        "lm_head": (512, hidden),
        **{
            f"model.layers.{layer}.{name}": (hidden, hidden)
            for layer in (0, 1)
            for name in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
        },
        **{
            f"model.layers.{layer}.mlp.{name}": shape
            for layer in (0, 1)
            for name, shape in (
                ("gate_proj", (inner, hidden)),
                ("up_proj", (inner, hidden)),
                ("down_proj", (hidden, inner)),
            )
        },
    }
    tensors = tuple(Tensor(f"{name}.weight", "BF16", shape) for name, shape in shapes.items())
    sizes = {"hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": 2, "num_attention_heads": 4}
    named = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 512}
    return build_model(Checkpoint("x/y", None, "local", {**named, **sizes, **config}, tensors))


@pytest.mark.parametrize("repo_id", MADE)
def test_every_file_type_is_made_as_llama_cpp_makes_it(repo_id: str) -> None:
    model = model_of(repo_id)
    for file_type, made in MADE[repo_id].items():
        ours = quantized_weights(model, file_type)
        if "error" in made:  # rows of 4,544 elements, which Q1_0 has no other type for
            assert isinstance(ours, str), file_type
            assert "refuses rows of" in ours
            continue
        assert not isinstance(ours, str), file_type
        whole = {kind: number for kind, number in ours.types.items() if kind != "F32"}
        assert whole == {kind: number for kind, number in made["types"].items() if kind != "F32"}, file_type
        assert [[len(list(same)), size] for size, same in groupby(ours.layers)] == made["layers"], file_type
        # The file's tables of rotary factors are left out: 256 B of Llama 3's, 192 B of Phi 3's
        assert 0 <= made["bytes"] - ours.total <= 512, file_type
        assert sum(ours.components.values()) == ours.total


def test_each_checked_type_has_a_measured_model() -> None:
    assert {model_of(repo_id).architecture.model_type for repo_id in MADE} == set(gguf_table()["compared"])


def test_every_file_type_of_the_quantizer_is_known() -> None:
    # Precisions; made no more; and made by newer builds than the one that was measured
    dropped = {"F32", "F16", "BF16", "Q4_0_4_4", "Q4_0_4_8", "Q4_0_8_8", "NVFP4", "Q2_0"}
    assert sorted(FILE_TYPE_NAMES) == sorted(set(FILE_TYPES.values()) - dropped)
    assert set(MADE["meta-llama/Meta-Llama-3-8B"]) == set(FILE_TYPE_NAMES)


PUBLISHED = (
    # In GB, as the GPUs of bartowski's repos list the instruct models' files
    ("meta-llama/Meta-Llama-3-8B", "Q4_K_M", 4.92),
    ("meta-llama/Meta-Llama-3-8B", "Q8_0", 8.54),
    ("meta-llama/Meta-Llama-3-70B", "Q4_K_M", 42.52),
    ("Qwen/Qwen2.5-7B", "Q4_K_M", 4.68),
)


@pytest.mark.parametrize(("repo_id", "file_type", "gigabytes"), PUBLISHED)
def test_published_files_are_larger_by_their_vocabulary_alone(repo_id: str, file_type: str, gigabytes: float) -> None:
    ours = quantized_weights(model_of(repo_id), file_type)
    assert not isinstance(ours, str)
    assert -0.005 <= gigabytes - ours.total / GB <= 0.015  # the names of 128,256 or 152,064 tokens: 6 to 8 MB


def test_q4_k_m_by_hand() -> None:
    # Rows of 256: all take K-quants. No eighth of 2 layers; (i - 0) % 3 == 2 never; 7 * 2 // 8 = 1: layer 1 has more.
    ours = quantized_weights(llama(256), "Q4_K_M")
    assert not isinstance(ours, str)
    q4, q6 = 144, 210  # bytes of a block of 256
    assert ours.layers == (256 * 7 * q4, 256 * (5 * q4 + 2 * q6))
    assert ours.outside == {"embedding": 512 * q4, "head": 512 * q6}
    # Rows of 288: no block of 256, nine of 32. Q4_K becomes Q5_0 (22 B), Q6_K Q8_0 (34 B).
    ours = quantized_weights(llama(288), "Q4_K_M")
    assert not isinstance(ours, str)
    assert ours.layers == (288 * 9 * 7 * 22, 288 * 9 * (5 * 22 + 2 * 34))
    assert ours.outside == {"embedding": 512 * 9 * 22, "head": 512 * 9 * 34}
    # The down projection's rows of 48 are no whole blocks of any type: 16 bits
    ours = quantized_weights(llama(256, 48), "Q4_K_M")
    assert not isinstance(ours, str)
    assert ours.layers[0] == (4 * 256 + 2 * 48) * q4 + 2 * 256 * 48
    # ... but Q8_0, which the output gets where its rows are no blocks, has nothing to fall back on
    assert "refuses rows of 48 elements (output)" in str(quantized_weights(llama(48), "Q4_K_M"))


def test_the_gpus_of_a_70b_in_q4_k_m(run: Run) -> None:
    done = run(
        "fit",
        "meta-llama/Meta-Llama-3-70B",
        *("--gpu", "RTX 4090 + RTX 3090", "--engine", "llama.cpp", "--dtype", "q4_k_m", "--json"),
    )
    serving = done.record["serving"]
    assert done.code == 0
    assert serving["settings"]["n_gpu_layers"] == "81/81"
    assert serving["fits"] is True
    # The embedding stays with the CPU, as Q4_K; the first GPU has the first 41 of these layers
    assert serving["cpu"]["weights"] == 128256 * 8192 // 256 * 144
    runs = MADE["meta-llama/Meta-Llama-3-70B"]["Q4_K_M"]["layers"]
    layers = [size for count, size in runs for _ in range(count)]
    assert serving["per_gpu"]["weights"] == sum(layers[:41])


def test_layers_lie_where_their_own_bytes_are() -> None:
    model = model_of("meta-llama/Meta-Llama-3-8B")
    facts = gguf_facts(model, "Q4_K_M")
    assert not isinstance(facts, str)
    assert [[len(list(same)), size] for size, same in groupby(facts.layer_bytes)] == (
        MADE["meta-llama/Meta-Llama-3-8B"]["Q4_K_M"]["layers"]
    )
    # Output and its norm: Q6_K rows of 4,096, and 4 B each
    assert facts.output == 128256 * 16 * 210 + 4 * 4096


def test_show_names_the_types_and_the_parts() -> None:
    model = model_of("mistralai/Mixtral-8x7B-v0.1")
    part = estimate(model, Workload(4096, dtype="Q4_K_M")).weights
    assert part.bytes == MADE["mistralai/Mixtral-8x7B-v0.1"]["Q4_K_M"]["bytes"]
    assert sum(each.bytes or 0 for each in part.parts) == part.bytes
    assert "64 Q8_0" in part.formula  # keys and values, since there are 8 experts


def test_what_cannot_be_told_is_null_and_said(run: Run) -> None:
    done = run("openai/gpt-oss-20b", "--dtype", "Q4_K_M", "--json")
    assert done.record["memory"]["inference"]["weights"] is None
    assert done.record["memory"]["inference"]["total"] is None
    assert any("packed already (mxfp4)" in warning for warning in done.record["warnings"])
    done = run("fit", "openai/gpt-oss-20b", "--gpu", "24GiB", "--engine", "llama.cpp", "--dtype", "Q4_K_M")
    assert "packed already (mxfp4)" in done.out + done.err
    done = run("google-bert/bert-base-uncased", "--dtype", "Q8_0", "--json")
    assert done.record["memory"]["inference"]["weights"] is None


@pytest.mark.parametrize(("name", "gib"), [("openai/gpt-oss-20b", 11.27), ("openai/gpt-oss-120b", 59.02)])
def test_experts_that_are_mxfp4_already_keep_their_blocks(name: str, gib: float) -> None:
    # The sizes that llama-bench prints of ggml-org's files (llama.cpp: benches/dgx-spark.md)
    made = quantized_weights(model_of(name), "MXFP4_MOE")
    assert not isinstance(made, str)
    assert round(made.total / 2**30, 2) == gib


def test_a_type_that_was_not_compared_is_called_approximate() -> None:
    # A class that transformers has, with Llama's names; llama.cpp's converter has none for it
    model = model_of("meta-llama/Llama-3.2-1B")
    assert quantized_weights(model, "Q4_K_M").notes == ()  # type: ignore[union-attr]
    other = llama(256, model_type="ministral", architectures=["MinistralForCausalLM"])
    made = quantized_weights(other, "Q4_K_M")
    assert not isinstance(made, str)
    assert "approximate" in made.notes[0]


def test_names_are_those_of_llama_quantize_in_any_case() -> None:
    assert Settings(dtype="q4_k_m").dtype == Settings(dtype="Q4_K").dtype == "Q4_K_M"
    assert Settings(dtype="mxfp4_moe").dtype == "MXFP4_MOE"
    assert Settings(dtype="F16").dtype == "fp16"
    with pytest.raises(UsageError, match="unknown precision 'Q4_K_X'"):
        Settings(dtype="Q4_K_X")
    with pytest.raises(UsageError, match="unknown precision 'q8_0'"):
        Settings(kv_dtype="q8_0")
    with pytest.raises(UsageError, match="none that vllm makes"):
        Settings(dtype="Q4_K_M", engine="vllm", gpus=("24GiB",))
    with pytest.raises(UsageError, match="the article has no recipe 'Q4_K_M'"):
        Settings(dtype="Q4_K_M", formulas="article")


def test_fewer_bits_never_take_more() -> None:
    order = ("Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L", "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K", "Q8_0")
    for repo_id in ("meta-llama/Llama-2-7b-hf", "meta-llama/Meta-Llama-3-70B", "Qwen/Qwen3-30B-A3B"):
        sizes = [quantized_weights(model_of(repo_id), name).total for name in order]  # type: ignore[union-attr]
        assert sizes == sorted(sizes)
