"""Memory of training, by the article's formulas. The exact ones are not here yet."""

from __future__ import annotations

from dataclasses import dataclass

from inspector.errors import UsageError
from inspector.memory.article import GRADIENT_BYTES, OPTIMIZER_BYTES, SOURCE
from inspector.memory.estimate import Part, Workload
from inspector.memory.inference import estimate
from inspector.model.model import Model


@dataclass(frozen=True, slots=True)
class TrainingEstimate:
    """Memory of one training step, in bytes; `peak` is None where a part is unknown."""

    workload: Workload
    optimizer: str
    trainable_parameters: int
    weights: Part
    kv_cache: Part
    activations: Part
    gradients: Part
    optimizer_states: Part
    inference_total: int | None
    warnings: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[Part, ...]:
        return (self.weights, self.kv_cache, self.activations, self.gradients, self.optimizer_states)

    @property
    def peak(self) -> int | None:
        total = 0
        for part in self.parts:
            if part.bytes is None:
                return None
            total += part.bytes
        return total

    @property
    def ratio_to_inference(self) -> float | None:
        """Peak over the article's inference total, which its rule of thumb puts at 4 to 6."""
        if self.peak is None or not self.inference_total:
            return None
        return self.peak / self.inference_total


def article_training(
    model: Model, workload: Workload, optimizer: str = "adamw", trainable_parameters: int | None = None
) -> TrainingEstimate:
    """weights + KV cache + activations + (optimizer + gradients) x trainable parameters.

    Args:
        model: the model to train.
        workload: context, batch and precision; its formulas must be "article".
        optimizer: a key of `OPTIMIZER_BYTES`.
        trainable_parameters: all of the model's where None.

    Raises:
        UsageError: the article knows no such optimizer, or more trainable parameters than there are.
    """
    if optimizer not in OPTIMIZER_BYTES:
        raise UsageError(f"the article has no optimizer '{optimizer}'", f"It knows {', '.join(OPTIMIZER_BYTES)}.")
    total = model.parameters.total
    trainable = total if trainable_parameters is None else trainable_parameters
    if not 0 <= trainable <= total:
        raise UsageError(f"trainable parameters must be between 0 and {total:,}")
    inference = estimate(model, workload)
    state_bytes = OPTIMIZER_BYTES[optimizer]
    return TrainingEstimate(
        workload,
        optimizer,
        trainable,
        weights=inference.weights,
        kv_cache=inference.kv_cache,
        activations=inference.activations,
        gradients=Part(
            "gradients",
            trainable * GRADIENT_BYTES,
            f"{trainable:,} trainable parameters x {GRADIENT_BYTES} B",
            SOURCE,
        ),
        optimizer_states=Part(
            "optimizer_states",
            trainable * state_bytes,
            f"{trainable:,} trainable parameters x {state_bytes} B ({optimizer})",
            SOURCE,
        ),
        inference_total=inference.total,
        warnings=inference.warnings,
    )
