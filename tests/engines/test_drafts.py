"""`fit --draft`: a draft model's weights and cache beside the model's, under vLLM and llama.cpp."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

import inspector
from inspector.api.drafts import inspect_beside
from inspector.engines.common.cache_specs import CacheSettings, state_page_bytes
from inspector.engines.common.heads import own_layers
from inspector.engines.serving import Serving
from inspector.errors import UsageError
from inspector.hub import Resolver
from inspector.model import build_model
from inspector.model.layers import StateTensor
from tests.case_files import lay_out
from tests.conftest import Run

PLANNED: dict[str, int] = json.loads(Path(__file__).with_name("data").joinpath("vllm_drafts.json").read_text("utf-8"))
"""Bytes of a request of 4,096 tokens by vLLM's own planner: tests/oracles/vllm/drafts.py."""

CASES = Path(__file__).parents[1] / "cases"

QWEN, DRAFT = "Qwen/Qwen3-32B", "Qwen/Qwen3-0.6B"


def served(model: str, draft: str, gpu: str, engine: str, **settings: object) -> Serving:
    return inspect_beside(model, draft=draft, gpus=gpu, engine=engine, offline=True, **settings).inspection.servings[0]  # type: ignore[arg-type]


@pytest.mark.parametrize("pair", PLANNED)
def test_the_layers_of_both_lie_in_vllms_pool(pair: str) -> None:
    assert served(*pair.split(), "H200", "vllm", context=4096).request_bytes == PLANNED[pair]


@pytest.mark.parametrize("gpu", ["H200", "2xH200"])
def test_vllm_holds_the_drafts_weights_beside_the_models(gpu: str) -> None:
    def weights(found: Serving) -> int:
        return found.per_gpu["weights"] or 0

    alone = [
        weights(inspector.inspect(name, gpus=gpu, engine="vllm", offline=True).servings[0]) for name in (QWEN, DRAFT)
    ]
    found = served(QWEN, DRAFT, gpu, "vllm")
    assert weights(found) == sum(alone)
    share = {part.name: part.bytes for each in found.explanation() for part in each.parts}
    assert share["draft"] == alone[1]


def test_llama_cpp_has_a_context_for_the_draft() -> None:
    plain = inspector.inspect(QWEN, gpus="RTX 4090", engine="llama.cpp", dtype="Q4_K_M", offline=True).servings[0]
    draft = inspector.inspect(DRAFT, gpus="RTX 4090", engine="llama.cpp", dtype="Q4_K_M", offline=True).servings[0]
    found = served(QWEN, DRAFT, "RTX 4090", "llama.cpp", dtype="Q4_K_M")
    assert found.per_gpu["draft"] == (draft.per_gpu["total"] or 0) - (draft.per_gpu["non_torch"] or 0)
    assert found.per_gpu["total"] == (plain.per_gpu["total"] or 0) + (found.per_gpu["draft"] or 0)
    assert (found.longest_context or 0) < (plain.longest_context or 0)
    assert sum(part.bytes or 0 for part in found.explanation() if part.name == "draft") == found.per_gpu["draft"]


def head(case: str, folder: Path) -> str:
    """A folder with the files of an EAGLE head (tests/cases)."""
    folder.mkdir(exist_ok=True)
    lay_out(json.loads((CASES / f"{case}.json").read_text("utf-8"))["files"], folder)
    return str(folder)


@pytest.mark.parametrize(
    ("case", "method", "own"),
    [
        # fc, a layer of Llama without its first norm; embedding and head are the model's
        ("B_eagle_llama3_8b", "eagle", 4096 * 8192 + 4096 * (2 * 4096 + 2 * 1024) + 3 * 4096 * 14336 + 4096),
        # fc of three hidden states, a layer that reads two, four norms, a head of 32,000 tokens and which those are
        (
            "speculators_eagle3",
            "eagle3",
            4096 * 12288 + 4096 * (3 * 4096 + 4 * 1024) + 3 * 4096 * 14336 + 4 * 4096 + 32000 * 4096 + 32000 * 8 // 2,
        ),
    ],
)
def test_an_eagle_head_adds_its_own_weights_and_the_cache_of_its_layer(
    case: str, method: str, own: int, tmp_path: Path, run: Run
) -> None:
    model, drafts = "meta-llama/Llama-3.1-8B-Instruct", head(case, tmp_path)
    alone = inspector.inspect(model, gpus="H100", engine="vllm", offline=True).servings[0]
    found = served(model, drafts, "H100", "vllm")
    added = (found.per_gpu["weights"] or 0) - (alone.per_gpu["weights"] or 0)
    assert 2 * own <= added <= 2 * own + 2**22  # beside, what torch's allocator rounds up
    assert (found.request_bytes or 0) * 32 == (alone.request_bytes or 0) * 33
    assert any("a copy of the model's" in note for note in found.notes)
    emitted = run("fit", "--offline", model, "--gpu", "H100", "--draft", drafts, "--emit", "vllm").out
    told = json.loads(shlex.split(emitted)[-1])
    assert told == {"method": method, "model": drafts, "num_speculative_tokens": 3}
    refused = served(model, drafts, "RTX 4090", "llama.cpp")
    assert refused.fits is None
    assert "under vLLM alone" in refused.notes[0]


def test_deepseeks_own_layer_drafts_without_its_copies_of_embedding_and_head(run: Run) -> None:
    model = "deepseek-ai/DeepSeek-V3"
    checkpoint = Resolver(offline=True).resolve(model)
    tensors = [tensor for tensor in checkpoint.tensors if tensor.name.startswith("model.layers.61.")]
    copies = ("embed_tokens.weight", "shared_head.head.weight")
    own = sum(tensor.nbytes for tensor in tensors if not tensor.name.endswith(copies))
    drafts = own_layers(checkpoint, build_model(checkpoint))
    assert drafts.weights(2).total == own == 11_717_511_392
    alone = inspector.inspect(model, gpus="8xH200", engine="vllm", offline=True).servings[0]
    found = served(model, "mtp", "8xH200", "vllm")
    assert (found.request_bytes or 0) * 61 == (alone.request_bytes or 0) * 62
    share = {part.name: part.bytes or 0 for each in found.explanation() for part in each.parts}["draft"]
    assert (found.per_gpu["weights"] or 0) - (alone.per_gpu["weights"] or 0) == share
    assert own / 8 < share < own / 8 + 2**28  # norms, router and down-projections are whole on every rank
    emitted = run("fit", "--offline", model, "--gpu", "8xH200", "--draft", "mtp", "--emit", "vllm").out
    assert json.loads(shlex.split(emitted)[-1]) == {"method": "mtp", "num_speculative_tokens": 3}


def test_a_request_of_a_hybrid_keeps_a_state_more_for_each_drafted_token() -> None:
    """vllm/v1/kv_cache_interface.py, MambaSpec: 2 states, 1 where a prefill leaves off, and one a drafted token.

    On a rank of four a block is 320 tokens of 1,024 bytes: the first multiple of 64 that holds a state of 8 x 128 x 128
    and 3 x 2,048 values of 16 bits. 4,096 tokens are 13 blocks; 36 layers of states lie in 3 groups.
    """
    model, page = "Qwen/Qwen3-Next-80B-A3B-Instruct", 320 * 1024
    alone = inspector.inspect(model, gpus="4xH100", engine="vllm", offline=True).servings[0]
    assert alone.request_bytes == (13 + 3 * 3) * 12 * page
    assert served(model, "mtp", "4xH100", "vllm").request_bytes == (13 + 3 * (3 + 3)) * 13 * page


def test_a_convolution_keeps_an_input_more_for_each_drafted_token() -> None:
    """vllm/model_executor/layers/mamba/mamba_utils.py: conv_kernel - 1 + num_spec; Mamba's first version aside."""
    model = inspector.inspect("Qwen/Qwen3-Next-80B-A3B-Instruct", offline=True).model
    states = next(layer.states for layer in model.architecture.layers if layer.states)
    settings = CacheSettings(max_model_len=4096, tensor_parallel=4, recurrent_bytes=2)
    sizes = [state_page_bytes(states, replace(settings, drafted=drafted)) for drafted in (0, 3)]
    assert sizes == [(8 * 128 * 128 + 2048 * inputs) * 2 for inputs in (3, 6)]
    first = (StateTensor((1024, 4), "compute"), StateTensor((1024, 16), "F32"))
    assert state_page_bytes(first, settings) == state_page_bytes(first, replace(settings, drafted=3))


def test_under_sglang_a_token_is_as_many_layers_wider() -> None:
    """sglang/srt/model_executor/pool_configurator.py: the model's own cell, times its layers and the draft's."""
    cell = 64 * 2 * 8 * 128 * 2
    alone, small = (
        inspector.inspect(name, gpus="H100", engine="sglang", offline=True).servings[0] for name in (QWEN, DRAFT)
    )
    found = served(QWEN, DRAFT, "H100", "sglang")
    weights, pool = found.per_gpu["weights"] or 0, found.per_gpu["kv_pool"] or 0
    assert weights == (alone.per_gpu["weights"] or 0) + (small.per_gpu["weights"] or 0)
    assert pool == (alone.per_gpu["kv_pool"] or 0) - (small.per_gpu["weights"] or 0)
    assert found.kv_tokens == pool // (cell + cell * 28 // 64)
    assert found.request_bytes == 4096 * (cell + cell * 28 // 64)
    assert found.settings["mem_fraction_static"] == alone.settings["mem_fraction_static"]
    drafted = served("Qwen/Qwen3-8B", DRAFT, "H200", "sglang", context=1024)
    assert drafted.max_concurrency == 48  # max_running_requests with speculative decoding


def test_sglang_holds_an_eagle_head_and_deepseeks_own_layer(tmp_path: Path, run: Run) -> None:
    case = json.loads((CASES / "speculators_eagle3.json").read_text("utf-8"))["files"]
    told = case["config.json"]["json"]
    text = told["transformer_layer_config"] | {"architectures": ["LlamaForCausalLMEagle3"], "draft_vocab_size": 32000}
    lay_out({**case, "config.json": {"json": text}}, tmp_path)
    model = "meta-llama/Llama-3.1-8B-Instruct"
    alone = inspector.inspect(model, gpus="H100", engine="sglang", offline=True).servings[0]
    found = served(model, str(tmp_path), "H100", "sglang")
    own = 4096 * 12288 + 4096 * (3 * 4096 + 4 * 1024) + 3 * 4096 * 14336 + 4 * 4096 + 32000 * 4096 + 32000 * 8 // 2
    own += 128256 * 4096  # its class makes an embedding, which becomes the model's once the pool is there
    assert 2 * own <= (found.per_gpu["weights"] or 0) - (alone.per_gpu["weights"] or 0) <= 2 * own + 2**22
    assert (found.request_bytes or 0) * 32 == (alone.request_bytes or 0) * 33
    emitted = run("fit", "--offline", model, "--gpu", "H100", "--draft", str(tmp_path), "--emit", "sglang")
    words = shlex.split(emitted.out)
    assert words[words.index("--speculative-algorithm") + 1] == "EAGLE3"
    assert words[words.index("--speculative-draft-model-path") + 1] == str(tmp_path)
    assert emitted.err.count("Load weight end") == 2
    mtp = run("fit", "--offline", "deepseek-ai/DeepSeek-V3", "--gpu", "8xH200", "--draft", "mtp", "--emit", "sglang")
    chain = "--speculative-num-steps 3 --speculative-eagle-topk 1 --speculative-num-draft-tokens 4"
    assert mtp.out.endswith(f" --speculative-algorithm NEXTN {chain}\n")
    refused = served(model, head("B_eagle_llama3_8b", tmp_path / "e"), "8xH100", "sglang")
    assert refused.fits is None
    assert "cannot tell" in refused.notes[0]


def test_sglang_keeps_states_of_drafted_tokens() -> None:
    """mem_cache/kv_cache_configurator.py: _handle_max_mamba_cache, with slots and drafted states of one budget."""
    name = "Qwen/Qwen3-Next-80B-A3B-Instruct"
    alone = inspector.inspect(name, gpus="4xH100", engine="sglang", offline=True).servings[0]
    found, older = (
        served(name, "mtp", "4xH100", "sglang", serving={"version": version}) for version in ("0.5.23", "0.5.9")
    )
    head_rows = 2 * 151936 * 2048 * 2 // 4  # embedding and head once more on each of four ranks
    added = (found.per_gpu["weights"] or 0) - (alone.per_gpu["weights"] or 0)
    assert added > head_rows
    assert (found.max_concurrency or 0) <= 48
    # Before 0.5.14 the pool was there before what drafts, and 48 requests' states of four tokens came off it first.
    plain = inspector.inspect(
        name, gpus="4xH100", engine="sglang", offline=True, serving={"version": "0.5.9", "mem_fraction_static": 0.8}
    ).servings[0]
    fixed = served(name, "mtp", "4xH100", "sglang", serving={"version": "0.5.9", "mem_fraction_static": 0.8})
    assert fixed.per_gpu["kv_pool"] == plain.per_gpu["kv_pool"]
    state = 36 * (4 * 32 * 128 * 128 // 4 + 2 * (2 * 16 * 128 + 32 * 128) * 3 // 4)  # float32 matrices, a convolution
    rows = 12 * 2 * 1 * 256 * 2
    left = (fixed.per_gpu["kv_pool"] or 0) - 48 * 4 * state
    slots = int(left * 0.9 / 1.9) // state
    assert fixed.kv_tokens == (left - slots * state) // (rows + rows // 12)
    assert older.settings["mem_fraction_static"] < found.settings["mem_fraction_static"]


def test_what_is_not_accounted_for_is_refused() -> None:
    with pytest.raises(UsageError, match="hold no layers for multi-token prediction"):
        served(QWEN, "mtp", "H200", "vllm")
    with pytest.raises(UsageError, match="--engine vllm or sglang or llama"):
        served(QWEN, DRAFT, "H200", "transformers")
    with pytest.raises(UsageError, match="vLLM refuses"):
        served("Qwen/Qwen2.5-7B", "Qwen/Qwen2.5-0.5B", "H200", "vllm")
    with pytest.raises(UsageError, match="like GPUs"):
        served(QWEN, DRAFT, "RTX 4090 + RTX 3060 12GB", "llama.cpp", dtype="Q4_K_M")


def test_the_draft_is_among_the_flags(run: Run) -> None:
    asked = ("fit", "--offline", QWEN, "--draft", DRAFT)
    vllm = run(*asked, "--gpu", "H100", "--emit", "vllm")
    assert vllm.code == 0
    told = '{"method": "draft_model", "model": "Qwen/Qwen3-0.6B", "num_speculative_tokens": 3}'
    assert vllm.out.endswith(f"--speculative-config '{told}'\n")
    llama = run(*asked, "--gpu", "RTX 4090", "--dtype", "Q4_K_M", "--emit", "llama-server")
    assert llama.out.splitlines()[-1].endswith("--model-draft ./Qwen3-0.6B-Q4_K_M.gguf")
    assert len(llama.out.splitlines()) == 5
    assert run(*asked, "--gpu", "RTX 4090", "--dtype", "Q4_K_M", "--emit", "ollama").code == 2
    assert run(*asked, "--all-gpus", "--engine", "vllm").code == 2
    assert run(*asked, "--gpu", "H100", "--together").code == 2
