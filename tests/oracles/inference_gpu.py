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

from inspector.measure.gpu import ALLOCATOR_BLOCK, CAPABILITY, DEVICE

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


def _cuda_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,  # noqa: ARG001  (always 0 at inference)
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """`scaled_dot_product_attention` as CUDA dispatches it: flash, else memory-efficient, else math."""
    half = query.dtype in (torch.bfloat16, torch.float16)
    same_heads = query.shape[1] == key.shape[1]
    same_width = query.shape[-1] == key.shape[-1] == value.shape[-1]
    square = query.shape[-2] == key.shape[-2] or not is_causal
    flash = half and attn_mask is None and same_width and query.shape[-1] <= 256 and square
    if flash and (same_heads or enable_gqa):
        assert query.shape[-1] % 8 == 0, "CUDA would pad the heads"
        flash_attention = torch.ops.aten._scaled_dot_product_flash_attention
        return flash_attention(query, key, value, 0.0, is_causal, False, scale=scale)[0]
    if same_heads and all(tensor.shape[-1] % (8 if half else 4) == 0 for tensor in (query, value)):
        bias = attn_mask
        if bias is not None:
            if bias.dtype is torch.bool:
                bias = torch.where(bias, 0.0, torch.full((), float("-inf"), dtype=query.dtype, device=bias.device))
            if bias.shape[-1] % 16:
                # The kernel wants aligned rows: `pad_bias` in attention.cpp makes a padded copy.
                length = bias.shape[-1]
                bias = torch.nn.functional.pad(bias, (0, 16 - length % 16))[..., :length]
            bias = bias.expand(query.shape[0], query.shape[1], query.shape[2], key.shape[2])
        efficient_attention = torch.ops.aten._scaled_dot_product_efficient_attention
        return efficient_attention(query, key, value, bias, False, 0.0, is_causal, scale=scale)[0]
    math_attention = torch.ops.aten._scaled_dot_product_attention_math
    return math_attention(query, key, value, attn_mask, 0.0, is_causal, None, scale=scale, enable_gqa=enable_gqa)[0]


@contextlib.contextmanager
def pretend_gpu() -> Iterator[StorageTracker]:
    """Fake tensors on a pretend GPU, without autograd; yields the tracker."""
    _register_guard()
    tracker = StorageTracker()
    with (
        mock.patch("torch.nn.functional.scaled_dot_product_attention", _cuda_attention),
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
