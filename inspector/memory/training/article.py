"""Memory of training by the article's formulas (`--formulas article`), for comparison."""

from __future__ import annotations

from inspector.errors import UsageError
from inspector.memory.estimate import Part, Workload
from inspector.memory.inference.article import GRADIENT_BYTES, OPTIMIZER_BYTES, SOURCE
from inspector.memory.inference.total import estimate
from inspector.memory.training.estimate import TrainingEstimate, TrainingSetup
from inspector.model.model import Model
from inspector.settings import read_share


def article_training(
    model: Model, workload: Workload, optimizer: str = "adamw", trainable_parameters: int | str | None = None
) -> TrainingEstimate:
    """weights + KV cache + activations + (optimizer + gradients) x trainable parameters.

    Args:
        model: the model to train.
        workload: context, batch and precision; its formulas must be "article".
        optimizer: a key of `OPTIMIZER_BYTES`.
        trainable_parameters: a number, or a share of all ("50%"); all of the model's where None.

    Raises:
        UsageError: the article knows no such optimizer, or more trainable parameters than there are.
    """
    if optimizer not in OPTIMIZER_BYTES:
        raise UsageError(f"the article has no optimizer '{optimizer}'", f"It knows {', '.join(OPTIMIZER_BYTES)}.")
    total = model.parameters.total
    trainable = total if trainable_parameters is None else _number(trainable_parameters, total)
    if not 0 <= trainable <= total:
        raise UsageError(f"trainable parameters must be between 0 and {total:,}")
    inference = estimate(model, workload)
    state_bytes = OPTIMIZER_BYTES[optimizer]
    gradients = Part(
        "gradients", trainable * GRADIENT_BYTES, f"{trainable:,} trainable parameters x {GRADIENT_BYTES} B", SOURCE
    )
    states = Part(
        "optimizer_states",
        trainable * state_bytes,
        f"{trainable:,} trainable parameters x {state_bytes} B ({optimizer})",
        SOURCE,
    )
    return TrainingEstimate(
        workload,
        TrainingSetup(optimizer=optimizer),
        trainable,
        parts=(inference.weights, inference.kv_cache, inference.activations, gradients, states),
        inference_bytes=inference.total,
        warnings=inference.warnings,
    )


def _number(trainable: int | str, total: int) -> int:
    """So many parameters: of a share, rounded to the nearest."""
    if isinstance(trainable, int):
        return trainable
    read = read_share(trainable)
    return read if isinstance(read, int) else round(read * total)
