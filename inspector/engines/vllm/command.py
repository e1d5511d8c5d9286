"""How `vllm serve` is read (vllm/engine/arg_utils.py, vllm/utils/argparse_utils.py)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from inspector.engines.common.commands import Commands, Given, dtype_of, is_on, number_of
from inspector.engines.common.sizes import human_readable
from inspector.errors import UsageError

_MADE = {"fp8": "fp8", "bitsandbytes": "nf4"}
"""What `--quantization` makes of plain weights; of packed ones it names what they are."""


def _read(given: Given, serving: dict[str, Any]) -> Mapping[str, Any]:
    """Length, precisions, images, adapters and drafts; experts are dealt out over all ranks."""
    found: dict[str, Any] = {"read": {"max-model-len", "dtype", "quantization", "q", "enable-expert-parallel", "ep"}}
    if given.get("max-model-len") not in ("auto", "-1"):
        found["context"] = number_of(given, "max-model-len")
    found["dtype"] = dtype_of(given)
    if (made := _MADE.get(str(given.get("quantization", given.get("q"))))) is not None:
        found["made"] = made
    if is_on(given, "enable-expert-parallel", "ep"):
        serving["expert_parallel"] = (serving.get("tensor_parallel") or 1) * (serving.get("data_parallel") or 1)
    if is_on(given, "enable-lora"):
        found["read"].add("enable-lora")
        serving.setdefault("max_loras", 1)
    else:
        serving.pop("max_loras", None)
        serving.pop("max_lora_rank", None)
    if "limit-mm-per-prompt" in given:
        found["read"].add("limit-mm-per-prompt")
        found["images"] = _images(str(given["limit-mm-per-prompt"]))
    for name in ("speculative-config", "sc"):
        if name in given:
            found["read"].add(name)
            _drafts(_json(name, str(given[name])), found, serving)
    if "eplb-config" in given:
        found["read"] |= {"eplb-config", "enable-eplb"}
        spare = _json("eplb-config", str(given["eplb-config"])).get("num_redundant_experts")
        serving["num_redundant_experts"] = spare if type(spare) is int else None
    return {name: value for name, value in found.items() if value is not None}


def _json(name: str, text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UsageError(f"--{name} of the command is no JSON object")
    return found


def _images(text: str) -> int | None:
    """Of `{"image": 2}`, `{"image": {"count": 2}}` or `image=2`."""
    if not text.startswith("{"):
        pairs = dict(part.partition("=")[::2] for part in text.split(","))
        return human_readable(pairs.get("image", ""))
    limit = _json("limit-mm-per-prompt", text).get("image")
    limit = limit.get("count") if isinstance(limit, dict) else limit
    return limit if type(limit) is int and limit >= 0 else None


def _drafts(told: Mapping[str, Any], found: dict[str, Any], serving: dict[str, Any]) -> None:
    """What drafts, and how many tokens; text from the prompt itself has no weights."""
    method, model, tokens = str(told.get("method", "")), told.get("model"), told.get("num_speculative_tokens")
    if method in ("ngram", "suffix"):
        return
    if method.endswith("mtp") or isinstance(model, str):
        found["draft"] = "mtp" if method.endswith("mtp") else model
        serving["num_speculative_tokens"] = tokens if type(tokens) is int else None


COMMANDS = Commands(
    starts=(("vllm", "serve"), ("-m", "vllm.entrypoints.openai.api_server"), ("-m", "vllm.entrypoints.api_server")),
    images=("vllm/vllm-openai", "vllm-openai"),
    positional=True,
    aliases={
        "tensor-parallel-size": "tensor_parallel",
        "tp": "tensor_parallel",
        "pipeline-parallel-size": "pipeline_parallel",
        "pp": "pipeline_parallel",
        "data-parallel-size": "data_parallel",
        "dp": "data_parallel",
        "dcp": "decode_context_parallel",
    },
    flags=frozenset(
        ("enable-expert-parallel", "ep", "enable-lora", "enable-eplb", "trust-remote-code", "enable-auto-tool-choice")
    ),
    read=_read,
)
