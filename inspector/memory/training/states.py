"""What lives from step to step: weights and optimizer states; and what the optimizer holds while it steps."""

from __future__ import annotations

from inspector.memory.estimate import Part
from inspector.memory.training.estimate import TrainingSetup

TORCH = "torch 2.13, torch/optim; measured under fake tensors"
BITSANDBYTES = "bitsandbytes, optim/optimizer.py (Optimizer2State, block size 256): not measured here"

FULL_SIZE_STATES = {"adamw": 2, "sgd": 0, "sgd-momentum": 1}
"""Tensors of the parameter's own shape and precision that each optimizer keeps; plain SGD keeps none."""

BLOCK = 256
"""Values that share one fp32 scale in bitsandbytes' 8-bit states."""


def weights(setup: TrainingSetup, base: int, adapters: int) -> Part:
    """Bytes of the weights: all of them trained, or a frozen base with adapters beside it."""
    if setup.method == "full":
        size = setup.trained_bytes
        return Part("weights", base * size, f"{base:,} parameters x {size} B ({_kind(setup)})", TORCH)
    return Part(
        "weights",
        base * setup.frozen_bytes + adapters * setup.trained_bytes,
        f"{base:,} frozen parameters x {setup.frozen_bytes} B + {adapters:,} of the adapters x {setup.trained_bytes} B",
        "peft 0.21: adapters are fp32 (autocast_adapter_dtype)",
    )


def optimizer_states(setup: TrainingSetup, trainable: int) -> Part:
    """Bytes of the optimizer's states.

    AdamW's exp_avg and exp_avg_sq have the parameter's precision. bitsandbytes' hold a byte a value and an fp32 scale
    for every 256, 2 * (1 + 4 / 256) = 2.03125 B a parameter; tensors of less than 4,096 values stay in fp32 there,
    which is too little to show.
    """
    if setup.optimizer == "adamw-8bit":
        size = 2 * (trainable + 4 * -(-trainable // BLOCK))
        return Part("optimizer_states", size, f"{trainable:,} x 2 x (1 B + 4 B / {BLOCK})", BITSANDBYTES)
    count = FULL_SIZE_STATES[setup.optimizer]
    formula = f"{trainable:,} trainable parameters x {count} states ({setup.optimizer}) x {setup.trained_bytes} B"
    return Part("optimizer_states", trainable * count * setup.trained_bytes, formula, TORCH)


def step_temporaries(setup: TrainingSetup, trainable: int, largest: int) -> Part:
    """Bytes that the optimizer makes while it steps.

    torch's foreach AdamW makes one tensor for every parameter at once (the root of exp_avg_sq); its loop two for one
    parameter at a time (that root, and the same divided); fused kernels and SGD none.

    Args:
        trainable: parameters that train.
        largest: parameters of the largest tensor among them.
    """
    if setup.optimizer == "adamw" and setup.optimizer_impl == "foreach":
        formula = f"{trainable:,} trainable parameters x {setup.trained_bytes} B: the roots of all second moments"
        return Part("temporaries", trainable * setup.trained_bytes, formula, TORCH)
    if setup.optimizer == "adamw" and setup.optimizer_impl == "for-loop":
        formula = f"2 x the largest tensor, {largest:,} x {setup.trained_bytes} B"
        return Part("temporaries", 2 * largest * setup.trained_bytes, formula, TORCH)
    return Part("temporaries", 0, f"none ({setup.optimizer}, {setup.optimizer_impl})", TORCH)


def _kind(setup: TrainingSetup) -> str:
    return "bf16" if setup.trained_bytes == 2 else "fp32"
