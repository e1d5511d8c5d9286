"""Excerpts of start-up logs: the engines' own message formats, with figures of public logs, or such as fit together.

VLLM_V0: vllm-project/vllm pull request 10511. VLLM_V0_ONE_LINE: its pull request 14447, the second rank made up.
LLAMA_CPP_OLDEST: ggml-org/llama.cpp pull request 6122. LLAMA_CPP_2026: a published log of Qwen3-4B. The other formats
are those of vllm issue 17366 and pull requests 17122, 29830 and 30515, and of sglang pull requests 11716, 17157, 18263
and 29853.
"""

from __future__ import annotations

from pathlib import Path


def _read(name: str) -> str:
    return (Path(__file__).parent / "data" / f"{name}.txt").read_text(encoding="utf-8")


VLLM_V0 = _read("vllm_v0")
VLLM_V0_ONE_LINE = _read("vllm_v0_one_line")
VLLM_V1 = _read("vllm_v1")
VLLM_NEWEST = _read("vllm_newest")
SGLANG = _read("sglang")
SGLANG_OLD = _read("sglang_old")
SGLANG_HYBRID = _read("sglang_hybrid")
LLAMA_CPP_2024 = _read("llama_cpp_2024")
LLAMA_CPP_OLDEST = _read("llama_cpp_oldest")
LLAMA_CPP_2026 = _read("llama_cpp_2026")
