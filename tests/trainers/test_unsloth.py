"""The file of `unsloth train --config`: its keys, its defaults, and what its own mechanics come to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inspector.cli.main import run
from inspector.errors import UnreadableModel
from inspector.trainers import read_run

TEXT = "model: meta-llama/Llama-3.1-8B\ntraining:\n  max_seq_length: 4096\n  batch_size: 4\nlora:\n  lora_r: 16\n"


def test_its_defaults_are_adapters_on_4_bits_whose_checkpoints_wait_on_the_cpu(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(TEXT, "utf-8")
    run_of = read_run([tmp_path / "run.yaml"])
    assert run_of.trainer.name == "unsloth"
    assert (run_of.model, run_of.settings["context"], run_of.settings["batch"]) == ("meta-llama/Llama-3.1-8B", 4096, 4)
    assert (run_of.settings["method"], run_of.settings["lora_rank"]) == ("qlora", 16)
    assert (run_of.settings["lora_targets"], run_of.settings["optimizer"]) == ("all-linear", "adamw-8bit")
    assert (run_of.settings["checkpointing"], run_of.settings["logits"]) == ("full", "chunked")
    assert run_of.sharding["offload"] == ("activations",)
    assert run_of.sharding["grad_accum"] == 4


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("  training_type: full\n", "full fine-tuning"),
        ("  gradient_checkpointing: sometimes\n", "not known here"),
        ("  neither: 1\n", "neither"),
    ],
)
def test_what_is_not_modelled_is_named(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "run.yaml").write_text(TEXT.replace("lora:\n", f"{line}lora:\n"), "utf-8")
    with pytest.raises(UnreadableModel, match=said):
        read_run([tmp_path / "run.yaml"])


def test_a_patch_keeps_the_global_batch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(TEXT.replace("batch_size: 4", "batch_size: 32"), "utf-8")
    asked = ["train", "--offline", "--config", str(file), "--json"]
    assert run([*asked, "--gpu", "12GiB"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["training"]["host_memory"] > 0
    assert found["fit"][0]["fits"] is False
    added = dict(line[1:].split(":") for line in found["config"]["patch"].splitlines() if line.startswith("+  "))
    sizes = {key.strip(): int(value) for key, value in added.items()}
    assert sizes["batch_size"] * sizes["gradient_accumulation_steps"] == 32 * 4
