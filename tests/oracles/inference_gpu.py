"""A pretend CUDA device for fake tensors, and a tracker of every storage that lives on it.

Three things make torch's FakeTensorMode on a CPU-only build behave as on a GPU:
- a device guard for "cuda" (one device, every call a no-op), a ten-line C++ extension built on first use;
- `scaled_dot_product_attention` routed by CUDA's rules (aten/src/ATen/native/transformers/cuda/sdp_utils.cpp);
- answers to the few questions that read a value (`if mask.all()`): every mask here is all ones.
"""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from inspector.measure.gpu import ALLOCATOR_BLOCK, CAPABILITY, DEVICE, cuda_attention

_GUARD = """
#include <c10/core/impl/DeviceGuardImplInterface.h>
namespace {
using Guard = c10::impl::NoOpDeviceGuardImpl<c10::DeviceType::CUDA>;
C10_REGISTER_GUARD_IMPL(CUDA, Guard);
}
"""


def _register_guard() -> None:
    """Gives this process a no-op CUDA device guard: dispatching a fake "cuda" copy or comparison asks for one."""
    root = Path(torch.__file__).parent
    key = hashlib.sha256(f"{_GUARD}{torch.__version__}".encode()).hexdigest()[:16]
    library = Path(tempfile.gettempdir()) / f"llm_inspect_fake_cuda_guard_{key}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory() as folder:
            source, built = Path(folder, "guard.cpp"), Path(folder, "guard.so")
            source.write_text(_GUARD)
            options = ["-std=c++20", "-shared", "-fPIC", f"-I{root / 'include'}", f"-L{root / 'lib'}", "-lc10"]
            subprocess.run(["g++", str(source), *options, "-o", str(built)], check=True)
            built.replace(library)
    torch.ops.load_library(str(library))


class StorageTracker(TorchDispatchMode):
    """Follows every storage from the operation that made it to the death of its last reference.

    Only what an operation returns is counted, as on a GPU, where kernels keep no memory of their own (cuBLAS's
    workspace, a constant 8 to 32 MiB, is overhead). `live` counts what was born while the mode was on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        self.peak = 0
        self.at_peak: list[tuple[int, str]] = []
        self._sizes: dict[int, tuple[int, str]] = {}

    def reset_peak(self) -> None:
        self.peak, self.at_peak = self.live, list(self._sizes.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default and args[0].dtype is torch.bool:
            return True
        if func is torch.ops.aten._grouped_mm.default and args[0].dtype is not torch.bfloat16:
            # Its shape function knows bf16 only; the kernel takes the others since torch 2.10.
            result = args[0].new_empty(args[0].shape[0], args[1].shape[-1])
        else:
            result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and leaf.device.type == "cuda":
                self._follow(leaf.untyped_storage(), str(func))
        return result

    def _follow(self, storage: torch.UntypedStorage, origin: str) -> None:
        key = storage._cdata
        if key in self._sizes:
            return
        size = -(-storage.nbytes() // ALLOCATOR_BLOCK) * ALLOCATOR_BLOCK
        self._sizes[key] = (size, origin)
        self.live += size
        weakref.finalize(storage, self._forget, key)
        if self.live > self.peak:
            self.reset_peak()

    def _forget(self, key: int) -> None:
        self.live -= self._sizes.pop(key)[0]


@contextlib.contextmanager
def pretend_gpu() -> Iterator[StorageTracker]:
    """Fake tensors on a pretend GPU, without autograd; yields the tracker."""
    _register_guard()
    tracker = StorageTracker()
    with (
        mock.patch("torch.nn.functional.scaled_dot_product_attention", cuda_attention),
        mock.patch("torch.cuda.get_device_capability", return_value=CAPABILITY),
        # transformers treats fake tensors as tracing, and then builds masks that it skips on a real run.
        mock.patch("transformers.utils.import_utils.is_fake_tensor", return_value=False),
        FakeTensorMode(allow_non_fake_inputs=True),
        tracker,
        torch.no_grad(),
    ):
        yield tracker


def move_to_gpu(model: torch.nn.Module) -> None:
    """Replaces a meta model's parameters and buffers by fake ones on the pretend GPU."""
    twins: dict[int, torch.Tensor] = {}

    def twin(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in twins:
            twins[id(tensor)] = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=DEVICE)
        return twins[id(tensor)]

    originals = list(model.parameters()) + list(model.buffers())  # alive, so that their ids stay theirs
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = torch.nn.Parameter(twin(parameter), requires_grad=False)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = twin(buffer)
    del originals
