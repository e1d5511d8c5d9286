"""How vLLM itself reads a config.json: registry, ModelConfig, model classes (on the meta device), KV cache planner.

Run with the Python of the environment that fixtures/make_engines.py describes (vLLM 0.33 on a CPU; stub.py, beside this
file, stands for an H200):

    ORACLE/bin/python tests/oracles/vllm/facts.py CONFIGS OUT.jsonl [--workers 2]

CONFIGS is a folder of folders, each with a config.json and a model.safetensors of one bfloat16 or float32 tensor. OUT
gets a line a config, each from a forked child, so that nothing of one model leaks into the next: about 2 s each.

    id, config; supported, or error
    architecture, runner, dtype, kv_heads, head_size, use_mla, max_model_len (vLLM's own)
    served_len (the smaller of 4096 and that), specs [kind, block, page bytes, layers], request_need (bytes of one
    request of served_len); or spec_error, which may be the default config's fault, or a kernel's that is not here
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import signal
import sys
import tempfile
import types
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import stub
import torch

SERVED = 4096
"""Tokens of a request, or the model's own maximum where that is less: what llm-inspect takes by default."""

SECONDS = 150
AUDIO = ("torchaudio", "torchaudio.functional", "torchaudio.compliance", "torchaudio.compliance.kaldi")


def load() -> None:
    """Import vLLM with its registry inspecting classes in this process, and no torchaudio."""
    import transformers  # noqa: F401  (before the stand-ins for what it may look for)

    for name in (*AUDIO, "torchaudio.transforms"):
        module: Any = types.ModuleType(name)
        module.__spec__, module.__path__ = ModuleSpec(name, None), []
        module.melscale_fbanks = module.MelSpectrogram = None
        sys.modules[name] = module
    from vllm.model_executor.models import registry

    memo: dict[tuple[str, str], Any] = {}

    def inspect(self: Any) -> Any:
        key = (self.module_name, self.class_name)
        if key not in memo:
            memo[key] = registry._ModelInfo.from_model_cls(self.load_model_cls())
        return memo[key]

    registry._LazyRegisteredModel.inspect_model_cls = inspect


def model_facts(model: Any) -> dict[str, Any]:
    """What ModelConfig says."""
    shape = model.model_arch_config
    return {
        "supported": True,
        "architecture": model._model_info.architecture,
        "runner": model.runner_type,
        "dtype": str(model.dtype).split(".")[1],
        "max_model_len": model.max_model_len,
        "kv_heads": shape.total_num_kv_heads,
        "head_size": shape.head_size,
        "use_mla": model.use_mla,
    }


def facts(folder: Path) -> dict[str, Any]:
    """The line of one config."""
    from vllm.engine.arg_utils import EngineArgs
    from vllm.usage.usage_lib import UsageContext

    given = {
        "model": str(folder),
        "tokenizer": str(folder),
        "skip_tokenizer_init": True,
        "trust_remote_code": False,
        "enforce_eager": True,
    }
    try:
        model = EngineArgs(**given).create_model_config()
    except BaseException as error:
        return {"supported": False, "error": said(error)}
    out = model_facts(model)
    out["served_len"] = min(SERVED, model.max_model_len)
    try:
        whole = EngineArgs(**given, max_model_len=out["served_len"]).create_engine_config(
            UsageContext.OPENAI_API_SERVER
        )
        out["dtype"] = str(whole.model_config.dtype).split(".")[1]
        out |= cache_facts(whole)
    except BaseException as error:
        out["spec_error"] = said(error)
    return out


def said(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error)[:300]}"


def cache_facts(whole: Any) -> dict[str, Any]:
    """The cache's specs, and what one request takes, by vLLM's own planner."""
    from vllm.config import set_current_vllm_config
    from vllm.platforms import current_platform
    from vllm.v1.attention.backends.utils import resolve_kv_cache_layout
    from vllm.v1.core import kv_cache_planning as planning
    from vllm.v1.core.kv_cache_config_builder import get_kv_cache_config_builder
    from vllm.v1.core.single_type_kv_cache_manager import register_all_kvcache_specs
    from vllm.v1.worker.gpu.attn_utils import get_kv_cache_spec
    from vllm.v1.worker.worker_base import (
        get_current_attn_backends,
        get_supported_kv_cache_layouts,
        record_kv_cache_layout,
    )

    with set_current_vllm_config(whole):
        build(whole)
        current_platform.update_block_size_for_backend(whole)
        register_all_kvcache_specs(whole)
        specs = get_kv_cache_spec(whole)
        kinds = collections.Counter(
            (type(spec).__name__, getattr(spec, "block_size", None), spec.page_size_bytes) for spec in specs.values()
        )
        out: dict[str, Any] = {"specs": [[*kind, count] for kind, count in kinds.items()], "request_need": 0}
        if specs:
            backends = get_current_attn_backends(whole)
            layouts = [layout.name for layout in get_supported_kv_cache_layouts(backends)]
            layout = resolve_kv_cache_layout(whole, [layouts], list(specs.values()))
            record_kv_cache_layout(whole.cache_config, layout.name)
            groups = planning.get_global_kv_cache_groups(whole, [specs])
            builder = get_kv_cache_config_builder(whole)
            out["request_need"] = planning._max_memory_usage_bytes_from_groups(builder, whole, groups)
    return out


def build(whole: Any) -> None:
    """The model's class, with its weights on the meta device."""
    from vllm.distributed import parallel_state
    from vllm.model_executor.model_loader.utils import initialize_model
    from vllm.utils.torch_utils import set_default_torch_dtype
    from vllm.v1.worker.workspace import init_workspace_manager

    parallel_state.init_distributed_environment(1, 0, f"file://{tempfile.mktemp()}", 0, "gloo")
    parallel_state.initialize_model_parallel(1, 1)
    init_workspace_manager(torch.device("cpu"))
    dtype = whole.model_config.dtype
    try:
        with set_default_torch_dtype(dtype), torch.device("meta"), stub.Meta():
            initialize_model(vllm_config=whole)
    except (NotImplementedError, RuntimeError):  # a class that reads a tensor's values as it is made
        whole.compilation_config.static_forward_context.clear()
        if hasattr(whole.compilation_config, "static_all_moe_layers"):
            whole.compilation_config.static_all_moe_layers.clear()
        with set_default_torch_dtype(dtype), stub.Meta(big=True):
            initialize_model(vllm_config=whole)


def prepare() -> None:
    """Inspect every class once, before children are forked; then what only says that a kernel is missing here."""
    load()
    torch.set_num_threads(1)
    from vllm.model_executor.models import registry

    for registered in registry.ModelRegistry.models.values():
        try:
            registered.inspect_model_cls()
        except BaseException as error:
            print(said(error), file=sys.stderr)
    stub.NAMES.add("cuda")
    import vllm.model_executor.layers.sparse_attn_indexer as indexer
    from vllm.v1.attention.backends.mla.prefill.registry import MLAPrefillBackendEnum

    indexer.has_deep_gemm = lambda: True
    real = stub.Stub.get_mla_prefill_backend_cls

    def prefill(*args: Any, **kwargs: Any) -> Any:
        try:
            return real(*args, **kwargs)
        except ValueError:  # heads as small as no kernel's
            return MLAPrefillBackendEnum.FLASH_ATTN.get_class()

    stub.Stub.get_mla_prefill_backend_cls = staticmethod(prefill)


def child(folder: Path, out: Path) -> None:
    """One config's line, in a process of its own that never returns."""
    signal.alarm(SECONDS)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    try:
        found = facts(folder)
    except BaseException as error:
        found = {"crash": said(error)}
    out.write_text(json.dumps(found, default=str), "utf-8")
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("configs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    prepare()
    todo = sorted(path.parent for path in asked.configs.glob("*/config.json"))
    running: dict[int, tuple[Path, Path]] = {}
    with tempfile.TemporaryDirectory() as folder, asked.out.open("w", encoding="utf-8") as lines:
        while todo or running:
            while todo and len(running) < asked.workers:
                config = todo.pop(0)
                answer = Path(folder) / config.name
                process = os.fork()
                if not process:
                    child(config, answer)
                running[process] = config, answer
            process, _ = os.wait()
            config, answer = running.pop(process)
            found = json.loads(answer.read_text("utf-8")) if answer.exists() else {"crash": "ended by a signal"}
            read = json.loads(config.joinpath("config.json").read_text("utf-8"))
            lines.write(json.dumps({"id": config.name, **found, "config": read}) + "\n")
            lines.flush()


if __name__ == "__main__":
    main()
