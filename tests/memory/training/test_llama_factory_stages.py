"""Steps of LLaMA-Factory's own trainers (ff6d4d1, with TRL 0.24) under fake tensors, and what its stages are read as.

Measured with tests/oracles/objectives/harness.py over its CustomKTOTrainer, CustomDPOTrainer and PairwiseTrainer:
checkpointing, SGD, 1,024 tokens, three layers. Peaks in MiB.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from inspector.memory import Workload
from inspector.memory.training import TrainingSetup, training_estimate
from inspector.trainers import read_run
from tests.memory.training.objectives_replay import stored_models
from tests.memory.training.replay import model_of

KTO = [
    ("llama-3.2-1b", "mixed", "full", 16113),
    ("llama-3.2-1b", "mixed", "lora", 7553),
    ("llama-3.2-1b", "bf16", "full", 9883),
    ("llama-3.2-1b", "bf16", "lora", 7553),
    ("qwen2.5-7b", "mixed", "full", 21417),
    ("qwen2.5-7b", "mixed", "lora", 9438),
    ("qwen2.5-7b", "bf16", "full", 12862),
    ("qwen2.5-7b", "bf16", "lora", 9438),
    ("qwen2.5-7b", "fp32", "full", 20504),
]
DPO = [
    ("llama-3.2-1b", "mixed", "full", 18534),
    ("llama-3.2-1b", "mixed", "lora", 10701),
    ("llama-3.2-1b", "bf16", "full", 13047),
    ("llama-3.2-1b", "bf16", "lora", 10701),
    ("llama-3.2-1b", "fp32", "full", 18049),
]
REWARD = [
    ("llama-3.2-1b", "mixed", "full", 9445),
    ("llama-3.2-1b", "mixed", "lora", 4089),
    ("llama-3.2-1b", "bf16", "full", 4722),
    ("llama-3.2-1b", "bf16", "lora", 4075),
    ("llama-3.2-1b", "fp32", "full", 9445),
    ("qwen2.5-7b", "mixed", "lora", 5325),
    ("qwen2.5-7b", "bf16", "lora", 5331),
]


def peak(model: str, precision: str, method: str, objective: str, batch: int) -> float:
    """MiB."""
    found, weights = model_of(stored_models()[model])
    logits = {"fp32_outputs": precision == "bf16", "whole_logits": True} if objective != "reward-lm" else {}
    how = {"precision": precision, "method": method, "checkpointing": "full", "optimizer": "sgd"}
    setup = TrainingSetup(objective=objective, **how, **logits)  # type: ignore[arg-type]
    training = training_estimate(found, Workload(1024, batch), setup, tensors=weights)
    assert training.peak is not None
    return training.peak / 2**20


@pytest.mark.parametrize(
    ("row", "objective", "batch"),
    [
        *((row, "kto-fp32", 2) for row in KTO),
        *((row, "dpo", 2) for row in DPO),
        *((row, "reward-lm", 1) for row in REWARD),
    ],
    ids=str,
)
def test_a_stage_is_within_one_percent(row: tuple[str, str, str, int], objective: str, batch: int) -> None:
    assert peak(*row[:3], objective, batch) == pytest.approx(row[3], rel=0.01)


@pytest.mark.parametrize(
    ("stage", "objective"), [("kto", "kto-fp32"), ("rm", "reward-lm"), ("dpo", "dpo"), ("sft", None)]
)
def test_stages_are_read(stage: str, objective: str | None, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    keys = {"model_name_or_path": "Qwen/Qwen3-8B", "template": "qwen3", "finetuning_type": "lora", "bf16": True}
    file.write_text(yaml.safe_dump({**keys, "stage": stage, "enable_liger_kernel": True}), "utf-8")
    settings = read_run([file]).settings
    assert settings.get("objective") == objective
    assert settings["logits"] == ("chunked" if stage == "sft" else "all")
