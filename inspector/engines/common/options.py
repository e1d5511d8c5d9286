"""Options that several engines have, each said once: a dataclass field for whichever engine takes it."""

from __future__ import annotations

from typing import Any

from inspector.settings import setting


def version() -> Any:
    """`version: str | None`: the release that is followed; None for the newest whose sources were read."""
    return setting(
        None,
        help="Release of vLLM or SGLang, or llama.cpp's build. Default: the newest that is known.",
        docs="`0.19`, whose accounting differs between versions; `b9525`, a build of llama.cpp; default the newest that"
        " is known",
        option="--engine-version",
        metavar="X.Y",
    )


def tensor_parallel() -> Any:
    """`tensor_parallel: int | None`: ranks that split each layer; None for all devices of the layout."""
    return setting(
        None,
        help="GPUs of tensor parallelism. Default: all.",
        docs="tensor parallel degree; default: all GPUs of `--gpu` split each layer",
        option="--tp",
        metavar="N",
        least=1,
    )


def pipeline_parallel() -> Any:
    """`pipeline_parallel: int | None`: stages; None for 1."""
    return setting(None, help="Stages of pipeline parallelism. Default: 1.", option="--pp", metavar="N", least=1)


def data_parallel() -> Any:
    """`data_parallel: int | None`: replicas of the attention, each with a pool of its own; None for 1."""
    return setting(
        None,
        help="Data parallel replicas (vLLM, SGLang). Default: 1.",
        docs="data parallel replicas of the attention; default 1",
        option="--dp",
        metavar="N",
        least=1,
    )


def expert_parallel() -> Any:
    """`expert_parallel: int | None`: ranks that whole experts are dealt out to: 1, or tensor * data parallel."""
    return setting(
        None,
        help="Ranks that whole experts are dealt out to (vLLM, SGLang): 1, or --tp times --dp. Default: 1.",
        docs="ranks that whole experts are dealt out to: 1 (default), or `--tp` times `--dp`",
        option="--ep",
        metavar="N",
        least=1,
    )


def kv_cache_dtype() -> Any:
    """`kv_cache_dtype: str | None`: the type of a server's KV cache under its own name; None for `--kv-dtype`'s."""
    return setting(
        None,
        help="Type of the KV cache by vLLM's or SGLang's own name: fp8_e5m2, nvfp4, ...",
        docs="type of the KV cache, by the server's own name: `fp8_e4m3`, `nvfp4`, `int8_per_token_head`, ...",
        metavar="TYPE",
    )
