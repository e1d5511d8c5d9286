"""How SGLang's server is started (sglang/srt/server_args.py, sglang/srt/arg_groups/fields)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inspector.engines.common.commands import Commands, Given, dtype_of, number_of

_MADE = {"fp8": "fp8", "bitsandbytes": "nf4-dq"}


def _read(given: Given, serving: dict[str, Any]) -> Mapping[str, Any]:
    """Length, precisions and what drafts."""
    del serving
    names = {"context-length", "dtype", "quantization", "speculative-algorithm", "speculative-algo"}
    found: dict[str, Any] = {"read": names | {"speculative-draft-model-path", "speculative-draft-model"}}
    if (length := number_of(given, "context-length")) is not None:
        found["context"] = length
    if (dtype := dtype_of(given)) is not None:
        found["dtype"] = dtype
    if (made := _MADE.get(str(given.get("quantization")))) is not None:
        found["made"] = made
    algorithm = str(given.get("speculative-algorithm", given.get("speculative-algo", "")))
    draft = given.get("speculative-draft-model-path", given.get("speculative-draft-model"))
    if isinstance(draft, str):
        found["draft"] = draft
    elif algorithm in ("NEXTN", "EAGLE"):
        found["draft"] = "mtp"
    return found


COMMANDS = Commands(
    starts=(("-m", "sglang.launch_server"), ("sglang", "serve"), ("sglang.launch_server",)),
    images=("lmsysorg/sglang",),
    model=("model-path", "model"),
    positional=True,
    aliases={
        "tp-size": "tensor_parallel",
        "tensor-parallel-size": "tensor_parallel",
        "pp-size": "pipeline_parallel",
        "pipeline-parallel-size": "pipeline_parallel",
        "dp-size": "data_parallel",
        "data-parallel-size": "data_parallel",
        "ep-size": "expert_parallel",
        "expert-parallel-size": "expert_parallel",
        "cuda-graph-max-bs-decode": "cuda_graph_max_bs",
        "mamba-scheduler-strategy": "mamba_radix_cache_strategy",
    },
    flags=frozenset(("trust-remote-code", "enable-metrics", "enable-torch-compile", "enable-mixed-chunk")),
    read=_read,
)
