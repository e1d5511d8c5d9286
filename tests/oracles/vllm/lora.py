"""The buffers that vLLM makes for adapters, by its own LoRA manager over model classes on the meta device.

    ORACLE/bin/python tests/oracles/vllm/lora.py CONFIGS OUT.jsonl

CONFIGS is a folder of folders, each with a config.json and a model.safetensors of one tensor. OUT gets a line a config
and degree of tensor parallelism (1, 2): id, tensor_parallel, bytes of all buffers at max_loras `LORAS` and rank `RANK`,
and modules: the last part of a module's name -> bytes of all such; or error.
"""

from __future__ import annotations

import collections
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import facts
import stub
import torch

LORAS, RANK = 2, 16


def buffers(folder: Path, tensor_parallel: int) -> dict[str, Any]:
    """What the manager's layers hold."""
    from vllm.config import set_current_vllm_config
    from vllm.config.lora import LoRAConfig
    from vllm.distributed import parallel_state
    from vllm.engine.arg_utils import EngineArgs
    from vllm.lora import model_manager
    from vllm.model_executor.model_loader.utils import initialize_model
    from vllm.usage.usage_lib import UsageContext
    from vllm.utils.torch_utils import set_default_torch_dtype
    from vllm.v1.worker.workspace import init_workspace_manager

    given = {"model": str(folder), "tokenizer": str(folder), "skip_tokenizer_init": True, "enforce_eager": True}
    whole = EngineArgs(**given, max_model_len=512).create_engine_config(UsageContext.OPENAI_API_SERVER)
    whole.lora_config = LoRAConfig(max_loras=LORAS, max_lora_rank=RANK, max_cpu_loras=LORAS)
    whole.lora_config.lora_dtype = whole.model_config.dtype
    model_manager.get_punica_wrapper = lambda *_, **__: stub.Anything()
    with set_current_vllm_config(whole):
        parallel_state.init_distributed_environment(1, 0, f"file://{tempfile.mktemp()}", 0, "gloo")
        parallel_state.initialize_model_parallel(1, 1)
        parallel_state.get_tp_group().world_size = tensor_parallel
        init_workspace_manager(torch.device("cpu"))
        with set_default_torch_dtype(whole.model_config.dtype), torch.device("meta"), stub.Meta():
            model = initialize_model(vllm_config=whole)
            stand_in_kernels(model)
            manager = model_manager.LoRAModelManager(
                model, 8, 512, whole.model_config.get_vocab_size(), whole.lora_config, torch.device("meta"), whole
            )
    sizes: collections.Counter[str] = collections.Counter()
    seen: set[int] = set()
    for name, module in manager.modules.items():
        for held in vars(module).values():
            for tensor in held if isinstance(held, tuple | list) else (held,):
                if isinstance(tensor, torch.Tensor) and tensor._base is None and id(tensor) not in seen:
                    seen.add(id(tensor))
                    if tensor.dtype == whole.model_config.dtype and tensor.shape[:1] == (LORAS,):
                        sizes[name.rsplit(".", 1)[-1]] += tensor.numel() * tensor.element_size()
    return {"bytes": sum(sizes.values()), "modules": dict(sizes)}


def stand_in_kernels(model: Any) -> None:
    """The experts' kernels, which are made only when weights are there, and which shape no buffer."""
    from types import SimpleNamespace

    from vllm.lora.layers import fused_moe

    fused_moe.FusedMoEKernelModularImpl = object
    fused_moe.FusedMoEWithLoRA.set_mapping = lambda *_: None
    fused_moe.FusedMoEModularMethod = lambda method, _: method
    impl = SimpleNamespace(shared_experts=None)
    for module in model.modules():
        if hasattr(module, "_ensure_moe_quant_config_init"):
            method = module.quant_method
            type(module)._ensure_moe_quant_config_init = lambda _: None
            for name, value in (("supports_internal_mk", True), ("is_monolithic", False)):
                setattr(type(method), name, value)
            method.moe_kernel = SimpleNamespace(impl=impl, fused_experts=None, supports_lora=lambda: True)


def child(folder: Path, tensor_parallel: int, out: Path) -> None:
    """One line, in a process of its own that never returns."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    try:
        found = buffers(folder, tensor_parallel)
    except BaseException as error:
        found = {"error": facts.said(error), "at": facts.where(error)}
    out.write_text(json.dumps(found), "utf-8")
    os._exit(0)


def main() -> None:
    configs, out = map(Path, sys.argv[1:3])
    facts.prepare()
    with tempfile.TemporaryDirectory() as scratch, out.open("w", encoding="utf-8") as lines:
        for path in sorted(configs.glob("*/config.json")):
            for tensor_parallel in (1, 2):
                answer = Path(scratch) / "answer"
                answer.unlink(missing_ok=True)
                process = os.fork()
                if not process:
                    child(path.parent, tensor_parallel, answer)
                os.waitpid(process, 0)
                found = json.loads(answer.read_text("utf-8")) if answer.exists() else {"error": "ended by a signal"}
                lines.write(json.dumps({"id": path.parent.name, "tensor_parallel": tensor_parallel, **found}) + "\n")
                lines.flush()


if __name__ == "__main__":
    main()
