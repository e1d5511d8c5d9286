"""Data and expert parallelism under vLLM: what a rank holds, by hand."""

from __future__ import annotations

import dataclasses

import pytest

from inspector.devices.spec import parse_gpu
from inspector.engines.common.loaded_weights import rank_shares
from inspector.engines.common.served import MixtureFacts, ServedModel, Weights
from inspector.errors import UsageError
from inspector.memory import Workload
from inspector.model.layers import FullAttention
from tests.conftest import Run
from tests.engines.planning import plan_serving
from tests.memory.test_ledger import inspection

MIXTURE = ServedModel(
    layers=(FullAttention(8, 64, 64),) * 4,
    hidden_size=512,
    vocab_size=640,
    element_bytes=2,
    weights=Weights(embedding=6400, head=6400, divided=80_000, key_value=8000, experts=100_000, replicated=1000),
    mixture=MixtureFacts(10, 2, 64),
)


def experts(**degrees: object) -> int:
    shares = rank_shares(MIXTURE, **degrees)  # type: ignore[arg-type]
    assert shares is not None
    return shares[0]["experts"]


def test_experts_lie_over_the_ranks_of_all_replicas_and_the_rest_is_copied() -> None:
    assert experts(tensor_parallel=2) == 50_000
    assert experts(tensor_parallel=2, data_parallel=2) == 25_000
    # Ten experts dealt out to four ranks: the fullest has three
    assert experts(tensor_parallel=2, data_parallel=2, whole_experts=True) == 30_000
    one, two = rank_shares(MIXTURE) or (), rank_shares(MIXTURE, data_parallel=2) or ()
    assert {name: size for name, size in one[0].items() if name != "experts"} == {
        name: size for name, size in two[0].items() if name != "experts"
    }


def test_expert_parallel_experts_of_mxfp4_are_not_cut() -> None:
    packed = dataclasses.replace(MIXTURE, quantization="mxfp4", mixture=MixtureFacts(8, 2, 384), hidden_size=256)
    cut = rank_shares(packed, tensor_parallel=4, mxfp4="triton") or ()
    dealt = rank_shares(packed, tensor_parallel=4, whole_experts=True, mxfp4="triton") or ()
    assert cut[0]["experts"] == 100_000 * 128 // 384 + 1  # 96 of the inner width are padded to 128
    assert dealt[0]["experts"] == 25_000


def test_replicas_serve_side_by_side() -> None:
    model = inspection("Qwen/Qwen3-30B-A3B").model
    alone = plan_serving(model, Workload(8192), parse_gpu("H100"), "vllm")
    spec = parse_gpu("2xH100")
    pair = plan_serving(model, Workload(8192), spec, "vllm", data_parallel=2, expert_parallel=2)
    assert pair.settings["tensor_parallel_size"] == 1
    assert pair.per_gpu["weights"] < alone.per_gpu["weights"]  # type: ignore[operator]
    assert pair.max_concurrency == pytest.approx(2 * (pair.kv_tokens or 0) / 8192, rel=1e-3)
    assert {part.name: part.bytes for part in pair.explanation()}["weights"] == pair.per_gpu["weights"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data_parallel": 3}, "is not the 4 GPUs"),
        ({"tensor_parallel": 4, "expert_parallel": 2}, "neither 1 nor tensor x data parallel, 4"),
    ],
)
def test_degrees_that_do_not_go_together_are_refused(settings: dict[str, int], message: str) -> None:
    model = inspection("Qwen/Qwen3-30B-A3B").model
    with pytest.raises(UsageError, match=message):
        plan_serving(model, Workload(8192), parse_gpu("4xH100"), "vllm", **settings)


def test_expert_parallelism_without_experts_is_refused(run: Run) -> None:
    done = run("fit", "meta-llama/Meta-Llama-3-8B", "--gpu", "2xH100", "--engine", "vllm", "--ep", "2", "--offline")
    assert (done.code, "needs a model with routed experts" in done.err) == (2, True)
