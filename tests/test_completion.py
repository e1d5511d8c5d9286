"""What a shell is told as it completes, by the protocol that click's scripts speak."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from inspector.cli.completion import complete_gpus
from inspector.devices.spec import parse_gpu
from tests.conftest import Run, command_environment


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", {"fit", "train", "meta-llama/Meta-Llama-3-8B"}),
        ("meta-", {"meta-llama/Meta-Llama-3-8B"}),
        ("fit qwen2.5-7", {"Qwen/Qwen2.5-7B"}),
        ("fit gpt2 --gpu rtx40", {"RTX4090"}),
        ("gpt2 --gpu 4xH1", {"4xH100SXM"}),
        ("gpt2 --engine v", {"vllm"}),
        ("gpt2 --dtype q4", {"Q4_K_M"}),
        ("gpt2 --dtype bf16,q4", {"bf16,Q4_K_M"}),
        ("gpt2 --engine vllm,s", {"vllm,sglang"}),
        ("gpt2 --kv-dtype f", {"fp8"}),
        ("train gpt2 --optimizer ad", {"adamw"}),
        ("train gpt2 --meth", {"--method"}),
        ("gpt2 --gpu-mem", {"--gpu-memory-utilization"}),
        ("gpt2 --format j", {"json", "jsonl"}),
    ],
)
def test_what_is_completed(tmp_path: Path, words: str, expected: set[str]) -> None:
    typed = f"llm-inspect {words}"
    asked = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" ")), "_LLM_INSPECT_COMPLETE": "bash_complete"}
    script = "from inspector.cli.main import run; import sys; sys.exit(run([]))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=command_environment(tmp_path, **asked),
        capture_output=True,
        text=True,
        check=True,
    )
    offered = {line.partition(",")[2] for line in done.stdout.splitlines()}
    assert expected <= offered
    assert done.stderr == ""


def test_each_device_that_is_offered_is_one() -> None:
    for item in complete_gpus(None, None, ""):
        if item.value != "auto":
            parse_gpu(item.value)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "BASH"])
def test_a_script_for_each_shell(run: Run, shell: str) -> None:
    done = run("completion", shell)
    assert done.code == 0
    assert "_LLM_INSPECT_COMPLETE" in done.out
