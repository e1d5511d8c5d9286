"""What training/ takes and hands on: a `TrainingSetup`, and a `TrainingEstimate` of the step's peak."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from inspector.errors import UsageError
from inspector.memory.estimate import Part, Workload

METHODS = ("full", "lora")
PRECISIONS = ("bf16", "fp32", "mixed")
OPTIMIZERS = ("adamw", "adamw-8bit", "sgd", "sgd-momentum")
IMPLEMENTATIONS = ("foreach", "for-loop", "fused")
ATTENTIONS = ("sdpa", "eager", "flash")
CHECKPOINTINGS = ("none", "full")

CHOICES: Mapping[str, tuple[str, ...]] = {
    "method": METHODS,
    "precision": PRECISIONS,
    "optimizer": OPTIMIZERS,
    "optimizer_impl": IMPLEMENTATIONS,
    "attention": ATTENTIONS,
    "checkpointing": CHECKPOINTINGS,
}
"""Every choice of a `TrainingSetup` and what it may be, the default first."""


@dataclass(frozen=True, slots=True)
class TrainingSetup:
    """How a model is trained, on one card.

    Attributes:
        method: "full", all parameters; "lora", low-rank adapters (arXiv 2106.09685) on every linear layer of the
            blocks, as peft's `target_modules="all-linear"` puts them, in fp32.
        precision: "fp32"; "bf16", weights, gradients and states alike; "mixed", autocast to bf16 with fp32 weights,
            gradients and states (a frozen base stays in bf16).
        optimizer: "adamw", "sgd", "sgd-momentum": torch's; "adamw-8bit": bitsandbytes'.
        optimizer_impl: torch's `foreach`, `for-loop` or `fused` variant.
        attention: "sdpa", "eager", or "flash" (flash_attention_2).
        checkpointing: "full" keeps only the blocks' inputs and computes the rest again in the backward pass.
        lora_rank: rank of the adapters.
    """

    method: str = "full"
    precision: str = "bf16"
    optimizer: str = "adamw"
    optimizer_impl: str = "foreach"
    attention: str = "sdpa"
    checkpointing: str = "none"
    lora_rank: int = 16

    def __post_init__(self) -> None:
        """Refuse what no run can have."""
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise UsageError(f"unknown {name.replace('_', ' ')} '{value}'", f"Known: {', '.join(choices)}.")
        if self.lora_rank < 1:
            raise UsageError("the rank of the adapters must be at least 1")
        if self.method == "lora" and self.precision == "fp32":
            raise UsageError("lora trains on a bf16 base", "Use --precision bf16, or mixed for autocast.")
        if self.attention == "flash" and self.precision == "fp32":
            raise UsageError("flash attention computes in 16 bits only", "Use --precision bf16 or mixed.")

    @property
    def trained_bytes(self) -> int:
        """Bytes of one parameter that trains, of its gradient, and of each of its full-size optimizer states."""
        return 2 if self.method == "full" and self.precision == "bf16" else 4

    @property
    def frozen_bytes(self) -> int:
        """Bytes of one parameter that does not train."""
        return 2


@dataclass(frozen=True, slots=True)
class TrainingEstimate:
    """Memory of one training step on one card, in bytes.

    Attributes:
        workload: context, batch and formulas.
        setup: how it is trained.
        trainable_parameters: those that the optimizer changes; None where the adapters' are not known.
        parts: what lives at the peak; they sum to it.
        peak: None where a part is unknown.
        peak_phase: the phase with the peak: forward, loss, backward or optimizer. None under the article's formulas.
        phases: phase -> its own peak.
        inference_bytes: what the ratio is taken of: the weights at inference, or the article's inference total.
        warnings: what the reader of the numbers should know.
    """

    workload: Workload
    setup: TrainingSetup
    trainable_parameters: int | None
    parts: tuple[Part, ...]
    peak_phase: str | None = None
    phases: Mapping[str, int] = field(default_factory=dict)
    inference_bytes: int | None = None
    warnings: tuple[str, ...] = ()

    @property
    def optimizer(self) -> str:
        return self.setup.optimizer

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
        """Peak over `inference_bytes`; the article's rule of thumb puts it at 4 to 6."""
        if self.peak is None or not self.inference_bytes:
            return None
        return self.peak / self.inference_bytes

    def part(self, name: str) -> Part | None:
        """The part of that name, where there is one."""
        return next((part for part in self.parts if part.name == name), None)
