"""Options of vLLM that few give: what each takes off or adds, by its own arithmetic."""

from __future__ import annotations

from typing import Any

import pytest

import inspector
from inspector.engines.serving import Serving
from inspector.engines.vllm.plan import pool_size
from inspector.errors import UsageError
from tests.conftest import Run

GIB = 1024**3
QWEN, MIXTURE, LATENT = "Qwen/Qwen3-32B", "Qwen/Qwen3-30B-A3B", "deepseek-ai/DeepSeek-V3"
SEES, HYBRID = "Qwen/Qwen2.5-VL-7B-Instruct", "Qwen/Qwen3-Next-80B-A3B-Instruct"


def served(model: str, gpu: str, context: int = 8192, images: int | None = None, **options: Any) -> Serving:
    asked = {"gpus": gpu, "engine": "vllm", "offline": True, "context": context, "images": images}
    return inspector.inspect(model, serving=options, **asked).servings[0]  # type: ignore[arg-type]


def part(serving: Serving, name: str) -> int:
    size = serving.per_gpu[name]
    assert size is not None
    return size


def test_weights_with_the_cpu_are_room_for_the_pool() -> None:
    usual, some = served(QWEN, "H100"), served(QWEN, "H100", cpu_offload_gb=20)
    assert part(usual, "weights") - part(some, "weights") == part(some, "kv_pool") - part(usual, "kv_pool") == 20 * GIB
    # No more than the layers have: embedding and head stay.
    most = served(QWEN, "H100", cpu_offload_gb=500)
    assert part(most, "weights") == pytest.approx(2 * 151936 * 5120 * 2, rel=0.02)
    shares = {each.name: each.bytes for whole in some.explanation() for each in whole.parts}
    assert shares["cpu_offload"] == -20 * GIB


def test_a_pool_of_a_given_size() -> None:
    found = served(QWEN, "H100", kv_cache_memory_bytes="4G", gpu_memory_utilization=0.5)
    assert part(found, "kv_pool") == 4 * GIB
    assert found.kv_tokens == 4 * GIB // (64 * 2 * 8 * 128 * 2) // 16 * 16
    assert found.fits
    assert served(QWEN, "H100", kv_cache_memory_bytes="40G").fits is False
    assert served(QWEN, "H100", kv_cache_memory_bytes="1G").fits is False  # less than a request of 8,192 tokens
    assert [pool_size(text) for text in ("8000000000", "1.5G", "2g")] == [8 * 10**9, 3 * GIB // 2, 2 * 10**9]
    with pytest.raises(UsageError, match="is no size"):
        pool_size("many")


def test_tokens_are_dealt_out_to_ranks_that_hold_the_same_latents() -> None:
    usual = served(LATENT, "8xH200", 32768)
    dealt = served(LATENT, "8xH200", 32768, decode_context_parallel=8)
    assert part(usual, "kv_pool") == part(dealt, "kv_pool")
    assert dealt.max_concurrency == pytest.approx(8 * (usual.max_concurrency or 0), rel=1e-3)
    assert dealt.settings["decode_context_parallel_size"] == 8
    # Four heads of keys and values over eight ranks: two ranks hold the same.
    two = served(MIXTURE, "8xH100", decode_context_parallel=2)
    assert two.max_concurrency == pytest.approx(2 * (served(MIXTURE, "8xH100").max_concurrency or 0), rel=1e-2)
    with pytest.raises(UsageError, match="hold the same heads"):
        served(MIXTURE, "8xH100", decode_context_parallel=4)


def test_spare_experts_are_whole_ones_on_every_rank() -> None:
    usual = served(MIXTURE, "8xH100", expert_parallel=8)
    spare = served(MIXTURE, "8xH100", expert_parallel=8, num_redundant_experts=16)
    # 16 over 8 ranks are two more on each, in 48 layers.
    assert part(spare, "weights") - part(usual, "weights") == 2 * 48 * 3 * 2048 * 768 * 2
    with pytest.raises(UsageError, match="need expert parallelism"):
        served(MIXTURE, "8xH100", num_redundant_experts=16)


def test_encoders_left_out_and_whole() -> None:
    usual, alone = served(SEES, "2xRTX 4090"), served(SEES, "2xRTX 4090", language_model_only=True)
    encoder = 2 * (part(usual, "weights") - part(alone, "weights"))
    assert encoder == pytest.approx(676_550_144 * 2, rel=1e-6)  # parameters of the encoder with its projector
    whole = served(SEES, "2xRTX 4090", mm_encoder_tp_mode="data")
    assert 2 * (part(whole, "weights") - part(usual, "weights")) == encoder
    assert part(served(SEES, "2xRTX 4090", images=0), "weights") == part(alone, "weights")
    older = served(SEES, "2xRTX 4090", images=0, version="0.14")
    assert part(older, "weights") == part(served(SEES, "2xRTX 4090", version="0.14"), "weights")


def test_what_a_request_of_a_hybrid_keeps() -> None:
    usual = served(HYBRID, "4xH100")
    plain = served(HYBRID, "4xH100", no_enable_prefix_caching=True)
    wide = served(HYBRID, "4xH100", mamba_ssm_cache_dtype="float32")
    assert (plain.request_bytes or 0) < (usual.request_bytes or 0) < (wide.request_bytes or 0)
    with pytest.raises(UsageError, match="contradict"):
        served(HYBRID, "4xH100", no_enable_prefix_caching=True, enable_prefix_caching=True)


def test_the_command_names_them(run: Run) -> None:
    options = ("--cpu-offload-gb", "20", "--block-size", "32", "--no-enable-prefix-caching")
    command = run("fit", QWEN, "--offline", "--gpu", "H100", "--context", "8k", *options, "--emit", "vllm").out
    for name in ("--cpu-offload-gb 20", "--block-size 32", "--no-enable-prefix-caching"):
        assert name in command
