"""`vllm serve` with the settings of a verdict, and what its log should show."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from inspector.engines.common.heads import DRAFT_TOKENS, OWN_LAYERS, DraftHead
from inspector.engines.common.load_dtype import DTYPE_NAMES, load_dtype
from inspector.engines.common.ranks import rank_device
from inspector.engines.launch import (
    Container,
    Launch,
    Verdict,
    flags,
    gib,
    loaded,
    repo_of,
    revision_flags,
    unless_given,
)
from inspector.engines.serving import Serving
from inspector.engines.vllm.loads import OVERRIDE, most_length, resolve_dtype
from inspector.engines.vllm.options import VllmOptions
from inspector.errors import UsageError
from inspector.memory.precision import STORED

AT_LOAD = {"fp8": ("--quantization", "fp8"), "int8": ("--quantization", "int8_per_channel_weight_only")}
"""What it makes of unpacked weights as it loads (vllm/model_executor/layers/quantization: the online methods)."""

_USUAL = {
    "kv_cache_dtype": "auto",
    "tensor_parallel_size": 1,
    "pipeline_parallel_size": 1,
    "data_parallel_size": 1,
}

_IMAGES = {"cuda": "vllm/vllm-openai", "rocm": "vllm/vllm-openai-rocm"}


def launch_vllm(asked: Verdict) -> Launch:
    """The command of a verdict.

    Raises:
        UsageError: vLLM does not load the model from where it is.
    """
    serving, options = asked.serving, asked.options
    weights = loaded(asked, "vLLM", AT_LOAD)
    capability = rank_device(asked.spec.cards[0]).compute_capability
    _, auto = load_dtype(asked.model, STORED, lambda named: resolve_dtype(named, asked.model.architecture, capability))
    usual = {**unless_given(options, serving.settings), **_USUAL, "dtype": DTYPE_NAMES[auto]}
    command = (
        *("vllm", "serve", weights.name, *revision_flags(asked, weights.is_path), *weights.options),
        *flags(serving.settings, usual),
        *_image_flags(asked),
        *_balance_flags(options),
        *_draft_flags(asked),
    )
    version = serving.engine_version
    most = most_length(asked.model.architecture)
    longer = most is not None and serving.settings["max_model_len"] > most
    return Launch(
        "vllm",
        version,
        "vllm",
        command,
        weights.name,
        weights.is_path,
        environment={OVERRIDE: "1"} if longer else {},
        log=log_lines(serving),
        notes=weights.notes,
    )


def _image_flags(asked: Verdict) -> list[str]:
    """The images of a prompt, where the user said how many."""
    images = asked.workload.images
    if asked.options.language_model_only or images is None or not asked.model.architecture.vision:
        return []
    return ["--limit-mm-per-prompt", json.dumps({"image": images})] if images else ["--language-model-only"]


def _balance_flags(options: VllmOptions) -> list[str]:
    """Redundant experts are a setting of the load balancer's own."""
    spare = options.num_redundant_experts
    return ["--enable-eplb", "--eplb-config", json.dumps({"num_redundant_experts": spare})] if spare else []


def _draft_flags(asked: Verdict) -> list[str]:
    if asked.draft is None:
        return []
    drafts = asked.draft.model
    method, tokens = (drafts.method, drafts.tokens) if isinstance(drafts, DraftHead) else ("draft_model", DRAFT_TOKENS)
    told: dict[str, Any] = {"method": method}
    if method != OWN_LAYERS:
        told["model"] = repo_of(replace(asked, checkpoint=asked.draft.checkpoint), "vLLM")[0]
    told["num_speculative_tokens"] = asked.options.num_speculative_tokens or tokens
    return ["--speculative-config", json.dumps(told)]


def log_lines(serving: Serving) -> tuple[str, ...]:
    """As version 0.33 words them: v1/worker/gpu_worker.py, v1/worker/gpu/model_runner.py, v1/core/kv_cache_utils.py."""
    lines, sizes, settings = [], serving.per_gpu, serving.settings
    if (weights := sizes.get("weights")) is not None:
        lines.append(f"Model loading took {gib(weights)} GiB memory")
    if (pool := sizes.get("kv_pool")) is not None:
        lines.append(f"Available KV cache memory: {gib(pool)} GiB")
    if serving.kv_tokens is not None and serving.max_concurrency is not None:
        at_once = serving.max_concurrency / settings["data_parallel_size"]
        lines.append(
            f"GPU KV cache size: {serving.kv_tokens:,} tokens, Maximum concurrency for"
            f" {settings['max_model_len']:,} tokens per request: {at_once:.2f}x"
        )
    return tuple(lines)


def vllm_container(kind: str | None, version: str | None) -> Container:
    """Its image on Docker Hub.

    Raises:
        UsageError: there is none for such devices.
    """
    if kind not in (None, *_IMAGES):
        raise UsageError(f"vLLM has no container image for {kind} devices")
    tag = f"v{version}" + (".0" if version.count(".") == 1 else "") if version else "latest"
    return Container(f"{_IMAGES[kind or 'cuda']}:{tag}", 8000)
