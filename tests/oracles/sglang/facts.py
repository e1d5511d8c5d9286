"""How SGLang itself reads a config.json: its arguments' resolution, ModelConfig, and the sizes of its memory pools.

Run with the Python of the environment that fixtures/make_engines_sglang.py describes (SGLang 0.5.23 on a CPU; stub.py,
beside this file, stands for an H200):

    ORACLE/bin/python tests/oracles/sglang/facts.py CONFIGS OUT.jsonl [--workers 2]

CONFIGS is a folder of folders, each with a config.json and a model.safetensors of one tensor. OUT gets a line a config,
each from a forked child, so that nothing of one model leaks into the next: 574 in two minutes.

    id, config; native: the architecture is in SGLang's own registry
    refused: why its ModelConfig, or its backend for transformers' classes, does not take it
    error: what went wrong later, which may be a default config's fault, or a package's that is not here
    dtype, context_len, mem_fraction_static, page_size, latent (MLA), windows (a pool of its own for window layers)
    kv_cache_dtype, quantization
    tokens: of a pool of `POOL` bytes; requests: that its state slots allow at once, of models with states
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import stub
import torch

POOL = 100 * 2**30
"""Bytes of the pool that is divided into tokens."""

SECONDS = 60


def load() -> Any:
    """Import SGLang with an H200 for its arguments; returns the modules that are asked."""
    import logging
    from types import SimpleNamespace

    stub.gpu()
    from sglang.srt import runtime_context
    from sglang.srt.arg_groups import model_override_base, overrides
    from sglang.srt.configs import hybrid_arch, model_config
    from sglang.srt.mem_cache import kv_cache_configurator, kv_cache_dtype
    from sglang.srt.model_executor import pool_configurator
    from sglang.srt.model_executor.model_runner_components import layer_setup
    from sglang.srt.model_loader import utils
    from sglang.srt.server_args import ServerArgs

    logging.disable(logging.CRITICAL)
    return SimpleNamespace(
        context=runtime_context,
        models=model_override_base,
        overrides=overrides,
        hybrid=hybrid_arch,
        config=model_config,
        pools=kv_cache_configurator,
        dtypes=kv_cache_dtype,
        sizes=pool_configurator,
        layers=layer_setup,
        loader=utils,
        ServerArgs=ServerArgs,
    )


def registry() -> dict[str, str]:
    """Architecture -> file of SGLang's models, by their `EntryClass`: what a whole installation would import."""
    import ast

    import sglang

    found: dict[str, str] = {}
    for file in sorted(Path(sglang.__file__).parent.glob("srt/models/*.py")):
        for node in ast.parse(file.read_text("utf-8")).body:
            if not isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
                continue
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(getattr(target, "id", None) == "EntryClass" for target in targets):
                classes = node.value.elts if isinstance(node.value, (ast.List, ast.Tuple)) else [node.value]
                found |= {each.id: file.name for each in classes if isinstance(each, ast.Name)}
    return found


def said(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error)[:300]}"


def facts(sglang: Any, folder: Path, native: dict[str, str]) -> dict[str, Any]:
    """The line of one config."""
    out: dict[str, Any] = {}
    asked = sglang.ServerArgs(model_path=str(folder), device="cuda", skip_tokenizer_init=True, trust_remote_code=True)
    try:
        asked.resolve_once()
        model = sglang.models.model_config_of(asked)
    except BaseException as error:
        names = json.loads(folder.joinpath("config.json").read_text("utf-8")).get("architectures") or []
        return {"native": any(name in native for name in names), "refused": said(error)}
    names = list(model.hf_config.architectures or [])
    out["native"] = any(name in native for name in names)
    if not out["native"]:
        try:
            out["backend"] = str(sglang.loader.resolve_transformers_arch(model, names))
        except BaseException as error:
            return {**out, "refused": said(error)}
    chosen = asked.resolved_dict()
    out |= {
        "dtype": str(model.dtype).split(".")[-1],
        "context_len": model.context_len,
        "latent": model.attention_arch.name == "MLA",
        "windows": bool(model.is_hybrid_swa),
        "generates": bool(model.is_generation),
        "multimodal": bool(model.is_multimodal),
        "quantization": model.quantization,
        "mem_fraction_static": chosen.get("mem_fraction_static"),
        "page_size": chosen.get("page_size"),
    }
    try:
        out |= pool_facts(sglang, asked, model)
    except BaseException as error:
        out["error"] = said(error)
    return out


def pool_facts(sglang: Any, asked: Any, model: Any) -> dict[str, Any]:
    """The tokens of a pool of `POOL` bytes, by SGLang's own configurators."""
    context = sglang.context
    context.publish(asked, role="scheduler")
    states = sglang.hybrid.mambaish_config(model)
    pool = configurator(sglang, asked, model, states)
    out = {"kv_cache_dtype": str(pool.kv_cache_dtype).split(".")[-1]}
    sizes = sglang.sizes.create_memory_pool_configurator(pool)
    size = POOL
    if states is not None:
        size = int(pool._handle_max_mamba_cache(POOL / 2**30) * 2**30)
        slots = context.get_schedule().max_mamba_cache_size
        out |= {"slots": slots, "requests": slots // pool._calculate_mamba_ratio()}
        out["state_bytes"] = states.mamba2_cache_params.mamba_cache_per_req
    found = sizes.calculate_pool_sizes(size, context.get_schedule().page_size)
    return {**out, "tokens": found.max_total_num_tokens, "windows_tokens": found.swa_max_total_num_tokens}


def configurator(sglang: Any, asked: Any, model: Any, states: Any) -> Any:
    """A `KVCacheConfigurator` of one rank, made without a device, a model or a process group."""
    context = sglang.context
    quantized: Any = type("Quantized", (), {})
    if model.quantization is not None:
        from sglang.srt.configs.load_config import LoadConfig
        from sglang.srt.model_loader.weight_utils import get_quant_config

        quantized.quant_config = get_quant_config(model, LoadConfig(), {})
    named, dtype = sglang.dtypes.configure_kv_cache_dtype(
        server_args_kv_cache_dtype=context.get_model().kv_cache_dtype,
        model=quantized,
        model_dtype=model.dtype,
        is_draft_worker=False,
        is_dflash=False,
        speculative_draft_attention_backend=None,
    )
    from sglang.srt.speculative.spec_info import SpeculativeAlgorithm

    windows = model.sliding_window_size if model.is_hybrid_swa else None
    values = {
        "device": "cuda",
        "gpu_id": 0,
        "attn_dp_size": 1,
        "pp_size": 1,
        "pp_group": None,
        "model": None,
        "model_config": model,
        "server_args": sglang.overrides.resolving_view(asked),
        "kv_cache_dtype": dtype,
        "kv_cache_dtype_str": named or context.get_model().kv_cache_dtype,
        "model_dtype": model.dtype,
        "page_size": context.get_schedule().page_size,
        "sliding_window_size": windows,
        "spec_algorithm": SpeculativeAlgorithm.from_string(None),
        "is_draft_worker": False,
        "post_capture_kv_active": False,
        "spec_aux_config": None,
        "draft_parallel_layout": None,
        "is_hybrid_swa": model.is_hybrid_swa,
        "is_hybrid_swa_compress": model.is_hybrid_swa_compress,
        "use_mla_backend": model.attention_arch.name == "MLA",
        "layer_info": sglang.layers.resolve_layer_indices(model=None, model_config=model, is_draft_worker=False),
        "forward_stream": None,
        "req_to_token_pool": None,
        "token_to_kv_pool_allocator": None,
        "memory_pool_config": None,
        "draft_model_idx": None,
        "dflash_draft_cell_size_per_token": None,
        "extra_mamba_cache_bytes_per_req": 0,
        "mambaish_config": states,
        "hybrid_gdn_config": sglang.hybrid.hybrid_gdn_config(model),
        "hybrid_kda_config": sglang.hybrid.hybrid_kda_config(model),
        "kv_shard_rank": None,
        "kv_shard_size": 1,
        "kv_shard_spec": None,
        "kv_shard_group": None,
        "is_hybrid_swa_mtp_draft": False,
        "draft_swa_full_capacity": False,
    }
    made = object.__new__(sglang.pools.KVCacheConfigurator)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    type(made).fused_entry_bytes = lambda *_: None
    return made


def child(sglang: Any, folder: Path, native: dict[str, str], out: Path) -> None:
    """One config's line, in a process of its own that never returns."""
    signal.alarm(SECONDS)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    try:
        found = facts(sglang, folder, native)
    except BaseException as error:
        found = {"error": said(error)}
    out.write_text(json.dumps(found, default=str), "utf-8")
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("configs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    sglang, native = load(), registry()
    torch.set_num_threads(1)
    todo = sorted(path.parent for path in given.configs.glob("*/config.json"))
    facts(sglang, todo[0], native)  # what is imported late is imported once
    running: dict[int, tuple[Path, Path]] = {}
    with tempfile.TemporaryDirectory() as folder, given.out.open("w", encoding="utf-8") as lines:
        while todo or running:
            while todo and len(running) < given.workers:
                config = todo.pop(0)
                answer = Path(folder) / config.name
                process = os.fork()
                if not process:
                    child(sglang, config, native, answer)
                running[process] = config, answer
            process, _ = os.wait()
            config, answer = running.pop(process)
            found = json.loads(answer.read_text("utf-8")) if answer.exists() else {"error": "ended by a signal"}
            read = json.loads(config.joinpath("config.json").read_text("utf-8"))
            lines.write(json.dumps({"id": config.name, **found, "config": read}) + "\n")
            lines.flush()


if __name__ == "__main__":
    main()
