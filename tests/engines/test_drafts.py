"""`fit --draft`: a draft model's weights and cache beside the model's, under vLLM and llama.cpp."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import inspector
from inspector.api.side_by_side import inspect_with_draft
from inspector.engines.serving import Serving
from inspector.errors import UsageError
from tests.conftest import Run

PLANNED: dict[str, int] = json.loads(Path(__file__).with_name("data").joinpath("vllm_drafts.json").read_text("utf-8"))
"""Bytes of a request of 4,096 tokens by vLLM's own planner: tests/oracles/vllm/drafts.py."""

QWEN, DRAFT = "Qwen/Qwen3-32B", "Qwen/Qwen3-0.6B"


def served(model: str, draft: str, gpu: str, engine: str, **settings: object) -> Serving:
    return inspect_with_draft(model, draft, gpus=gpu, engine=engine, offline=True, **settings).inspection.servings[0]  # type: ignore[arg-type]


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


def test_what_is_not_accounted_for_is_refused() -> None:
    with pytest.raises(UsageError, match="--engine vllm or llama"):
        served(QWEN, DRAFT, "H200", "sglang")
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
