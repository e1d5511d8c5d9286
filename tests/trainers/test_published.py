"""Memory that Axolotl's READMEs publish for its example configs, beside what those files give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import inspector
from inspector.errors import UsageError
from inspector.memory.training import TrainingSetup, training_total
from inspector.trainers import read_run

FOUND: dict[str, Any] = json.loads(Path(__file__).with_name("published.json").read_text("utf-8"))

INSTALLED = {"apertus/apertus-8b-qlora.yaml": {"kernels": "xielu"}}
"""What a README has installed beside Axolotl, which no key tells."""

FAR = {
    "olmo3/olmo3-7b-qlora.yaml": "the published figure is what whole logits would take, which no key asks for",
}


def needed(row: dict[str, Any], folder: Path) -> float:
    """GiB by the config, with CUDA's context."""
    (folder / "config.json").write_text(json.dumps(row["config"]), "utf-8")
    file = folder / "run.yml"
    file.write_text(
        yaml.safe_dump({**FOUND["common"], **{key: row[key] for key in ("optimizer", "lora_dropout") if key in row}}),
        "utf-8",
    )
    run = read_run([file])
    settings = {**run.settings, **INSTALLED.get(row["file"], {})}
    training = inspector.train(str(folder), offline=True, sharding=dict(run.sharding), **settings).training
    total = training_total(training).total
    assert total is not None
    return total / 2**30


@pytest.mark.parametrize("row", FOUND["rows"], ids=lambda row: row["file"])
def test_axolotls_own_figures_are_met_within_15_percent(row: dict[str, Any], tmp_path: Path) -> None:
    off = needed(row, tmp_path) / row["gib"] - 1
    assert (abs(off) < 0.15) is (row["file"] not in FAR), f"{off:+.1%}"
    assert abs(off) < 0.30


def test_the_median_is_under_5_percent(tmp_path: Path) -> None:
    errors = sorted(abs(needed(row, tmp_path) / row["gib"] - 1) for row in FOUND["rows"])
    assert errors[len(errors) // 2] < 0.05


GPT_OSS = {
    "base_model": "openai/gpt-oss-20b",
    "model_quantization_config": "Mxfp4Config",
    "model_quantization_config_kwargs": {"dequantize": True},
    "plugins": ["axolotl.integrations.cut_cross_entropy.CutCrossEntropyPlugin"],
    **{"sequence_len": 4096, "sample_packing": True, "micro_batch_size": 1, "optimizer": "adamw_torch_8bit"},
    **{"bf16": True, "attn_implementation": "kernels-community/vllm-flash-attn3"},
    **{"gradient_checkpointing": True, "activation_offloading": True},
}
FSDP2 = {"fsdp_version": 2, "fsdp_config": {"offload_params": False, "reshard_after_forward": True}}
OFFLOADED = {"fsdp_version": 2, "fsdp_config": {"offload_params": True, "reshard_after_forward": True}}


@pytest.mark.parametrize(
    ("more", "gpus", "gib", "within"),
    [
        ({"gradient_accumulation_steps": 2, **FSDP2}, 4, 46, 0.07),
        ({"gradient_accumulation_steps": 2, **FSDP2}, 8, 36, 0.21),
        ({"gradient_accumulation_steps": 8, "adapter": "lora", "lora_r": 8, "lora_target_linear": True}, 1, 44, 0.09),
    ],
)
def test_gpt_oss_unpacked_is_read_and_sized(
    more: dict[str, Any], gpus: int, gib: float, within: float, tmp_path: Path
) -> None:
    """examples/gpt-oss/README.md (067b021): reserved memory from its logs; the class has eager attention alone here."""
    file = tmp_path / "run.yml"
    file.write_text(yaml.safe_dump({**GPT_OSS, **more}), "utf-8")
    run = read_run([file], processes=gpus)
    assert run.model is not None
    training = inspector.train(run.model, offline=True, sharding=dict(run.sharding), **run.settings).training
    assert training.peak is not None
    assert (training.reserved or training.peak) / 2**30 == pytest.approx(gib, rel=within)
    assert any("without scores" in note for note in training.warnings)


def test_fsdp_s_offload_takes_the_gradients_with_it(tmp_path: Path) -> None:
    """The same on two GPUs with offload_params reserves 21 GiB, where a GPU's gradients alone would be 19.5."""
    file = tmp_path / "run.yml"
    file.write_text(yaml.safe_dump({**GPT_OSS, **OFFLOADED, "gradient_accumulation_steps": 2}), "utf-8")
    run = read_run([file], processes=2)
    assert run.model is not None
    training = inspector.train(run.model, offline=True, sharding=dict(run.sharding), **run.settings).training
    assert training.peak is not None
    assert training.peak / 2**30 < 21
    gradients = training.part("gradients")
    assert gradients is not None
    assert gradients.bytes == 0


GLM = {
    **{"model_type": "glm4_moe", "architectures": ["Glm4MoeForCausalLM"], "num_hidden_layers": 46},
    **{"hidden_size": 4096, "intermediate_size": 10944, "moe_intermediate_size": 1408, "num_attention_heads": 96},
    **{"num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151552, "n_routed_experts": 128},
    **{"n_shared_experts": 1, "num_experts_per_tok": 8, "first_k_dense_replace": 1, "attention_bias": True},
    **{"max_position_embeddings": 131072, "tie_word_embeddings": False, "dtype": "bfloat16"},
}


def test_experts_in_4_bits_are_unpacked_a_block_at_a_time(tmp_path: Path) -> None:
    """examples/glm45/README.md (067b021): 63.4 GiB with QLoRA on one GPU, where the base in bf16 would be 199."""
    (tmp_path / "config.json").write_text(json.dumps(GLM), "utf-8")
    file = tmp_path / "run.yml"
    given = {
        **{**FOUND["common"], "lora_r": 16, "lora_dropout": 0, "gradient_accumulation_steps": 2},
        **{"optimizer": "adamw_bnb_8bit", "lora_target_linear": False, "quantize_moe_experts": True},
        "lora_target_modules": ["q_proj", "v_proj", "k_proj", "o_proj"],
    }
    file.write_text(yaml.safe_dump(given), "utf-8")
    run = read_run([file])
    assert run.settings["quantize_experts"] is True
    settings = dict(run.settings)
    training = inspector.train(str(tmp_path), offline=True, sharding=dict(run.sharding), **settings).training
    assert training.peak is not None
    assert training.peak / 2**30 == pytest.approx(63.4, rel=0.05)
    assert not any("does not quantize" in note for note in training.warnings)
    experts, values = 45 * 128 * 3 * 4096 * 1408, 4 + 8 / 64 + 32 / (64 * 256)
    plain = inspector.train(str(tmp_path), offline=True, **{**settings, "quantize_experts": False}).training
    weights, whole = training.part("weights"), plain.part("weights")
    assert weights is not None
    assert whole is not None
    assert (whole.bytes or 0) - (weights.bytes or 0) == pytest.approx(experts * (2 - values / 8), abs=8)


def test_experts_in_4_bits_are_of_qlora_with_checkpointing() -> None:
    for settings in ({"method": "lora"}, {"method": "qlora", "base": "int8"}, {"method": "qlora"}):
        with pytest.raises(UsageError, match="experts"):
            TrainingSetup(quantize_experts=True, **settings)
