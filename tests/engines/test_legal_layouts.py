"""Which degrees vLLM and SGLang take, by real configs and what public issues show them to run into."""

from __future__ import annotations

import dataclasses

import pytest

from inspector.advice.search import best_options
from inspector.devices.spec import parse_gpu
from inspector.engines.common.legal_layouts import LayoutRules, check_layout, legal_degrees
from inspector.engines.common.served import MixtureFacts, ServedModel, served_model
from inspector.engines.sglang.budget import LAYOUT_RULES
from inspector.engines.vllm.budget import layout_rules
from inspector.engines.vllm.version import NEWEST
from inspector.errors import UsageError
from inspector.memory import Workload
from inspector.model.layers import FullAttention, LatentAttention
from inspector.model.model import Quantization
from inspector.model.packing.recipe import read_recipe
from tests.engines.planning import plan_serving
from tests.memory.test_ledger import inspection

FP8_BLOCKS = Quantization("fp8", 8, None, block=(128, 128))
AWQ = Quantization("awq", 4, 128)
GPTQ = Quantization("gptq", 4, 128)


def dense(heads: int, cached: int, hidden: int, inner: int, vocab: int, packing: Quantization | None) -> ServedModel:
    rows = FullAttention(cached, 128, 128)
    return ServedModel(
        (rows,) * 2, hidden, vocab, 2, None, num_attention_heads=heads, intermediate_size=inner, packing=packing
    )


# config.json of each repo: num_attention_heads, num_key_value_heads, hidden_size, intermediate_size, vocab_size.
LLAMA_2_7B = (32, 32, 4096, 11_008, 32_000)
QWEN_2_5_72B = (64, 8, 8192, 29_568, 152_064)
QWEN3_235B = dataclasses.replace(
    dense(64, 4, 4096, 0, 151_936, FP8_BLOCKS), intermediate_size=None, mixture=MixtureFacts(128, 8, 1536)
)
QWEN3_30B = dataclasses.replace(
    dense(32, 4, 2048, 0, 151_936, FP8_BLOCKS), intermediate_size=None, mixture=MixtureFacts(128, 8, 768)
)


def rules(engine: str, release: tuple[int, int] | None = None) -> LayoutRules:
    return layout_rules(release or NEWEST) if engine == "vllm" else LAYOUT_RULES


def refusal(
    model: ServedModel, tensor: int, engine: str = "vllm", release: tuple[int, int] | None = None, **more: object
) -> str:
    with pytest.raises(UsageError) as caught:
        check_layout(model, rules(engine, release), tensor_parallel=tensor, **more)  # type: ignore[arg-type]
    return f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_qwen3_235b_fp8_does_not_run_on_eight_ranks_but_with_whole_experts(engine: str) -> None:
    # https://github.com/vllm-project/vllm/issues/17569 and https://github.com/QwenLM/Qwen3/issues/1485 (SGLang)
    said = refusal(QWEN3_235B, 8, engine)
    assert (
        "The output_size of gate's and up's weight = 192 is not divisible by weight quantization block_n = 128." in said
    )
    assert "--ep 8" in said
    check_layout(QWEN3_235B, rules(engine), tensor_parallel=8, whole_experts=True)
    assert legal_degrees(QWEN3_235B, rules(engine)) == (1, 2, 4)


def test_qwen3_30b_fp8_does_not_run_on_four_ranks() -> None:
    # https://github.com/vllm-project/vllm/issues/25292
    assert "weight = 192" in refusal(QWEN3_30B, 4)
    assert legal_degrees(QWEN3_30B, rules("vllm")) == (1, 2)


def test_deepseek_v3_fp8_runs_on_eight_and_sixteen_ranks_and_not_on_thirty_two() -> None:
    # https://github.com/vllm-project/vllm/issues/12256, https://github.com/sgl-project/sglang/issues/3345
    model = served_model(inspection("deepseek-ai/DeepSeek-V3").model)
    assert model is not None
    assert model.packing is not None
    assert model.packing.block == (128, 128)
    for engine in ("vllm", "sglang"):
        check_layout(model, rules(engine), tensor_parallel=8)
        check_layout(model, rules(engine), tensor_parallel=16)
        assert "block_" in refusal(model, 32, engine)
        # Whole experts do not help: the shared expert's 2,048 are still cut to 64.
        assert "--ep" not in refusal(model, 32, engine)


OTHER_NAMES = ("gptq_marlin", "auto_gptq", "awq_marlin", "auto_awq", "modelopt_fp4")
"""vLLM's and SGLang's own names of methods, which recipes have at times."""


@pytest.mark.parametrize("packing", [AWQ, GPTQ, *(Quantization(name, 4, 128) for name in OTHER_NAMES)])
def test_llama_2_7b_in_groups_of_128_runs_on_two_ranks_and_not_on_four(packing: Quantization) -> None:
    # 11,008 / 4 = 2,752 = 21.5 x 128: https://github.com/vllm-project/vllm/issues/1258 (AWQ; the same width),
    # https://github.com/vllm-project/vllm/issues/2419 (GPTQ, the same width: two ranks work, four do not)
    model = dense(*LLAMA_2_7B, packing)
    check_layout(model, rules("vllm"), tensor_parallel=2)
    assert "input_size_per_partition = 2752 is not divisible by group_size = 128" in refusal(model, 4)
    assert legal_degrees(dense(*LLAMA_2_7B, Quantization(packing.method, 4, 32)), rules("vllm")) == (1, 2, 4, 8)


def test_qwen_2_5_72b_awq_runs_on_no_more_than_one_rank_unless_it_was_padded() -> None:
    # 29,568 = 231 x 128: https://github.com/vllm-project/vllm/issues/5675, https://github.com/QwenLM/Qwen3-VL/issues/831
    plain = dense(*QWEN_2_5_72B, AWQ)
    assert "14784 is not divisible by group_size = 128" in refusal(plain, 2)
    assert legal_degrees(plain, rules("vllm")) == (1,)
    # Qwen's own AWQ repos widen it to 29,696 for this very reason.
    padded = dense(64, 8, 8192, 29_696, 152_064, AWQ)
    assert legal_degrees(padded, rules("vllm")) == (1, 2, 4, 8)


def test_marlins_tiles_stop_old_versions_alone() -> None:
    # https://github.com/vllm-project/llm-compressor/issues/57: w8a16 by channel, so no group is in the way.
    model = dense(*QWEN_2_5_72B, Quantization("compressed-tensors", 8, None))
    assert "7392 is not divisible by min_thread_k = 128" in refusal(model, 4, release=(0, 19))
    check_layout(model, rules("vllm", (0, 33)), tensor_parallel=4)


def test_attention_heads_must_divide() -> None:
    # vllm/config/model.py: verify_with_parallel_config; Qwen2.5-0.5B has 14
    model = dense(14, 2, 896, 4864, 151_936, None)
    assert "Total number of attention heads (14) must be divisible by tensor parallel size (4)" in refusal(model, 4)
    assert legal_degrees(model, rules("vllm")) == (1, 2)


def test_key_value_heads_repeat_where_there_are_fewer_than_ranks() -> None:
    model = dense(64, 8, 8192, 28_672, 128_256, None)
    assert legal_degrees(model, rules("vllm")) == (1, 2, 4, 8, 16, 32, 64)
    assert "key/value heads" in refusal(dense(48, 6, 6144, 24_576, 128_256, None), 4)


def test_the_vocabularys_rows_are_padded_further_by_sglang() -> None:
    odd = dense(10, 10, 1280, 5120, 32_000 + 1, None)  # 32,064 rows: not divisible by 5
    assert "32064 rows" in refusal(odd, 5)
    check_layout(odd, rules("sglang"), tensor_parallel=5)


def test_experts_may_be_dealt_out_unevenly_by_vllm_and_not_by_sglang() -> None:
    model = dataclasses.replace(QWEN3_235B, packing=None, mixture=MixtureFacts(60, 4, 1408))
    check_layout(model, rules("vllm"), tensor_parallel=8, whole_experts=True)
    assert "60 experts are not divisible by 8 ranks" in refusal(model, 8, "sglang", whole_experts=True)
    few = dataclasses.replace(model, mixture=MixtureFacts(4, 2, 1408))
    assert "cannot be dealt out" in refusal(few, 8, whole_experts=True)


def test_packed_bitsandbytes_is_not_split_by_vllm_while_it_had_its_own_loader() -> None:
    model = dense(*LLAMA_2_7B, Quantization("bitsandbytes", 4, None))
    assert "Prequant BitsAndBytes" in refusal(model, 2, release=(0, 19))
    check_layout(model, rules("vllm", (0, 19)), tensor_parallel=1)


def test_what_a_recipe_leaves_plain_is_not_held_to_its_blocks() -> None:
    model = dataclasses.replace(dense(64, 8, 8192, 29_568, 152_064, None), packing=FP8_BLOCKS)
    assert "block_k" in refusal(model, 8)  # 3,696
    plain = Quantization("fp8", 8, None, plain=("lm_head", "model.layers.{}.mlp"), block=(128, 128))
    check_layout(dataclasses.replace(model, packing=plain), rules("vllm"), tensor_parallel=8)


def test_latent_projections_are_held_to_the_blocks() -> None:
    rows = LatentAttention(512, 64, None, 128, 128, 1536)
    model = ServedModel((rows,) * 2, 7168, 129_280, 2, None, num_attention_heads=128, packing=FP8_BLOCKS)
    check_layout(model, rules("vllm"), tensor_parallel=16)
    # 128 heads of 192 over 64 ranks are 384 and of 256 are 512: whole blocks; one head a rank is not.
    check_layout(model, rules("vllm"), tensor_parallel=64)
    assert "output_partition_size = 192" in refusal(model, 128)


@pytest.mark.parametrize(
    ("recipe", "block"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, (128, 128)),
        ({"quant_method": "fp8"}, None),
        ({"quant_method": "fp8", "weight_block_size": "128"}, None),
        ({"quant_method": "fp8", "weight_block_size": [128, -1]}, None),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"num_bits": 8, "block_structure": [128, 128]}}},
            },
            (128, 128),
        ),
    ],
)
def test_blocks_are_read_from_recipes(recipe: dict[str, object], block: tuple[int, int] | None) -> None:
    assert read_recipe(recipe).block == block


def test_the_number_of_gpus_that_is_suggested_is_one_that_the_engine_takes() -> None:
    # Qwen3-30B-A3B has 32 heads and experts 768 wide: of 2 to 16 GPUs vLLM takes 2, 4, 8 and 16.
    model = inspection("Qwen/Qwen3-30B-A3B").model
    options = best_options(model, parse_gpu("24GiB"), workload=Workload(4096), engines=["vllm"])
    assert [option.count for option in options if option.dtype == "stored"] == [4]
    # Whole experts, shared by no one: its 14 heads divide by 2 and 7, its 2 key/value heads by 2 alone.
    small = inspection("Qwen/Qwen2.5-0.5B").model
    with pytest.raises(UsageError, match="attention heads"):
        plan_serving(small, Workload(4096), parse_gpu("4xH100"), "vllm")


def test_whole_experts_under_sglang_are_dealt_out() -> None:
    model = inspection("Qwen/Qwen3-30B-A3B").model
    dealt = plan_serving(model, Workload(4096), parse_gpu("4xH100"), "sglang", expert_parallel=4)
    cut = plan_serving(model, Workload(4096), parse_gpu("4xH100"), "sglang")
    assert dealt.per_gpu["weights"] == cut.per_gpu["weights"]  # 128 experts divide by 4 either way
    assert dealt.settings["expert_parallel_size"] == 4
