"""What TRL's trainers need to compute their own loss on the pretend GPU: no data, no tokenizer, no accelerator.

A trainer is made without its `__init__`, with the attributes that its loss reads. Models return what accelerate makes
them return: under autocast everything in fp32. Masks select every token: all are completions, none is padding.
"""

from __future__ import annotations

import contextlib
import types
import warnings
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import trl
from packaging.version import Version

from inspector.measure.gpu import DEVICE, MemoryLog, pretend_training_gpu, trained_shapes
from inspector.measure.step import Step, build, make_optimizer, move_to_gpu
from tests.oracles.training_grid import GRID

FUSED = Version(trl.__version__) >= Version("1.14")
"""Whether this TRL makes log-probabilities in a fused head; the ones before it make all logits."""


class MaskedLog(MemoryLog):
    """A log under which a mask selects everything, or a share of the tokens, and a number that is read is one."""

    share = 1.0
    """Of the tokens, those of completions."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default and not args[0].dtype.is_floating_point:
            return True if args[0].dtype is torch.bool else 1
        if func is torch.ops.aten.index.Tensor:
            (mask,) = (index for index in args[1] if index is not None) if len(args[1]) == 1 else (None,)
            if mask is not None and mask.dtype is torch.bool:
                count = int(mask.numel() * self.share) if mask.dim() > 1 else mask.numel()
                chosen = args[0].new_empty((count, *args[0].shape[mask.dim() :]))
                self._follow(chosen.untyped_storage(), str(func))
                return chosen
        if func is torch.ops.aten.nonzero.default:  # which rows are chosen: half of them
            return args[0].new_empty((max(1, args[0].numel() // 2), args[0].dim()), dtype=torch.long)
        return super().__torch_dispatch__(func, types, args, kwargs)


class Accelerator:
    """One process: what is gathered is there."""

    device = DEVICE
    num_processes = 1
    is_main_process = True
    state = types.SimpleNamespace(deepspeed_plugin=None, fsdp_plugin=None)

    def gather(self, value: Any) -> Any:
        return value

    gather_for_metrics = gather

    def reduce(self, value: Any, reduction: str) -> Any:
        del reduction
        return value

    def autocast(self) -> Any:
        return contextlib.nullcontext()  # the models' own forward passes are autocast already

    def unwrap_model(self, model: Any, **_: Any) -> Any:
        return model


@dataclass(frozen=True)
class Case:
    """One case: the step, and what it trains for. The fields are those of `TrainingSetup`."""

    objective: str
    step: Step
    reference: str = "auto"
    fp32_outputs: bool = False
    completion_tokens: int = 0
    """Of the context; 0 for all of it."""
    teacher: str = ""
    """Name in tests/oracles/training_grid.py of a reference model of its own."""
    texts: int = 0
    mini_batch: int = 0
    """Texts that are embedded at a time, or sequences that are scored at a time; 0 for all."""
    accumulated: int = 1
    """Micro-batches of an update."""

    @property
    def copies(self) -> bool:
        """Whether a reference model is on the GPU beside the one that trains."""
        adapters = self.step.method in ("lora", "qlora")
        if self.objective in ("orpo", "cpo", "simpo", "reward", "embedding"):
            return False
        return self.reference == "copy" or (self.reference == "auto" and not adapters)


def trainer_of(kind: type, **attributes: Any) -> Any:
    """A trainer with the attributes that its loss reads."""
    made = object.__new__(kind)
    made.__dict__ |= {
        "accelerator": Accelerator(),
        "args": types.SimpleNamespace(gradient_checkpointing_kwargs=None),
        "aux_loss_enabled": False,
        "_metrics": {"train": defaultdict(list)},
        "_total_train_tokens": 0,
        "_tp_size": 1,
        **attributes,
    }
    return made


def tokens(rows: int, length: int) -> dict[str, Any]:
    """Ids and masks of so many sequences."""
    ids = torch.ones(rows, length, dtype=torch.long, device=DEVICE)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "completion_mask": torch.ones_like(ids)}


def prepared(model: Any, case: Case, **head: Any) -> Any:
    """A model as the trainer prepares it: its fused head, and under autocast fp32 outputs (accelerate)."""
    if FUSED and head:
        _without_triton()
        from trl.trainer.utils import add_fused_lm_head

        add_fused_lm_head(model.get_base_model() if hasattr(model, "get_base_model") else model, **head)
    if case.step.precision == "mixed" or case.fp32_outputs:
        from accelerate.utils.operations import convert_outputs_to_fp32

        model.forward = convert_outputs_to_fp32(torch.autocast("cuda", torch.bfloat16)(model.forward))
    return model


def _without_triton() -> None:
    """The fused head's own kernels work in place on what is there: none of them needs to run."""
    from trl.kernels import chunked_logprob
    from trl.trainer import utils

    class Kernel:
        def __getitem__(self, grid: Any) -> Callable[..., None]:
            return lambda *_, **__: None

    utils._use_triton = chunked_logprob._use_triton = lambda _device: True
    chunked_logprob._forward_kernel = chunked_logprob._backward_kernel = Kernel()
    chunked_logprob.triton = types.SimpleNamespace(cdiv=lambda size, by: -(-size // by))


def of_grid(name: str) -> tuple[str, dict[str, Any]]:
    """The type and the config of a model of the grid."""
    model = next(model for model in GRID if model.name == name)
    return model.model_type, model.config()


Loss = Callable[[Any, Any, Case], Callable[[], Any]]
"""The model that trains, the reference or None, the case -> what computes the loss."""


def measure(model_type: str, config: dict[str, Any], case: Case, oracle: Any) -> dict[str, int]:
    """Peak bytes of the passes and of the optimizer of the second step, and what lives between steps.

    Args:
        oracle: the objective's module here: `loss_of` (a `Loss`) makes the loss of its own trainer, HEAD are the
            arguments of the policy's fused head, and `built` makes a class of its own.
    """
    warnings.simplefilter("ignore")
    step = case.step
    model = getattr(oracle, "built", build)(model_type, config, step)
    reference = None
    if case.copies:
        whole = "full" if step.precision != "mixed" or step.method == "full" else step.method
        precision = step.precision if whole == "full" else "bf16"
        frozen = replace(step, method="full", precision=precision, checkpointing="none")
        reference = build(*(of_grid(case.teacher) if case.teacher else (model_type, config)), frozen).eval()
    memory = MaskedLog(trained_shapes(model))
    if case.completion_tokens:
        memory.share = case.completion_tokens / (step.context - 1)
    with pretend_training_gpu(memory) as log:
        move_to_gpu(model)
        peaks = {"weights": log.live}
        if reference is not None:
            move_to_gpu(reference)
            prepared(reference, case, outputs=("log_probs",))
        peaks["frozen_models"] = log.live - peaks["weights"]
        optimizer = make_optimizer(model, step)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.empty_like(parameter)
        optimizer.step()
        optimizer.zero_grad()
        between = log.live
        peaks["optimizer_states"] = between - sum(peaks.values())
        own = getattr(oracle, "prepared", prepared)
        computed = oracle.loss_of(own(model, case, **oracle.HEAD), reference, case)
        log.reset_peak()
        loss = computed()
        peaks["forward"] = log.peak
        log.reset_peak()
        loss.backward()
        del loss
        peaks["backward"] = log.peak
        log.reset_peak()
        peaks["gradients"] = log.live - between
        optimizer.step()
        peaks["optimizer"] = log.peak
        peaks["peak"] = max(peaks[name] for name in ("forward", "backward", "optimizer"))
        optimizer.zero_grad()
        del optimizer, computed
    return peaks
