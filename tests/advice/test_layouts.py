"""Layouts that `train --gpus` proposes: what is printed is what the command with those options gives."""

from __future__ import annotations

import json
import random
import shlex
from typing import Any

import pytest

import inspector
from inspector.cli.main import run
from inspector.errors import UsageError

LLAMA, MIXTRAL, QWEN = "meta-llama/Llama-3.1-8B", "mistralai/Mixtral-8x7B-v0.1", "Qwen/Qwen2.5-0.5B"


def record(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run(["train", *arguments, "--offline", "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


CASES = [
    (LLAMA, "--gpus 8 --gpu H100"),
    (LLAMA, "--gpus 8 --gpu H100 --precision mixed --optimizer-impl fused --batch 4"),
    (LLAMA, "--gpus 64 --gpu H100 --grad-accum 4 --global-batch 128"),
    (LLAMA, "--gpus 64 --gpu H100 --batch 4 --grad-accum 2"),
    (LLAMA, "--gpus 8 --gpu H100 --checkpointing none"),
    (LLAMA, "--gpus 8 --gpu H100 --tp 1"),
    (LLAMA, "--gpus 64 --global-batch 512 --context 8k --gpu 'RTX 4090'"),
    (LLAMA, "--gpus 4 --method qlora --gpu 24GiB"),
    (LLAMA, "--gpus 16 --zero 3 --gpu H100"),
    (LLAMA, "--gpus 16 --tp 4 --checkpointing full --gpu H100"),
    (LLAMA, "--gpus 1 --method qlora --gpu 24GiB"),
    (MIXTRAL, "--gpus 32 --gpu H100"),
    (QWEN, "--gpus 6 --gpu 24GiB"),
]


@pytest.mark.parametrize(("model", "asked"), CASES)
def test_the_proposed_options_give_the_stated_memory_and_keep_the_global_batch(
    capsys: pytest.CaptureFixture[str], model: str, asked: str
) -> None:
    """The same command, with the proposed options behind those that were given, in place of the number of GPUs."""
    words = shlex.split(asked)
    found = record(capsys, model, *words)
    layout = found["training"]["layout"]
    assert found["training"]["peak"] == layout["least"]["peak"]
    assert found["training"]["cards"] == layout["gpus"] == int(words[1])
    kept = [word for at, word in enumerate(words) if not {word, words[max(0, at - 1)]} & {"--gpus", "--global-batch"}]
    for name in ("least", "simplest"):
        again = record(capsys, model, *kept, *shlex.split(layout[name]["options"]))
        assert again["training"]["peak"] == layout[name]["peak"]
        assert again["training"]["cards"] == layout["gpus"]
        assert again["fit"][0]["fits"]
        assert again["fit"][0]["needed"] == layout[name]["needed"]
        assert _sequences(kept, layout[name]["options"], layout["gpus"]) == layout["global_batch"]


def _sequences(given: list[str], options: str, gpus: int) -> int:
    """Of a step, by the last value of each option."""
    words = [*given, *shlex.split(options)]
    last = {name: int(words[at + 1]) for at, name in enumerate(words) if name in DEGREES}
    divided = last.get("--tp", 1) * last.get("--pp", 1) * last.get("--cp", 1)
    return gpus // divided * last.get("--batch", 1) * last.get("--grad-accum", 1)


DEGREES = ("--tp", "--pp", "--cp", "--batch", "--grad-accum")


def test_what_is_given_by_hand_stays(capsys: pytest.CaptureFixture[str]) -> None:
    found = record(capsys, LLAMA, "--gpus", "8", "--checkpointing", "none", "--tp", "1")["training"]
    assert found["checkpointing"] == "none"
    assert "--tp" not in found["layout"]["least"]["options"]
    assert "--checkpointing full" in record(capsys, LLAMA, "--gpus", "8")["training"]["layout"]["least"]["options"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"tp": 3}, "--tp 3 cannot be: within a node of 8 GPUs, and divides 32 heads"),
        ({"tp": 16}, "within a node of 8 GPUs"),
        ({"pp": 64}, "at most 32 stages"),
        ({"ep": 2}, "no routed experts"),
        ({"fsdp": 128}, "--fsdp 128 does not divide 64 GPUs"),
        ({"fsdp": 32, "tp": 4}, "--tp 4 does not divide"),
    ],
)
def test_a_degree_that_cannot_be_is_named(asked: dict[str, int], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        inspector.train(LLAMA, offline=True, total_gpus=64, sharding=asked)


def test_one_gpu_reads_well(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["train", QWEN, "--offline", "--gpus", "1", "--gpu", "24GiB", "--context", "512"]
    assert run(asked) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "A layout of 1 GPU for 1 sequence per step" in text
    assert "the simplest that fits: as it is" in text
    assert "1 microbatch of one sequence on 1 data-parallel GPU" in text
    assert "no tensor parallel can be" in text
    assert run([*asked, "--format", "markdown", "--gpus", "2"]) == 0
    table = capsys.readouterr().out
    assert "| layout |" in table
    assert "--tp 2 --sp" in table


@pytest.mark.parametrize("seed", range(6))
def test_no_layout_takes_less_than_the_one_with_the_least(seed: int) -> None:
    """Layouts made at random, with the options of anyone: more kinds, larger micro-batches, no sequence parallel."""
    chosen = random.Random(seed)
    gpus, batch = 32, 32
    _, least = inspector.train(LLAMA, offline=True, context=4096, total_gpus=gpus, global_batch=batch)
    assert least.peak is not None
    tried = 0
    while tried < 40:
        tp, pp, cp = chosen.choice((1, 2, 4, 8)), chosen.choice((1, 2, 4)), chosen.choice((1, 2))
        data = gpus // (tp * pp * cp)
        steps = batch // data if data else 0
        micro = chosen.choice([size for size in (1, 2, 4) if size <= max(steps, 1)])
        if not data or steps // micro < pp:
            continue
        tried += 1
        sharding = {"tp": tp, "pp": pp, "cp": cp, "fsdp": data, "grad_accum": steps // micro}
        sharding |= {"sp": True, "loss_parallel": chosen.random() < 0.5} if tp > 1 and chosen.random() < 0.7 else {}
        mode = chosen.choice(("none", "selective", "full"))
        _, other = inspector.train(
            LLAMA, offline=True, context=4096, batch=micro, checkpointing=mode, sharding=sharding
        )
        assert other.peak is not None
        assert other.peak >= least.peak


def test_what_the_model_or_a_node_forbids_is_never_proposed() -> None:
    for asked in ({"total_gpus": 64}, {"total_gpus": 64, "node_gpus": 4}, {"total_gpus": 28, "global_batch": 28}):
        settings = _least(LLAMA, **asked)
        assert settings.get("tp", 1) <= asked.get("node_gpus", 8)
        assert 32 % settings.get("tp", 1) == 0
    narrow = _least(QWEN, total_gpus=56)  # 14 heads, 2 of keys and values
    assert 2 % narrow.get("tp", 1) == 0
    experts = _least(MIXTRAL, total_gpus=64)
    assert 8 % experts.get("ep", 1) == 0
    staged = _least(LLAMA, total_gpus=64, global_batch=8)
    assert staged.get("pp", 1) <= staged.get("grad_accum", 1)


def _least(model: str, **asked: Any) -> dict[str, Any]:
    layout = inspector.train(model, offline=True, **asked).training.layout
    assert layout is not None
    return dict(layout.least.settings)


def test_the_simplest_that_fits_is_data_parallel_where_that_fits() -> None:
    layout = inspector.train(LLAMA, offline=True, total_gpus=8, gpus=["H100"]).training.layout
    assert layout is not None
    assert layout.simplest is not None
    assert layout.simplest.options == "--fsdp 8"
    none = inspector.train(LLAMA, offline=True, total_gpus=8, gpus=["2GiB"]).training.layout
    assert none is not None
    assert none.simplest is None


def test_each_choice_has_a_reason_with_what_another_takes() -> None:
    """Of 8B's vocabulary of 128,256 tensor parallelism divides the logits; without it they are whole."""
    layout = inspector.train(LLAMA, offline=True, total_gpus=8).training.layout
    assert layout is not None
    reasons = {reason.choice: reason for reason in layout.reasons}
    assert reasons["tp"].value == 8
    assert all(reason.otherwise is None or reason.otherwise >= layout.least.peak for reason in layout.reasons)
    assert reasons["ep"].otherwise is None
    assert "no routed experts" in reasons["ep"].text
    apart = inspector.train(LLAMA, offline=True, sharding={"fsdp": 8}, checkpointing="full").training.peak
    assert apart is not None
    assert reasons["tp"].otherwise is not None
    assert reasons["tp"].otherwise <= apart


def test_a_global_batch_that_no_layout_keeps_is_refused() -> None:
    with pytest.raises(UsageError, match="no layout of 7 GPUs keeps 5 sequences"):
        inspector.train(LLAMA, offline=True, total_gpus=7, global_batch=5, sharding={"zero": 3})
    with pytest.raises(UsageError, match="of a layout that is proposed"):
        inspector.train(LLAMA, offline=True, global_batch=5)


def test_experts_are_divided_once() -> None:
    """8 GPUs, each with one of 8 experts, have the same share of the model as 8 GPUs with an eighth of each expert."""
    sharded = inspector.train(MIXTRAL, offline=True, sharding={"fsdp": 8}).training.part("weights")
    apart = inspector.train(MIXTRAL, offline=True, sharding={"fsdp": 8, "ep": 8}).training.part("weights")
    assert sharded is not None
    assert apart is not None
    assert apart.bytes == pytest.approx(sharded.bytes, rel=1e-4)


def test_a_table_and_a_trainers_file_have_no_layout_proposed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", LLAMA, "--offline", "--context", "4k,8k", "--gpus", "8"]) == 2
    assert "no table has it" in capsys.readouterr().err
    assert run(["train", "--offline", "--config", "docs/examples/torchtitan.toml", "--gpus", "8"]) == 2
    assert "--processes" in capsys.readouterr().err


@pytest.mark.parametrize("objective", ["dpo", "embedding"])
def test_an_objective_is_proposed_nothing_that_it_refuses(objective: str) -> None:
    """A loss over divided logits was proposed to embedding models, which make none."""
    found = inspector.train(QWEN, offline=True, objective=objective, total_gpus=4).training.layout
    assert found is not None
    assert "loss-parallel" not in found.least.options
    texts = {reason.choice: reason.text for reason in found.reasons}
    assert "known for supervised fine-tuning alone" in texts["pp"]
    assert "known for supervised fine-tuning alone" in texts["cp"]


def test_a_teacher_of_its_own_is_why_there_is_no_tensor_parallel() -> None:
    found = inspector.train(QWEN, offline=True, objective="gkd", reference_repo="Qwen/Qwen2.5-1.5B", total_gpus=4)
    assert found.training.layout is not None
    texts = {reason.choice: reason.text for reason in found.training.layout.reasons}
    assert "not known beside a model of its own" in texts["tp"]


def test_images_are_proposed_data_parallel_layouts_alone() -> None:
    found = inspector.train("Qwen/Qwen2.5-VL-3B-Instruct", offline=True, total_gpus=4).training.layout
    assert found is not None
    assert "--tp" not in found.least.options
    texts = {reason.choice: reason.text for reason in found.reasons}
    assert "not known with images" in texts["tp"]
