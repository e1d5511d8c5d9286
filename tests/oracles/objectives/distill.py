"""TRL's DistillationTrainer: its own `_compute_loss`, whose kernels work in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from inspector.measure.gpu import autocast
from inspector.measure.step import Step
from tests.oracles.objectives.gkd import TEACHERS
from tests.oracles.objectives.harness import FUSED, Case, tokens, trainer_of

__all__ = ["HEAD", "TEACHERS", "cases", "loss_of", "measures"]

HEAD: dict[str, Any] = {}


def measures() -> bool:
    """The TRL that has it in its stable API."""
    return FUSED


def loss_of(model: Any, reference: Any, case: Case) -> Callable[[], Any]:
    from trl.kernels import chunked_divergence
    from trl.trainer.distillation_trainer import DistillationTrainer

    class Kernel:
        def __getitem__(self, grid: Any) -> Callable[..., None]:
            return lambda *_, **__: None

    for name in ("_stats_kernel", "_jsd_kernel", "_backward_kernel"):
        setattr(chunked_divergence, name, Kernel())
    chunked_divergence._use_triton = lambda _device: True
    chunked_divergence.triton = type("Triton", (), {"cdiv": staticmethod(lambda size, by: -(-size // by))})
    trainer = trainer_of(
        DistillationTrainer,
        model=model,
        teacher_model=reference,
        beta=0.5,
        temperature=1.0,
        model_kwarg_keys=(),
        _is_vlm=False,
        _forward_redirection=lambda _wrapper, _module, method, *args, **kwargs: method(*args, **kwargs),
    )
    ids, mask = (tokens(case.step.batch, case.step.context)[name] for name in ("input_ids", "attention_mask"))
    inputs = {"prompt_ids": ids[:, :1], "completion_ids": ids[:, 1:], "prompt_mask": mask[:, :1]}
    inputs["completion_mask"] = mask[:, 1:]

    def computed() -> Any:
        with autocast(case.step.precision == "mixed"):
            return trainer._compute_loss(model, inputs, torch.ones((), device=ids.device))[0]

    return computed


def cases(step: Step) -> Iterator[Case]:
    """What is measured of one way to train."""
    if step.checkpointing == "full" or step.method == "lora":
        yield Case("distill", step, reference="copy")
