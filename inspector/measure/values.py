"""Whole numbers keep their values on the pretend GPU, so that shapes that follow from them are the real ones.

Grids of patches, positions and places of image tokens are computed for real, on the CPU; a fake tensor that meets one
gets a fake twin of it, which counts on the GPU while the real one lives.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map_only

from inspector.measure.gpu import DEVICE

WHOLE = (torch.int32, torch.int64, torch.bool)
CPU = torch.device("cpu")


class ValuesKept(TorchDispatchMode):
    """Runs operations on whole numbers for real."""

    def __init__(self) -> None:
        super().__init__()
        self._twins: dict[int, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        real = [tensor for tensor in tensors if not isinstance(tensor, FakeTensor)]
        if tensors and len(real) == len(tensors):
            if func is torch.ops.aten._to_copy.default and kwargs.get("device") not in (None, CPU):
                target = kwargs.get("dtype", args[0].dtype)
                kwargs["device"] = CPU
                with _disable_current_modes():
                    made = func(*args, **kwargs)
                return made if target in WHOLE else self._twin(made)
            made = self._really(func, args, kwargs)
            # What is cast to fractions will be computed with on the GPU, and counts there.
            cast = func is torch.ops.aten._to_copy.default and made.dtype not in WHOLE
            return self._twin(made) if cast and args[0].dtype in WHOLE else made
        if not tensors and kwargs.get("dtype", torch.int64) in WHOLE and _makes_whole(func, args, kwargs):
            return self._really(func, args, kwargs)
        if func is torch.ops.aten.ne.Scalar and args[0].dtype is torch.int64:
            with _disable_current_modes():  # which images are no padding: all
                return torch.ones(args[0].shape, dtype=torch.bool)
        if func is torch.ops.aten.index.Tensor:
            with _disable_current_modes():
                places = [_places(index) for index in args[1]]
            args = (args[0], [item for group in places for item in group])
        if func is torch.ops.aten._to_copy.default and kwargs.get("device") == CPU:
            kwargs["device"] = DEVICE  # of the ids, which are on the GPU in a real step
        args, kwargs = tree_map_only(torch.Tensor, self._twin, (args, kwargs))
        return func(*args, **kwargs)

    def _really(self, func: Any, args: Any, kwargs: Any) -> Any:
        if kwargs.get("device") is not None:
            kwargs["device"] = CPU
        with _disable_current_modes():
            return func(*args, **kwargs)

    def _twin(self, tensor: torch.Tensor) -> torch.Tensor:
        """The fake tensor that stands for a real one, the same while that lives."""
        if isinstance(tensor, FakeTensor) or tensor.dim() == 0:
            return tensor
        key = tensor.untyped_storage()._cdata
        if key not in self._twins:
            size = tensor.untyped_storage().nbytes()
            self._twins[key] = torch.empty(size, dtype=torch.uint8, device=DEVICE)
            weakref.finalize(tensor.untyped_storage(), self._twins.pop, key, None)
        made = torch.empty(0, dtype=tensor.dtype, device=DEVICE)
        return made.set_(self._twins[key].untyped_storage(), tensor.storage_offset(), tensor.shape, tensor.stride())


def _makes_whole(func: Any, args: Any, kwargs: Any) -> bool:
    numbers = [leaf for leaf in tree_leaves(args) if isinstance(leaf, (int, float))]
    whole = kwargs.get("dtype") in WHOLE or (func.name().startswith("aten::arange") and "dtype" not in kwargs)
    return whole and all(isinstance(number, int) for number in numbers)


def _places(index: torch.Tensor | None) -> list[torch.Tensor | None]:
    if index is None or index.dtype is not torch.bool:
        return [index]
    if isinstance(index, FakeTensor):  # which images are no padding: all
        index = torch.ones(index.shape, dtype=torch.bool)
    return list(index.nonzero(as_tuple=True))
