"""Stands for the GPU, and for packages that only kernels use: import before anything of sglang."""

import importlib.abc
import importlib.util
import os
import sys
import tempfile
import types
import warnings
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from typing import Any

warnings.filterwarnings("ignore")
_FOLDER = os.path.join(tempfile.gettempdir(), "sglang-oracle")
os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_HOME=os.path.join(_FOLDER, "hf"),
    CUDA_VISIBLE_DEVICES="",
    TRANSFORMERS_VERBOSITY="error",
    TOKENIZERS_PARALLELISM="false",
    SGLANG_DISABLE_CUDNN_CHECK="1",
    SGLANG_CACHE_DIR=os.path.join(_FOLDER, "cache"),
)

import torch

_OPERATORS = torch.library.Library("torchvision", "FRAGMENT")
for _name in ("nms", "qnms"):
    _OPERATORS.define(_name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

KERNELS = {
    "IPython",
    "av",
    "cuda",
    "cutlass",
    "decord",
    "decord2",
    "deep_ep",
    "deep_gemm",
    "flash_attn",
    "flash_mla",
    "flashinfer",
    "humming",
    "kernels",
    "modelscope",
    "numba",
    "nvshmem",
    "quack",
    "sgl_kernel",
    "tilelang",
    "torch_memory_saver",
    "torchaudio",
    "triton_kernels",
}


class Anything:
    """Any function, class or constant of a package that is not here."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return args[0] if len(args) == 1 and callable(args[0]) and not kwargs else Anything()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything()

    def __mro_entries__(self, bases: Any) -> tuple[type, ...]:
        return (object,)

    def __getitem__(self, key: Any) -> Any:
        return Anything()

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __or__(self, other: Any) -> Any:
        return self

    __ror__ = __or__


class _Module(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything()


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self, is_package=True) if fullname.partition(".")[0] in KERNELS else None

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        module.__path__, module.__version__ = [], "99.0.0"  # type: ignore[attr-defined]


import tvm_ffi  # noqa: F401  (the real one, before the stand-ins for what it may look for)

sys.meta_path.insert(0, _Finder())

MEMORY_MIB = 143771
"""Of an H200, as its driver has it."""


def gpu(memory_mib: int = MEMORY_MIB, name: str = "NVIDIA H200", capability: tuple[int, int] = (9, 0)) -> None:
    """A GPU, for the resolution of arguments alone: call it before the imports."""
    cuda: Any = torch.cuda
    properties = types.SimpleNamespace(
        name=name,
        major=capability[0],
        minor=capability[1],
        total_memory=memory_mib * 2**20,
        multi_processor_count=132,
        L2_cache_size=50 * 2**20,
        warp_size=32,
        shared_memory_per_block_optin=232448,
        shared_memory_per_multiprocessor=233472,
        regs_per_multiprocessor=65536,
        max_threads_per_multi_processor=2048,
    )
    answers = {
        "is_available": True,
        "device_count": 1,
        "current_device": 0,
        "set_device": None,
        "synchronize": None,
        "empty_cache": None,
        "get_device_properties": properties,
        "get_device_capability": capability,
        "get_device_name": name,
        "mem_get_info": (memory_mib * 2**20, memory_mib * 2**20),
    }
    for function, answer in answers.items():
        setattr(cuda, function, lambda *args, answer=answer, **kwargs: answer)
    torch.version.cuda = "13.0"


def scalar_types() -> None:
    """sgl_kernel's scalar types are vLLM's file of that name, pure Python: GPTQ and AWQ are checked against them."""
    for folder in sys.path:
        file = os.path.join(folder, "vllm", "scalar_type.py")
        if os.path.exists(file):
            spec: Any = importlib.util.spec_from_file_location("sgl_kernel.scalar_type", file)
            module = importlib.util.module_from_spec(spec)
            sys.modules["sgl_kernel.scalar_type"] = module
            spec.loader.exec_module(module)
            return


scalar_types()
