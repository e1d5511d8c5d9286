"""Classes with a classifier in the place of the vocabulary's head, beside measured steps of transformers' own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import inspector
from inspector.memory import Workload
from inspector.memory.training import TrainingSetup
from tests.measure.test_training import needs_torch

FOUND: dict[str, Any] = json.loads(Path(__file__).with_name("classifiers.json").read_text("utf-8"))

NAMES = {
    "bert": "Bert",
    "roberta": "Roberta",
    "distilbert": "DistilBert",
    "electra": "Electra",
    "modernbert": "ModernBert",
    "llama": "Llama",
    "qwen3": "Qwen3",
    "gpt2": "GPT2",
}

SETUP = ("precision", "method", "checkpointing")


def config_of(row: dict[str, Any]) -> dict[str, Any]:
    return {**FOUND["configs"][row["type"]], "architectures": [f"{NAMES[row['type']]}For{row['head']}"]}


def estimated(row: dict[str, Any], folder: Path) -> Any:
    (folder / "config.json").write_text(json.dumps(config_of(row)), "utf-8")
    how = {name: row[name] for name in (*SETUP, "batch", "context")}
    return inspector.train(str(folder), offline=True, **how).training


@pytest.mark.parametrize("row", FOUND["rows"], ids=lambda row: " ".join(str(value) for value in row.values()))
def test_a_classifier_s_step_is_within_two_percent(row: dict[str, Any], tmp_path: Path) -> None:
    found = estimated(row, tmp_path)
    assert found.peak == pytest.approx(row["peak"], rel=0.02)
    passes = max(found.phases[phase] for phase in ("forward", "loss", "backward"))
    assert passes == pytest.approx(row["passes"], rel=0.02)
    assert found.part("logits").bytes == 0
    assert any("its head is a classifier" in note for note in found.warnings)


def test_the_same_with_a_vocabulary_takes_more(tmp_path: Path) -> None:
    row = next(row for row in FOUND["rows"] if row["type"] == "bert" and row["precision"] == "fp32")
    classifier = estimated(row, tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**config_of(row), "architectures": ["BertForMaskedLM"]}), "utf-8")
    how = {name: row[name] for name in (*SETUP, "batch", "context")}
    whole = inspector.train(str(tmp_path), offline=True, **how).training
    assert whole.phases["loss"] > 1.4 * classifier.phases["loss"]


@pytest.mark.parametrize("head", ["SequenceClassification", "TokenClassification", "QuestionAnswering"])
def test_measure_runs_the_class_that_the_config_names(head: str, tmp_path: Path) -> None:
    needs_torch()
    from inspector.measure.training import measure_training

    config = {
        "model_type": "bert",
        "architectures": [f"BertFor{head}"],
        **{"hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 1024},
        **{"vocab_size": 30522, "max_position_embeddings": 512},
    }
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    found = inspector.train(str(tmp_path), offline=True, context=128, batch=4).training
    measured = measure_training(config, Workload(128, 4), TrainingSetup())
    assert found.peak == pytest.approx(measured["peak"], rel=0.02)
