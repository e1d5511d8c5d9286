"""Fused kernels in the blocks, Liger's and xIELU's, against steps with them (tests/oracles/training_kernels.py)."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

import inspector
from inspector.errors import UsageError
from inspector.memory.training import TrainingEstimate, TrainingSetup
from inspector.trainers import read_run
from tests.memory.training.replay import PEAKS, estimate_of, read_peaks

MODELS: list[dict[str, Any]] = read_peaks(PEAKS.with_name("kernel_peaks.json"))["models"]

LLAMA = "meta-llama/Meta-Llama-3-8B"
BLOCKS, TOKENS, HIDDEN, INNER, VOCABULARY = 32, 4096, 4096, 14336, 128256


def trained(model: str = LLAMA, **settings: Any) -> TrainingEstimate:
    return inspector.train(model, offline=True, context=TOKENS, **settings).training


def errors_of(model: dict[str, Any]) -> list[float]:
    found = []
    for case in model["cases"]:
        peak = estimate_of(model, case).peak
        assert peak is not None
        found.append(abs(peak / case["measured"]["peak"] - 1))
    return found


def test_the_median_of_all_is_under_a_tenth_of_a_percent() -> None:
    assert statistics.median(error for model in MODELS for error in errors_of(model)) < 0.001


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model["name"])
def test_measured_steps_are_met(model: dict[str, Any]) -> None:
    errors = errors_of(model)
    assert max(errors) < 0.01


def test_a_block_keeps_neither_fp32_copies_of_its_norms_nor_the_activation_of_its_gate() -> None:
    """transformers' two norms keep an fp32 copy of their input and a normed one beside (4 + 2 bytes a value), Liger's
    the input itself (2); the MLP keeps gate, up, silu(gate) and the product, Liger's all but silu(gate)."""
    plain, fused = trained(), trained(kernels="liger")
    less = BLOCKS * TOKENS * (2 * (4 + 2 - 2) * HIDDEN + 2 * INNER)
    last = TOKENS * (4 + 2) * HIDDEN  # of the norm before the head: both are made in the head's stretch
    assert plain.phases["loss"] - fused.phases["loss"] == pytest.approx(less, abs=last)


def test_the_fused_loss_holds_one_gradient_of_the_head_and_one_chunk() -> None:
    """Liger 0.8.5 adds to a gradient in bf16 in place; a chunk has 4,096 / ceil(128,256 / 4,096) = 128 tokens."""
    whole, fused = trained(kernels="liger"), trained(kernels="liger", logits="chunked")
    made = 12 * TOKENS * VOCABULARY - 2 * VOCABULARY * HIDDEN - 2 * 128 * VOCABULARY - 2 * TOKENS * HIDDEN
    assert whole.phases["loss"] - fused.phases["loss"] == pytest.approx(made, rel=1e-3)


def test_adapters_under_autocast_need_no_copy_of_a_head_in_bf16() -> None:
    settings: dict[str, Any] = {"method": "lora", "checkpointing": "full", "logits": "chunked"}
    assert trained(**settings, precision="mixed").phases["loss"] == pytest.approx(
        trained(**settings, precision="bf16").phases["loss"], rel=0.01
    )


def test_a_type_that_liger_is_not_known_for_is_bounded_by_its_own_class() -> None:
    plain, asked = trained("tiiuae/falcon-7b"), trained("tiiuae/falcon-7b", kernels="liger")
    assert asked.peak == plain.peak
    assert any("a bound" in note and "liger" in note for note in asked.warnings)
    assert not any("liger" in note for note in plain.warnings)


def test_unknown_kernels_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown kernels 'ligre'"):
        TrainingSetup(kernels="ligre")


@pytest.mark.parametrize(
    "text",
    [
        "model_name_or_path: a/model\nper_device_train_batch_size: 1\nuse_liger_kernel: true\n",
        "base_model: a/model\nsequence_len: 512\nliger_rms_norm: true\nliger_glu_activation: true\n"
        "liger_fused_linear_cross_entropy: true\n",
        "base_model: a/model\nsequence_len: 512\nliger_rms_norm: true\nliger_swiglu: true\n"
        "plugins: [axolotl.integrations.cut_cross_entropy.CutCrossEntropyPlugin]\n",
        "model_name_or_path: a/model\nstage: sft\nfinetuning_type: full\ndo_train: true\nenable_liger_kernel: true\n"
        "dataset: identity\ntemplate: llama3\n",
    ],
)
def test_trainers_files_turn_them_on(text: str, tmp_path: Path) -> None:
    file = tmp_path / "run.yml"
    file.write_text(text, "utf-8")
    settings = read_run([file]).settings
    assert (settings["kernels"], settings["logits"]) == ("liger", "chunked")


def test_apertus_says_that_its_activation_may_be_a_kernel(tmp_path: Path) -> None:
    """Of Axolotl's example, whose README installs it: 8.7 GiB are published (tests/trainers/published.json)."""
    rows = json.loads((Path(__file__).parents[2] / "trainers" / "published.json").read_text("utf-8"))["rows"]
    (row,) = (row for row in rows if row["file"].startswith("apertus"))
    (tmp_path / "config.json").write_text(json.dumps(row["config"]), "utf-8")
    plain, fused = trained(str(tmp_path)), trained(str(tmp_path), kernels="xielu")
    assert any("--kernels xielu" in note for note in plain.warnings)
    assert not any("xielu" in note for note in fused.warnings)
    assert fused.phases["backward"] < plain.phases["backward"]
