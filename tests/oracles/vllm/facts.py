"""How vLLM itself reads a config.json: registry, ModelConfig, model classes (on the meta device), KV cache planner.

Run with the Python of the environment that fixtures/make_engines.py describes (vLLM 0.33 on a CPU; stub.py, beside this
file, stands for an H200):

    ORACLE/bin/python tests/oracles/vllm/facts.py CONFIGS OUT.jsonl [--workers 2]

CONFIGS is a folder of folders (configs.py makes them), each with a config.json and a model.safetensors of one tensor.
OUT gets a line a config, each from a forked child, so that nothing of one model leaks into the next: about 2 s each.
Lines that OUT has of the same config and vLLM stay: a stopped run goes on where it was.

    id, config; supported, or error
    architecture, runner, dtype, kv_heads, head_size, use_mla, max_model_len (vLLM's own)
    served_len (the smaller of 4096 and that), specs [see `described`, and how many layers],
    request_need (bytes of one request of served_len); or spec_error, which may be the default config's fault, or a
    kernel's that is not here
    given: keys that the class reads, that the config had not, and that got a value from `VALUES`
    at: the line of vLLM's code that an error came from
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import re
import signal
import sys
import tempfile
import traceback
import types
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).resolve().parent))

import stub
import torch

SERVED = 4096
"""Tokens of a request, or the model's own maximum where that is less: what llm-inspect takes by default."""

SECONDS = 150
TRIES = 40
"""Keys that one config is given at most."""

VALUES: dict[str, Any] = {
    "add_swa_attention_sink_bias": False,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "attention_value_scale": None,
    "block_dim": 2048,
    "clip_qkv": None,
    "conv_bias": True,
    "dtype": "bfloat16",
    "embedding_multiplier": 1.0,
    "expert_group_size": 1,
    "first_k_dense_replace": 1,
    "head_dim": 128,
    "hidden_act": "silu",
    "intermediate_size": 8192,
    "is_decoder": True,
    "layer_norm_eps": 1e-5,
    "layernorm_epsilon": 1e-5,
    "max_position_embeddings": 8192,
    "mla_scale_kv_lora": True,
    "mla_scale_q_lora": True,
    "moe_intermediate_size": 1024,
    "moe_layer_freq": 1,
    "mlp_bias": False,
    "moe_num_shared_experts": 1,
    "moe_shared_expert_intermediate_size": 1024,
    "n_group": 1,
    "n_head": 32,
    "n_layer": 24,
    "init_audio": False,
    "init_tts": False,
    "layer_norm_type": "rms",
    "mova_num_experts": 0,
    "norm_type": "layer_norm",
    "position_embedding_type": "absolute",
    "use_rope2d": True,
    "activation_function": "silu",
    "deepstack_layer_map": [],
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "audio_encoder_conf": {},
    "downsample_ratio": 0.5,
    "force_image_size": 448,
    "image_size": 448,
    "patch_size": 14,
    "ps_version": "v2",
    "select_layer": -1,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "original_rope": True,
    "projector_hidden_act": "gelu",
    "vision_feature_layer": -1,
    "vision_feature_select_strategy": "full",
    "n_routed_experts": 16,
    "n_shared_experts": 1,
    "norm_topk_prob": True,
    "num_expert_group": 1,
    "num_experts": 16,
    "num_experts_per_tok": 2,
    "num_local_experts": 16,
    "num_nextn_predict_layers": 1,
    "num_shared_experts": 1,
    "pad_token_id": 0,
    "partial_rotary_factor": 1.0,
    "qk_norm": False,
    "qkv_bias": False,
    "rms_norm_eps": 1e-6,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "rotary_dim": 64,
    "routed_scaling_factor": 1.0,
    "router_bias": False,
    "score_func": "sigmoid",
    "scoring_func": "softmax",
    "sliding_window": None,
    "topk_group": 1,
    "topk_method": "greedy",
    "use_bias": False,
    "use_qk_norm": False,
    "use_qkv_bias": False,
    "use_sliding_window": False,
}
"""What a key gets that a class reads and a config has not: of no weight for the cache, or as usual."""

GUESSES: tuple[tuple[str, Any], ...] = (
    (r"dropout|_prob$", 0.0),
    (r"eps(ilon)?$", 1e-6),
    (r"^(use|is|has|add|enable|no|tie|drop|with|do|apply)_|bias|norm|swish|_only$", False),
    (r"ratio|scal|factor|alpha|beta|theta|swiglu|multiplier|coef", 1.0),
    (r"stride|kernel|^n_group|merge", 2),
    (r"heads$", 16),
    (r"size|dim|width|hidden|channels|features", 1024),
    (r"^num|^n_|layers|depth|length|count|max|patches|freq|tokens", 4),
    (r"act", "silu"),
)
"""(pattern of a key's name, value): the same for other keys, encoders' mostly; the product reads what is written."""

AUDIO = ("torchaudio", "torchaudio.functional", "torchaudio.compliance", "torchaudio.compliance.kaldi")


def filters(*_: Any, **__: Any) -> torch.Tensor:
    """Stands for torchaudio's."""
    return torch.zeros(201, 128)


def load() -> None:
    """Import vLLM with its registry inspecting classes in this process, and no torchaudio."""
    import transformers  # noqa: F401  (before the stand-ins for what it may look for)

    for name in (*AUDIO, "torchaudio.transforms"):
        module: Any = types.ModuleType(name)
        module.__spec__, module.__path__ = ModuleSpec(name, None), []
        module.melscale_fbanks = filters
        module.MelSpectrogram = None
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
    """The line of one config; without its encoders where a processor asks for a tokenizer."""
    found = asked_of(folder)
    if "tokenizer" in f"{found.get('error')} {found.get('spec_error')}":
        found = asked_of(folder, language_model_only=True)
    return found


def asked_of(folder: Path, **more: Any) -> dict[str, Any]:
    """What vLLM says of one config with these arguments."""
    from vllm.engine.arg_utils import EngineArgs
    from vllm.usage.usage_lib import UsageContext

    given: dict[str, Any] = {
        "model": str(folder),
        "tokenizer": str(folder),
        "skip_tokenizer_init": True,
        "trust_remote_code": folder.joinpath("configuration_standin.py").exists(),
        "enforce_eager": True,
        **more,
    }
    try:
        model = EngineArgs(**given).create_model_config()
    except BaseException as error:
        return {"supported": False, "error": said(error), "at": where(error)} | asked_for(folder, error)
    out = model_facts(model) | limits(model)
    out["served_len"] = min(SERVED, model.max_model_len)
    try:
        whole = EngineArgs(**given, max_model_len=out["served_len"]).create_engine_config(
            UsageContext.OPENAI_API_SERVER
        )
        out["dtype"] = str(whole.model_config.dtype).split(".")[1]
        out |= cache_facts(whole)
    except BaseException as error:
        out["spec_error"], out["at"] = said(error), where(error)
        out |= asked_for(folder, error)
    return out


def asked_for(folder: Path, error: BaseException) -> dict[str, list[str]]:
    """ "missing": the path of a key that a class asked its config for, where that was what failed."""
    missing = re.search(r"'(\w+)' object has no attribute '(\w+)'", str(error))
    if missing is None:
        return {}
    read = json.loads(folder.joinpath("config.json").read_text("utf-8"))
    return {"missing": [*(path_of(read, missing[1]) or ()), missing[2]]}


def limits(model: Any) -> dict[str, Any]:
    """The layers that ModelConfig counts."""
    shape = model.model_arch_config
    return {"layers": shape.total_num_hidden_layers, "sliding_window": model.get_sliding_window()}


def path_of(config: dict[str, Any], name: str) -> list[str] | None:
    """The keys that lead to the sub-config that a class of that name is made of; None where there is none."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    for key, value in config.items():
        if isinstance(value, dict):
            if CONFIG_MAPPING_NAMES.get(value.get("model_type") or "") == name:
                return [key]
            inner = path_of(value, name)
            if inner is not None:
                return [key, *inner]
    return None


def where(error: BaseException) -> list[str]:
    """The last lines of vLLM's code, and the last of all."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "/vllm/" in frame.filename][-2:] + frames[-1:]
    return [f"{frame.filename.rsplit('site-packages/', 1)[-1]}:{frame.lineno}: {frame.line}" for frame in own]


def said(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error)[:300]}"


def cache_facts(whole: Any) -> dict[str, Any]:
    """The cache's specs, and what one request takes, by vLLM's own planner."""
    from vllm.config import set_current_vllm_config
    from vllm.platforms import current_platform
    from vllm.v1.core.single_type_kv_cache_manager import register_all_kvcache_specs
    from vllm.v1.worker.gpu.attn_utils import get_kv_cache_spec

    with set_current_vllm_config(whole):
        build(whole)
        current_platform.update_block_size_for_backend(whole)
        register_all_kvcache_specs(whole)
        specs = get_kv_cache_spec(whole)
        alignment = checkpoint_alignment(whole)
        kinds = collections.Counter(described(spec, alignment) for spec in specs.values())
        out: dict[str, Any] = {"specs": [[*kind, count] for kind, count in kinds.items()], "request_need": 0}
        if specs:
            out["request_need"] = request_need(whole, specs)
    return out


def request_need(whole: Any, specs: dict[str, Any]) -> int:
    """Bytes of one request of max_model_len."""
    try:
        from vllm.v1.core import kv_cache_planning as planning
    except ImportError:  # before 0.31
        from vllm.v1.core import kv_cache_utils as utils

        with contextlib.suppress(ImportError):  # 0.30 asks for the layout that its engine resolves
            from vllm.v1.attention.backends.utils import record_kv_cache_layout

            record_kv_cache_layout(whole.cache_config, "LBNHC")
        return int(utils._max_memory_usage_bytes_from_groups(whole, utils.get_kv_cache_groups(whole, specs)))
    from vllm.v1.attention.backends.utils import resolve_kv_cache_layout
    from vllm.v1.core.kv_cache_config_builder import get_kv_cache_config_builder
    from vllm.v1.worker.worker_base import (
        get_current_attn_backends,
        get_supported_kv_cache_layouts,
        record_kv_cache_layout,
    )

    layouts = [layout.name for layout in get_supported_kv_cache_layouts(get_current_attn_backends(whole))]
    layout = resolve_kv_cache_layout(whole, [layouts], list(specs.values()))
    record_kv_cache_layout(whole.cache_config, layout.name)
    groups = planning.get_global_kv_cache_groups(whole, [specs])
    return int(planning._max_memory_usage_bytes_from_groups(get_kv_cache_config_builder(whole), whole, groups))


def checkpoint_alignment(whole: Any) -> int | None:
    """Tokens at whose multiples the states' kernels can leave a checkpoint; None where they leave none."""
    try:
        from vllm.model_executor.layers.mamba.abstract import get_mamba_prefill_checkpoint_alignment
    except ImportError:  # before 0.33
        return None
    found: int | None = get_mamba_prefill_checkpoint_alignment(whole)
    return found


def described(spec: Any, alignment: int | None) -> tuple[Any, ...]:
    """(kind, tokens a block, bytes a page, KV heads, head size, blocks of checkpoints, their alignment)."""
    names = ("num_kv_heads", "head_size", "num_prefill_checkpoint_blocks")
    named = (*(getattr(spec, name, None) for name in names), alignment)
    return type(spec).__name__, getattr(spec, "block_size", None), spec.page_size_bytes, *named


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


def stand_in_processor() -> None:
    """A processor for the repos that have none here: nothing of the cache hangs on it."""
    from transformers.processing_utils import ProcessorMixin

    from vllm.transformers_utils import processor

    class StandIn(ProcessorMixin):  # type: ignore[misc]
        attributes: ClassVar[list[str]] = []

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return stub.Anything()

    real = processor.get_processor

    def get_processor(*args: Any, **kwargs: Any) -> Any:
        try:
            return real(*args, **kwargs)
        except Exception:
            return StandIn()

    processor.get_processor = processor.cached_get_processor = get_processor


def prepare() -> None:
    """Inspect every class once, before children are forked; then what only says that a kernel is missing here."""
    load()
    stand_in_processor()
    torch.set_num_threads(1)
    from vllm.model_executor.models import registry

    for registered in registry.ModelRegistry.models.values():
        try:
            registered.inspect_model_cls()
        except BaseException as error:
            print(said(error), file=sys.stderr)
    stub.NAMES.update(("cuda", "flashinfer"))
    with contextlib.suppress(ImportError):
        import vllm.model_executor.layers.sparse_attn_indexer as indexer

        indexer.has_deep_gemm = lambda: True
    real = getattr(stub.Stub, "get_mla_prefill_backend_cls", None)
    if real is None:  # in newer releases only
        return
    from vllm.v1.attention.backends.mla.prefill.registry import MLAPrefillBackendEnum

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


def tried(config: Path, found: dict[str, Any]) -> bool:
    """Whether a key that the class asked for got a value, and the config is worth another try."""
    missing = found.get("missing")
    if not missing or missing[-1].startswith("_"):
        return False
    guess = next((value for pattern, value in GUESSES if re.search(pattern, missing[-1])), None)
    read = json.loads(config.joinpath("config.json").read_text("utf-8"))
    inner = read
    for key in missing[:-1]:
        inner = inner.get(key)
    if not isinstance(inner, dict) or missing[-1] in inner or len(read.setdefault("given_keys", [])) >= TRIES:
        return False
    inner[missing[-1]] = VALUES.get(missing[-1], guess)
    read["given_keys"].append(".".join(missing))
    config.joinpath("config.json").write_text(json.dumps(read), "utf-8")
    return True


def kept_lines(out: Path, version: str) -> dict[str, dict[str, Any]]:
    """The lines of an earlier run of the same vLLM."""
    if not out.exists():
        return {}
    lines = (json.loads(line) for line in out.read_text("utf-8").splitlines())
    return {line["id"]: line for line in lines if line.get("vllm") == version}


def as_made(config: dict[str, Any]) -> dict[str, Any]:
    """A config without the keys that it was given."""
    made: dict[str, Any] = json.loads(json.dumps(config))
    for path in made.pop("given_keys", ()):
        *outer, key = path.split(".")
        inner = made
        for each in outer:
            inner = inner[each]
        inner.pop(key)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("configs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--again", action="store_true", help="once more those that it could not build")
    parser.add_argument("--only", nargs="*", default=(), help="parts of names of configs to run, again if need be")
    asked = parser.parse_args()
    prepare()
    import vllm

    kept = kept_lines(asked.out, vllm.__version__)
    todo = []
    kept = {name: line for name, line in kept.items() if asked.configs.joinpath(name, "config.json").exists()}
    for path in sorted(asked.configs.glob("*/config.json")):
        name, read = path.parent.name, json.loads(path.read_text("utf-8"))
        line = kept.get(name, {})
        again = any(part in name for part in asked.only) or (asked.again and "specs" not in line)
        if again or (not asked.only and as_made(line.get("config", {})) != as_made(read)):
            todo.append(path.parent)
            kept.pop(name, None)
    running: dict[int, tuple[Path, Path]] = {}
    with tempfile.TemporaryDirectory() as folder, asked.out.open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(line) + "\n" for line in kept.values())
        while todo or running:
            while todo and len(running) < asked.workers:
                config = todo.pop(0)
                answer = Path(folder) / config.name
                answer.unlink(missing_ok=True)
                process = os.fork()
                if not process:
                    child(config, answer)
                running[process] = config, answer
            process, _ = os.wait()
            config, answer = running.pop(process)
            found = json.loads(answer.read_text("utf-8")) if answer.exists() else {"crash": "ended by a signal"}
            if tried(config, found):
                todo.insert(0, config)
                continue
            read = json.loads(config.joinpath("config.json").read_text("utf-8"))
            lines.write(json.dumps({"id": config.name, "vllm": vllm.__version__, **found, "config": read}) + "\n")
            lines.flush()


if __name__ == "__main__":
    main()
