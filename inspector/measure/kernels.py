"""Fused kernels of other packages in a step on the pretend GPU: Liger's, and that of the activation xIELU.

Liger's own code runs, with all that it allocates and saves; only its Triton kernels are not launched, as they make no
tensors. Needs the packages liger-kernel and triton, no GPU.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from importlib import import_module
from types import MethodType, SimpleNamespace
from typing import Any
from unittest import mock

import torch
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

PROCESSORS = 108
"""Streaming multiprocessors of an A100: Liger sums the gradient of a norm's weight in so many rows."""


def put_kernels(model: Any, name: str, *, fused_loss: bool = False) -> None:
    """Puts kernels into a model as a trainer does: Liger's by its own function for instances (transformers'
    `apply_liger_kernel`).

    Args:
        fused_loss: with Liger's fused linear cross entropy, which makes no whole logits.
    """
    if name == "liger":
        from liger_kernel.transformers import _apply_liger_kernel_to_instance

        _apply_liger_kernel_to_instance(model, fused_linear_cross_entropy=fused_loss, cross_entropy=False)
    if name == "xielu":
        for module in model.modules():
            if type(module).__name__ == "XIELUActivation":
                module.forward = MethodType(_fused_xielu, module)


class _Xielu(torch.autograd.Function):
    """The kernel saves its input and makes its output, and the gradient (nickjbrowning/XIELU 6856ca9,
    xielu/cuda/src/xielu_impl.cu)."""

    @staticmethod
    def forward(context: Any, values: Any, positive: Any, negative: Any) -> Any:
        context.save_for_backward(values, positive, negative)
        return torch.empty_like(values)

    @staticmethod
    def backward(context: Any, *_: Any) -> Any:
        values, positive, negative = context.saved_tensors
        return torch.empty_like(values), torch.empty_like(positive), torch.empty_like(negative)


def _fused_xielu(module: Any, values: Any) -> Any:
    """`_xielu_cuda` of transformers' class (activations.py)."""
    return _Xielu.apply(values, module.alpha_p.to(values.dtype), module.alpha_n.to(values.dtype))


@contextlib.contextmanager
def kernels_in_place(name: str, model_type: str) -> Iterator[None]:
    """Where a model is built, and runs, with kernels: nothing is launched, and CUDA's properties are an A100's.

    Liger also replaces functions in transformers' modules, which are put back.
    """
    if name != "liger":
        yield
        return
    from triton.runtime.jit import KernelInterface

    import_module(CONFIG_MAPPING[model_type].__module__.replace("configuration_", "modeling_"))

    properties = SimpleNamespace(multi_processor_count=PROCESSORS, major=8, minor=0)
    answers = {
        "torch.cuda.get_device_properties": _always(properties),
        "torch.cuda.device": lambda *_: contextlib.nullcontext(),
        "torch.equal": _always(True),  # of the loss' gradient and 1
        "torch.Tensor.item": _always(1),  # how many tokens have labels
    }
    before = {key: dict(vars(module)) for key, module in _modeling().items()}
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(mock.patch.object(KernelInterface, "__getitem__", _always(_always(None))))
            for place, answer in answers.items():
                stack.enter_context(mock.patch(place, answer))
            yield
    finally:
        for key, values in before.items():
            vars(sys.modules[key]).update(values)


def _always(answer: Any) -> Any:
    """A function that gives one answer, and keeps nothing of what it is given, as mocks do."""
    return lambda *_, **__: answer


def _modeling() -> dict[str, Any]:
    """The modules of transformers' classes that are imported."""
    return {name: module for name, module in list(sys.modules.items()) if ".modeling_" in name}
