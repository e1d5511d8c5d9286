"""`llm-inspect train` and its Python twin: the same numbers, DESIGN's keys, and a verdict for a GPU."""

from __future__ import annotations

import json
from typing import Any

import pytest

import inspector
from inspector.cli.main import run
from inspector.errors import UsageError

LLAMA = "meta-llama/Llama-3.2-1B"
KEYS = {
    *("method", "precision", "optimizer", "attention", "checkpointing", "batch", "context", "trainable_parameters"),
    *("weights", "gradients", "optimizer_states", "activations", "logits", "temporaries"),
    *("peak", "peak_phase", "phases", "ratio_to_inference"),
}


def record(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run(["train", LLAMA, "--offline", "--json", *arguments]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_command_prints_what_the_library_returns(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--method", "lora", "--precision", "mixed", "--checkpointing", "full", "--lora-rank", "8"]
    training = record(capsys, *options, "--context", "2k", "--batch", "2")["training"]
    arguments = {"method": "lora", "precision": "mixed", "checkpointing": "full", "lora_rank": 8}
    _, twin = inspector.train(LLAMA, offline=True, context=2048, batch=2, **arguments)  # type: ignore[arg-type]
    assert training["peak"] == twin.peak
    assert training["phases"] == twin.phases


def test_the_record_has_the_agreed_keys_and_parts_that_sum_to_the_peak(capsys: pytest.CaptureFixture[str]) -> None:
    training = record(capsys)["training"]
    assert training.keys() >= KEYS
    shares = ("weights", "gradients", "optimizer_states", "activations", "logits", "temporaries")
    assert sum(training[name] for name in shares) == training["peak"] == max(training["phases"].values())


def test_a_gpu_gets_a_verdict_on_training_not_on_inference(capsys: pytest.CaptureFixture[str]) -> None:
    found = record(capsys, "--gpu", "8GiB", "--gpu", "80GiB")
    assert [fit["fits"] for fit in found["fit"]] == [False, True]
    assert found["fit"][0]["needed"] > found["training"]["peak"]


def test_the_text_names_the_phase_and_the_rule_of_thumb(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", LLAMA, "--offline", "--explain"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "the peak is in the loss phase" in text
    assert "rule of thumb: 4 to 6" in text
    assert "source:" in text


def test_trainable_parameters_are_the_articles_alone() -> None:
    with pytest.raises(UsageError, match="follows from the method"):
        inspector.train(LLAMA, offline=True, trainable_parameters=1000)


def test_tokens_that_could_be_a_list_are_said_to_be_one_number(capsys: pytest.CaptureFixture[str]) -> None:
    """`--context 128,512` is 128,512 tokens, while `--batch 64,256` is two batches."""
    for context, told in (("32,512", True), ("32, 512", False), ("4,096", False), ("1k,2k", False)):
        assert run(["train", "Qwen/Qwen3-0.6B", "--offline", "--context", context]) == 0
        assert ("is one number" in capsys.readouterr().err) is told
