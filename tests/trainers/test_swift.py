"""ms-swift's calls in shell scripts, and its YAML: what is read, what is refused, and what its examples publish."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import inspector
from inspector.errors import InspectError, UnreadableModel, UsageError
from inspector.trainers import Run, read_run
from inspector.trainers.files import values_of
from tests.conftest import Run as Command

LORA = r"""# 22GB
nproc_per_node=2

CUDA_VISIBLE_DEVICES=0,1 \
NPROC_PER_NODE=$nproc_per_node \
swift sft \
    --model Qwen/Qwen2.5-7B-Instruct \
    --tuner_type lora \
    --dataset 'a/b#500' \
              'c/d#500' \
    --torch_dtype bfloat16 \
    --per_device_train_batch_size 1 \
    --lora_rank 8 \
    --target_modules all-linear \
    --gradient_accumulation_steps $(expr 16 / $nproc_per_node) \
    --max_length 2048 \
    --system 'You are a helpful assistant.' \
    --gradient_checkpointing_kwargs '{"use_reentrant": false}'
"""

FULL = (
    "NPROC_PER_NODE=4 swift sft --model Qwen/Qwen2.5-7B --tuner_type full --dataset a/b --torch_dtype bfloat16"
    " --per_device_train_batch_size 1 --max_length 16384 --packing true --attn_impl flash_attn --deepspeed zero3"
    " --use_liger_kernel true --gradient_accumulation_steps 1"
)


def run_of(folder: Path, text: str, name: str = "train.sh", **more: Any) -> Run:
    path = folder / name
    path.write_text(text, "utf-8")
    return read_run([path], **more)


def test_a_script_with_adapters_is_read(tmp_path: Path) -> None:
    run = run_of(tmp_path, LORA)
    assert (run.trainer.name, run.model, run.processes) == ("ms-swift", "Qwen/Qwen2.5-7B-Instruct", 2)
    settings = {"method": "lora", "precision": "mixed", "lora_rank": 8, "lora_targets": "all-linear", "context": 2048}
    assert settings.items() <= run.settings.items()
    assert run.settings["lora_dropout"] == 0.05
    assert run.settings["checkpointing"] == "full"
    assert run.sharding == {"grad_accum": 8, "ddp": 2}


def test_a_full_fine_tune_over_zero_3_is_read(tmp_path: Path) -> None:
    run = run_of(tmp_path, FULL)
    settings = {"method": "full", "precision": "bf16-master", "attention": "flash", "logits": "chunked"}
    assert settings.items() <= run.settings.items()
    assert run.settings["kernels"] == "liger"
    sharding = {"zero": 3, "ddp": 4, "overlap_comm": False, "reduce_bucket_size": None}  # None: auto
    assert sharding.items() <= run.sharding.items()


def test_yaml_is_the_same(tmp_path: Path) -> None:
    text = (
        "model: Qwen/Qwen2.5-7B\ntuner_type: full\ndataset: [a/b]\ntorch_dtype: bfloat16\nmax_length: 16384\n"
        "per_device_train_batch_size: 1\npacking: true\nattn_impl: flash_attn\ndeepspeed: zero3\n"
        "use_liger_kernel: true\ngradient_accumulation_steps: 1\nENV:\n  NPROC_PER_NODE: '4'\n"
    )
    yaml, script = run_of(tmp_path, text, "train.yaml"), run_of(tmp_path, FULL)
    assert (yaml.settings, yaml.sharding, yaml.processes) == (script.settings, script.sharding, script.processes)


def test_steps_that_are_not_given_make_a_batch_of_16(tmp_path: Path) -> None:
    text = "swift sft --model a/b --train_type full --dataset c --max_length 512 --per_device_train_batch_size 3"
    assert run_of(tmp_path, text).sharding["grad_accum"] == 6


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        ("--rlhf_type dpo", {"objective": "dpo", "context": 2048}),
        ("--rlhf_type dpo --rpo_alpha 0.1", {"objective": "rpo"}),
        ("--rlhf_type dpo --packing true --attn_impl flash_attn", {"objective": "dpo", "context": 1024}),
        ("--rlhf_type rm", {"objective": "reward"}),
        ("--rlhf_type simpo --cpo_alpha 0", {"objective": "simpo"}),
        ("--rlhf_type simpo", {"objective": "cpo"}),
        (
            "--rlhf_type grpo --use_vllm true --vllm_mode colocate --vllm_gpu_memory_utilization 0.5 --sleep_level 1"
            " --max_completion_length 1024 --reward_funcs accuracy format",
            {
                "objective": "grpo",
                "generation": "colocated-sleep",
                "vllm_gpu_memory_utilization": 0.5,
                "completion_tokens": 1024,
                "context": 3072,
                "reference": "adapters-off",
            },
        ),
        ("--rlhf_type grpo --beta 0", {"reference": "none", "generation": "generate", "context": 2560}),
    ],
)
def test_objectives_are_read(words: str, settings: dict[str, Any], tmp_path: Path) -> None:
    text = f"swift rlhf --model a/b --tuner_type lora --dataset c --torch_dtype bfloat16 --max_length 2048 {words}"
    assert settings.items() <= run_of(tmp_path, text).settings.items()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("", "without 'max_length'"),
        ("--max_length 512 --sequence_parallel_size 4", "sequence parallelism"),
        ("--max_length 512 --tuner_type adalora", "the tuner 'adalora'"),
        ("--max_length 512 --task_type embedding", "the task embedding"),
        ("--max_length 512 --quant_method hqq --quant_bits 4", "a base by hqq"),
        ("--max_length 512 --made_up 1", "whether memory depends on 'made_up'"),
        ("--max_length 512 --rlhf_type gkd", "ms-swift's gkd"),
        ("--max_length 512 --rlhf_type kto --packing true", "packed sequences of kto"),
        ("--max_length 512 --deepspeed zero1 --zero_hpz_partition_size 8", r"ZeRO\+\+"),
    ],
)
def test_what_is_not_modelled_is_said(words: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableModel, match=why):
        run_of(tmp_path, f"swift sft --model a/b --dataset c {words}")


def test_a_context_that_is_given_makes_good_for_max_length(tmp_path: Path) -> None:
    run = run_of(tmp_path, "swift sft --model a/b --dataset c", given={"context"})
    assert run.settings["method"] == "lora"


def test_gpus_of_one_process_share_layers(tmp_path: Path) -> None:
    with pytest.raises(UnreadableModel, match="layers spread over the GPUs"):
        run_of(tmp_path, f"CUDA_VISIBLE_DEVICES=0,1 {FULL.partition(' ')[2]}")


@pytest.mark.parametrize(
    ("words", "vision"),
    [
        ("--train_type full", "frozen"),
        ("--train_type full --freeze_aligner false", "projector"),
        ("--train_type full --freeze_vit false", "trained"),
        ("--train_type lora", None),
        ("--train_type lora --freeze_vit false", "adapters"),
    ],
)
def test_what_trains_of_a_vision_part_is_read(words: str, vision: str | None, tmp_path: Path) -> None:
    run = run_of(tmp_path, f"swift sft --model a/b --dataset c --max_length 2048 {words}")
    assert run.settings.get("vision") == vision


@pytest.mark.parametrize("text", ["echo swift\n", f"{FULL}\n{FULL}\n", "", "swift infer --model a/b\n", "swift"])
def test_a_script_has_one_call(text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"calls of a trainer"):
        run_of(tmp_path, text)


def test_nothing_of_a_script_is_run(tmp_path: Path) -> None:
    left = tmp_path / "made"
    text = f"swift sft --model $(touch {left}) --dataset `touch {left}` --max_length $((2 * 512))\n"
    values = values_of("a.sh", text)
    assert not left.exists()
    assert values["max_length"] == 1024
    assert values_of("a.sh", "n=3\nswift sft --x $(expr 32 / 4 / 2) --y $((1/0)) --z ${n}") == {
        **{"swift": "sft", "x": 4, "y": "?", "z": 3, "ENV": {}},
    }


@given(st.text(max_size=300))
def test_any_text_is_a_script_or_an_error_of_ours(text: str) -> None:
    for script in (text, f"swift sft {text}", f"swift sft --model {text}"):
        try:
            values_of("a.sh", script)
        except InspectError:
            continue


PUBLISHED = [
    # examples/train/packing/llm.sh: one GPU, adapters; torch's reserved memory
    ("--model Qwen/Qwen2.5-7B-Instruct --lora_rank 8 --max_length 2048 --gradient_accumulation_steps 16", 1, 22),
    # packing/liger_kernel.sh and flash_attention_3/transformers.sh
    (FULL.partition("swift sft ")[2], 4, 42),
    # packing/dpo.sh, whose logits are of tokens with labels alone
    (
        "--model Qwen/Qwen2.5-7B-Instruct --tuner_type full --rlhf_type dpo --rpo_alpha 0.1 --max_length 8192"
        " --gradient_accumulation_steps 1 --deepspeed zero3",
        4,
        50,
    ),
]


@pytest.mark.parametrize(("words", "gpus", "gib"), PUBLISHED)
def test_what_its_packed_examples_publish_is_met(words: str, gpus: int, gib: float, tmp_path: Path) -> None:
    """ms-swift 3602360, the first lines of its scripts, in whole GB or GiB."""
    text = f"NPROC_PER_NODE={gpus} swift {'rlhf' if 'rlhf' in words else 'sft'} {words} --packing true --dataset a"
    run = run_of(tmp_path, f"{text} --torch_dtype bfloat16 --attn_impl flash_attn --per_device_train_batch_size 1")
    assert run.model is not None
    training = inspector.train(run.model, offline=True, sharding=dict(run.sharding), **run.settings).training
    assert training.peak is not None
    assert (training.reserved or training.peak) / 2**30 == pytest.approx(gib, rel=0.15)


@pytest.mark.skipif(shutil.which("patch") is None, reason="needs patch")
def test_a_script_that_does_not_fit_is_patched(run: Command, tmp_path: Path) -> None:
    """Values in their places; the patched script is read as what fits."""
    file = tmp_path / "train.sh"
    text = LORA.replace("train_batch_size 1", "train_batch_size 8").replace("$(expr 16 / $nproc_per_node)", "2")
    file.write_text(text, "utf-8")
    question = ("train", "--config", str(file), "--gpu", "24GiB", "--offline", "--json")
    patch = json.loads(run(*question).out)["config"]["patch"]
    assert "+    --per_device_train_batch_size" in patch
    subprocess.run(["patch", "-s", "-p1", "-d", str(tmp_path)], input=patch, text=True, check=True)
    assert json.loads(run(*question).out)["fit"][0]["fits"] is True
