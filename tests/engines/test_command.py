"""Launch commands as people paste them, read as settings of an account."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inspector.engines.command import Pasted, read_command
from inspector.engines.common.sizes import human_readable
from inspector.errors import UsageError
from tests.conftest import Run

VLLM = """docker run --gpus all -v ~/.cache:/root/.cache --ipc=host -p 8000:8000 \\
    vllm/vllm-openai:v0.21.0 --model Qwen/Qwen3-32B --tensor_parallel_size=2 \\
    --max-model-len 32K --kv-cache-dtype fp8 --no-enable-prefix-caching \\
    --limit-mm-per-prompt '{"image": {"count": 2}}' --served-model-name q --port 8000 \\
    --speculative-config '{"method": "qwen3_next_mtp", "num_speculative_tokens": 2}'"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            VLLM,
            Pasted(
                "vllm",
                "Qwen/Qwen3-32B",
                {"context": 32768, "images": 2},
                {
                    "version": "0.21.0",
                    "tensor_parallel": 2,
                    "kv_cache_dtype": "fp8",
                    "no_enable_prefix_caching": True,
                    "num_speculative_tokens": 2,
                },
                {"draft": "mtp"},
                ("--served-model-name", "--port"),
            ),
        ),
        (
            "CUDA_VISIBLE_DEVICES=0,1 /opt/bin/vllm serve org/m -tp 4 -dp 2 --enable-expert-parallel --enable-lora"
            " --max-lora-rank 32 --dtype half --max-model-len 8k  # a comment",
            Pasted(
                "vllm",
                "org/m",
                {"context": 8000, "dtype": "fp16"},
                {
                    "tensor_parallel": 4,
                    "data_parallel": 2,
                    "max_lora_rank": 32,
                    "expert_parallel": 8,
                    "max_loras": 1,
                },
                {},
            ),
        ),
        (
            "python3 -m sglang.launch_server --model-path org/m --tp 8 --dp-size 8 --enable-dp-attention"
            " --mem-fraction-static 0.85 --trust-remote-code --speculative-algorithm EAGLE3"
            " --speculative-draft-model-path org/e --max-running-requests 64",
            Pasted(
                "sglang",
                "org/m",
                {},
                {
                    "tensor_parallel": 8,
                    "data_parallel": 8,
                    "enable_dp_attention": True,
                    "mem_fraction_static": 0.85,
                    "max_running_requests": 64,
                },
                {"draft": "org/e"},
                ("--trust-remote-code",),
                whole_length=True,
            ),
        ),
        (
            "llama-server -hf org/m-GGUF:Q4_K_M -ngl 99 -c 65536 -np 2 -ncmoe 28 -fa off -ctk q8_0 -ub 2048 --jinja",
            Pasted(
                "llama.cpp",
                "org/m-GGUF:Q4_K_M",
                {"batch": 2, "context": 32768},
                {
                    "n_cpu_moe": 28,
                    "cache_type_k": "q8_0",
                    "n_ubatch": 2048,
                    "n_gpu_layers": 99,
                    "flash_attn": "off",
                },
                {},
                ("--jinja",),
            ),
        ),
        (
            "./llama-server -m m.gguf --mmproj p.gguf -c 0 --n-gpu-layers auto -ot 'exps=CPU'",
            Pasted(
                "llama.cpp",
                "m.gguf",
                {},
                {"override_tensor": "exps=CPU"},
                {"mmproj": "p.gguf"},
                whole_length=True,
            ),
        ),
    ],
)
def test_commands_are_read(text: str, expected: Pasted) -> None:
    assert read_command(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rm -rf /tmp/nothing", "neither a model nor a command"),
        ("cd x && vllm serve org/m", "one command is read here"),
        ("vllm serve org/m; rm x", "one command is read here"),
        ("vllm serve $(cat model)", "one command is read here"),
        ("vllm serve --port 8000", "names no model"),
        ("vllm serve org/m -tp many", "is no number"),
        ("vllm serve org/m --speculative-config [1]", "is no JSON object"),
        ("vllm serve 'org/m", "cannot be read"),
        ("vllm serve org/m " + "x " * 2000, "more than 1000 words"),
        ("vllm serve a/b --max-model-len banana", "--max-model-len 'banana' of the command is no number"),
        ("vllm serve a/b --max-model-len", "--max-model-len of the command has no value"),
        ("vllm serve a/b --dtype fp7", "--dtype 'fp7' of the command is none of auto"),
        ("python -m sglang.launch_server --model-path a/b --context-length x", "is no number"),
        ("llama-server -hf a/b -c many", "-c 'many' of the command is no number"),
        ("llama-server -hf a/b -np", "np of the command has no value"),
    ],
)
def test_what_cannot_be_read_says_why(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_command(text)


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("vllm/vllm-openai:v0.10.1", "0.10.1"),
        ("vllm/vllm-openai", None),
        ("vllm/vllm-openai:latest", None),
        ("lmsysorg/sglang:v0.5.9-cu129", "0.5.9"),
        ("ghcr.io/ggml-org/llama.cpp:server-cuda-b9525", "b9525"),
    ],
)
def test_an_images_tag_is_the_engines_version(image: str, version: str | None) -> None:
    server = "sglang serve " if "sglang" in image else ""
    found = read_command(f"docker run --gpus all -p 80:80 {image} {server}--model org/m")
    assert found.serving.get("version") == version


def test_numbers_with_units() -> None:
    assert [human_readable(text) for text in ("32k", "32K", "1.5G", "12", "-1", "1e9", "")] == [
        *(32_000, 32_768, 3 * 2**29, 12),
        *(None, None, None),
    ]


def account(run: Run, *arguments: str) -> Any:
    done = run("fit", *arguments, "--offline", "--json")
    return json.loads(done.out)["serving"]


def test_fit_answers_for_a_command(run: Run) -> None:
    command = "vllm serve Qwen/Qwen3-32B -tp 2 --max-model-len 16384 --max-num-seqs 64 --port 80"
    pasted = account(run, command, "--gpu", "2xH100")
    own = account(
        run, "Qwen/Qwen3-32B", "--gpu", "2xH100", "--engine", "vllm", "--context", "16384", "--max-num-seqs", "64"
    )
    assert pasted == own
    # What stands on our own command line counts before the command's.
    assert account(run, command, "--gpu", "2xH100", "--max-num-seqs", "8")["settings"]["max_num_seqs"] == 8
    assert "taken to take no memory: --port" in run("fit", command, "--offline", "--gpu", "2xH100").err


def test_a_command_without_a_length_has_the_models_own(run: Run) -> None:
    assert account(run, "vllm serve Qwen/Qwen3-0.6B", "--gpu", "H100")["settings"]["max_model_len"] == 40960
    made = account(run, "vllm serve Qwen/Qwen3-0.6B --quantization fp8 --max-model-len 8192", "--gpu", "H100")
    plain = account(run, "vllm serve Qwen/Qwen3-0.6B --max-model-len 8192", "--gpu", "H100")
    assert made["per_gpu"]["weights"] < plain["per_gpu"]["weights"]


def test_a_command_of_another_engine_is_refused(run: Run) -> None:
    done = run("fit", "vllm serve Qwen/Qwen3-0.6B", "--gpu", "H100", "--engine", "sglang", "--offline")
    assert done.code == 2
    assert "the command is one of vllm" in done.err
    assert run("fit", "no such thing", "--gpu", "H100").code == 2


def test_commands_that_are_emitted_are_read_back(run: Run) -> None:
    for engine in ("vllm", "sglang"):
        arguments = ("--gpu", "2xH100", "--engine", engine, "--context", "16384")
        command = run("fit", "Qwen/Qwen3-32B", *arguments, "--offline", "--emit", engine).out
        assert account(run, command.strip(), "--gpu", "2xH100") == account(run, "Qwen/Qwen3-32B", *arguments)
