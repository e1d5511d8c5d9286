"""A pretend GPU for fake tensors, with autograd and autocast on it, and a log of its memory.

A training step is followed as a list of births and deaths of storages. Peaks come from the log; so do the
coefficients of fixtures/make_training.py, which runs the same step at several sizes and compares the logs.
Needs torch and a C++ compiler, no GPU.
"""

from __future__ import annotations

import contextlib
import gc
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

from inspector.errors import InspectError

DEVICE = torch.device("cuda", 0)
CAPABILITY = (8, 0)
"""An A100: flash attention and grouped matrix multiplication exist, cuDNN attention is not preferred."""

ALLOCATOR_BLOCK = 512
"""CUDA's caching allocator rounds every block up to this (kMinBlockSize in c10/cuda/CUDACachingAllocator.cpp)."""

_GUARD = """
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
namespace {
using namespace c10;
const Device DEVICE(DeviceType::CUDA, 0);
// The autograd engine asks for streams and waits for events; one device with one stream has nothing to wait for.
struct Guard final : impl::NoOpDeviceGuardImpl<DeviceType::CUDA> {
  Device exchangeDevice(Device) const override { return DEVICE; }
  Device getDevice() const override { return DEVICE; }
  Stream getStream(Device) const noexcept override { return Stream(Stream::DEFAULT, DEVICE); }
  Stream exchangeStream(Stream) const noexcept override { return Stream(Stream::DEFAULT, DEVICE); }
  void record(void**, const Stream&, const DeviceIndex, const EventFlag) const override {}
  void block(void*, const Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
};
C10_REGISTER_GUARD_IMPL(CUDA, Guard);
// It also asks which accelerator there is.
struct Hooks final : at::CUDAHooksInterface {
  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  DeviceIndex deviceCount() const override { return 1; }
  DeviceIndex getCurrentDevice() const override { return 0; }
  DeviceIndex current_device() const override { return 0; }
  int getNumGPUs() const override { return 1; }
};
// torch asked for its hooks while it was imported and keeps that object, so the answers are changed in place: neither
// class has fields, and both have the same functions in the same order.
[[maybe_unused]] const bool installed = [] {
  static Hooks hooks;
  static_assert(sizeof(Hooks) == sizeof(at::CUDAHooksInterface));
  auto& existing = const_cast<at::CUDAHooksInterface&>(at::detail::getCUDAHooks());
  *reinterpret_cast<void**>(&existing) = *reinterpret_cast<void**>(&hooks);
  return true;
}();
}
"""


def register_gpu() -> None:
    """Gives this process a no-op CUDA device guard and the hooks that name it: once, and not beside another guard."""
    root = Path(torch.__file__).parent
    key = hashlib.sha256(f"{_GUARD}{torch.__version__}".encode()).hexdigest()[:16]
    library = Path(tempfile.gettempdir()) / f"llm_inspect_fake_cuda_training_{key}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory() as folder:
            source, built = Path(folder, "guard.cpp"), Path(folder, "guard.so")
            source.write_text(_GUARD)
            libraries = [f"-L{root / 'lib'}", "-lc10", "-ltorch_cpu"]
            options = ["-std=c++20", "-shared", "-fPIC", f"-I{root / 'include'}"]
            _compile(["g++", str(source), *options, *libraries, "-o", str(built)])
            built.replace(library)
    torch.ops.load_library(str(library))


def _compile(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        raise InspectError("--measure needs a C++ compiler, and there is no g++", "apt install g++") from None
    except subprocess.CalledProcessError as failure:
        reason = failure.stderr.decode(errors="replace").strip().splitlines()
        raise InspectError(
            "the pretend GPU of --measure could not be compiled", reason[-1][:200] if reason else ""
        ) from None


KERNELS = {
    "bitsandbytes::gemm_4bit": "_four_bit_product",
    "bitsandbytes::int8_vectorwise_quant": "_eight_bit_rows",
    "bitsandbytes::int8_mixed_scaled_mm": "_eight_bit_product",
}
"""Kernels whose shape functions say less than what they do on CUDA -> the method that does it."""


class MemoryLog(TorchDispatchMode):
    """Every birth (+bytes) and death (-bytes) of a storage on the pretend GPU, in order, with named marks between.

    `events` holds the storages' own bytes, `births` the index of the storage's first event, and `origins` what made
    it; `live` and the peak count blocks of the allocator, as a GPU would.

    Args:
        weights: shapes of what trains, whose gradients are summed as on a GPU. Of other tensors sums stay as of fakes:
            no peak of a plain step moves by them (176 compared), and the tables of objectives were made so.
    """

    def __init__(self, weights: frozenset[torch.Size] = frozenset()) -> None:
        super().__init__()
        self.weights = weights
        self.live = 0
        self.peak = 0
        self.events: list[int] = []
        self.origins: list[str] = []
        self.births: list[int] = []
        self.marks: list[tuple[str, int]] = []
        self._born: dict[int, int] = {}

    def mark(self, name: str) -> None:
        """Give the moment between two events a name."""
        self.marks.append((name, len(self.events)))

    def reset_peak(self) -> None:
        self.peak = self.live

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.add.Tensor and args[0].shape in self.weights and _summed_in_place(*args[:2]):
            func = torch.ops.aten.add_.Tensor
        if func is torch.ops.aten._local_scalar_dense.default and args[0].dtype is torch.bool:
            return True
        if func is torch.ops.aten._local_scalar_dense.default and args[0].is_floating_point():
            return 1.0  # torch's Adafactor reads norms; no shape depends on one
        if func is torch.ops.aten._grouped_mm.default and args[0].dtype is not torch.bfloat16:
            # Its shape function knows bf16 only; the kernel takes the others since torch 2.10.
            result = _grouped_mm_shape(*args[:3], **(kwargs or {}))
        elif func.name() in KERNELS:
            result = getattr(self, KERNELS[func.name()])(*args, **(kwargs or {}))
        else:
            result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and leaf.device.type == "cuda":
                self._follow(leaf.untyped_storage(), str(func))
        return result

    def _four_bit_product(
        self, left: Any, packed: Any, shape: Any, absmax: Any, block: int, kind: str, bias: Any = None, *more: Any
    ) -> Any:
        """What bitsandbytes 0.50 does on CUDA with more than some hundred rows (`_dequant_linear_fallback` of
        backends/cuda/ops.py): the scales in fp32, the whole weight in the input's precision, a plain product."""
        del packed, absmax, kind, more
        scales = left.new_empty(-(-shape[0] * shape[1] // block), dtype=torch.float32)
        weight = left.new_empty(shape)
        for made in (scales, weight):
            self._follow(made.untyped_storage(), "dequantized")
        return torch.nn.functional.linear(left, weight, bias)

    def _eight_bit_rows(self, values: Any, threshold: float = 0.0) -> Any:
        """Rows in 8 bits with a scale each, of values in fp16 among which none is an outlier; which are is looked up
        (`int8_vectorwise_quant` of backends/cuda/ops.py)."""
        scales = values.new_empty(values.numel() // values.shape[-1], dtype=torch.float32)
        rows = values.new_empty(values.shape, dtype=torch.int8)
        beside = [values.new_empty(values.shape), values.new_empty(values.shape, dtype=torch.bool)] if threshold else []
        for made in (scales, rows, *beside):
            self._follow(made.untyped_storage(), "in 8 bits")
        return rows, scales, values.new_empty(0, dtype=torch.int64) if threshold else None

    def _eight_bit_product(
        self, left: Any, rows: Any, packed: Any, scales: Any, more: Any, outliers: Any, bias: Any = None
    ) -> Any:
        """A product in int32, in fp16, and as the input is (`int8_mixed_scaled_mm` of backends/default/ops.py)."""
        del scales, more, outliers, bias
        shape = (*rows.shape[:-1], packed.shape[0])
        for dtype in dict.fromkeys((torch.int32, torch.float16, left.dtype)):
            made = left.new_empty(shape, dtype=dtype)
            self._follow(made.untyped_storage(), "in 8 bits")
            if dtype is torch.int32:
                whole = made
        del whole
        return made, left.new_empty(0)

    def _follow(self, storage: torch.UntypedStorage, origin: str) -> None:
        key = storage._cdata
        if key in self._born:
            return
        size = storage.nbytes()
        self._born[key] = len(self.events)
        self.births.append(len(self.events))
        self.events.append(size)
        self.origins.append(origin)
        self.live += _blocks(size)
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        birth = self._born.pop(key)
        size = self.events[birth]
        self.births.append(birth)
        self.events.append(-size)
        self.origins.append("")
        self.live -= _blocks(size)


def _summed_in_place(old: Any, new: Any) -> bool:
    """Whether autograd's engine adds a gradient to one that waits for it in place. Of fake tensors it never does; of
    others always, but to a view, whose base holds the storage as well (torch/csrc/autograd/input_buffer.cpp:
    can_accumulate_inplace; seen with torch.profiler): a tied head's gradient in the weights' own precision is one."""
    if torch._C._current_graph_task_id() == -1 or torch.is_grad_enabled() or not isinstance(new, torch.Tensor):
        return False
    return old.shape == new.shape and old.dtype == new.dtype and not old._is_view()


def trained_shapes(model: torch.nn.Module) -> frozenset[torch.Size]:
    """The shapes of what trains, for a log."""
    return frozenset(parameter.shape for parameter in model.parameters() if parameter.requires_grad)


def _blocks(size: int) -> int:
    return -(-size // ALLOCATOR_BLOCK) * ALLOCATOR_BLOCK


def _grouped_mm_shape(left: torch.Tensor, right: torch.Tensor, offs: torch.Tensor, **_options: Any) -> torch.Tensor:
    """Rows in groups times one matrix a group; or, for a weight's gradient, columns in groups: one product a group."""
    if right.dim() == 3:
        return left.new_empty(left.shape[0], right.shape[-1])
    return left.new_empty(offs.shape[0], left.shape[0], right.shape[-1])


def cuda_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """`scaled_dot_product_attention` as CUDA dispatches it: flash, else memory-efficient, else math."""
    if torch.is_autocast_enabled("cuda"):
        # It stands in autocast's lower-precision list (aten/src/ATen/autocast_mode.h).
        half_type = torch.get_autocast_dtype("cuda")
        query, key, value = (tensor.to(half_type) for tensor in (query, key, value))
        if attn_mask is not None and attn_mask.is_floating_point():
            attn_mask = attn_mask.to(half_type)
        with _no_autocast():
            return cuda_attention(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)
    half = query.dtype in (torch.bfloat16, torch.float16)
    same_heads = query.shape[1] == key.shape[1]
    same_width = query.shape[-1] == key.shape[-1] == value.shape[-1]
    square = query.shape[-2] == key.shape[-2] or not is_causal
    flash = half and attn_mask is None and same_width and query.shape[-1] <= 256 and square
    if flash and (same_heads or enable_gqa):
        width = query.shape[-1]
        if width % 8:
            # `pad_last_dim<8>` of attention.cpp; the output is a view of the padded one.
            scale = scale if scale is not None else width**-0.5
            query, key, value = (torch.nn.functional.pad(x, (0, 8 - width % 8)) for x in (query, key, value))
        flash_attention = torch.ops.aten._scaled_dot_product_flash_attention
        return flash_attention(query, key, value, dropout_p, is_causal, False, scale=scale)[0][..., :width]
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
        grad = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (query, key, value))
        efficient_attention = torch.ops.aten._scaled_dot_product_efficient_attention
        return efficient_attention(query, key, value, bias, grad, dropout_p, is_causal, scale=scale)[0]
    math_attention = torch.ops.aten._scaled_dot_product_attention_math
    return math_attention(query, key, value, attn_mask, dropout_p, is_causal, None, scale=scale, enable_gqa=enable_gqa)[
        0
    ]


@contextlib.contextmanager
def _no_autocast() -> Iterator[None]:
    torch.set_autocast_enabled("cuda", False)
    try:
        yield
    finally:
        torch.set_autocast_enabled("cuda", True)


def autocast(enabled: bool) -> Any:
    return torch.autocast("cuda", torch.bfloat16, enabled=enabled)


@contextlib.contextmanager
def pretend_training_gpu(log: MemoryLog | None = None) -> Iterator[MemoryLog]:
    """Fake tensors with autograd on a pretend GPU; yields the log. Garbage is not collected within: a run repeats.

    Args:
        log: one of the caller's own kind.
    """
    register_gpu()
    log = log or MemoryLog()
    collecting = gc.isenabled()
    gc.collect()
    gc.freeze()  # what is there by now, the libraries above all, need not be looked through again
    gc.disable()
    try:
        with (
            mock.patch("torch.nn.functional.scaled_dot_product_attention", cuda_attention),
            mock.patch("torch.cuda.get_device_capability", return_value=CAPABILITY),
            # transformers treats fake tensors as tracing, and then builds masks that it skips on a real run.
            mock.patch("transformers.utils.import_utils.is_fake_tensor", return_value=False),
            # torch.autocast's front door asks for a real GPU.
            mock.patch("torch.cuda.amp.common.amp_definitely_not_available", return_value=False),
            mock.patch("torch.cuda.is_bf16_supported", return_value=True),
            torch.autograd.set_multithreading_enabled(False),
            FakeTensorMode(allow_non_fake_inputs=True),
            log,
        ):
            yield log
    finally:
        if collecting:
            gc.enable()
