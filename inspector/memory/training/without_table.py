"""What is known of a training step of a type that has no table: weights, states and gradients, but not the peak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from inspector.memory.estimate import Part, Workload
from inspector.memory.inference.total import estimate
from inspector.memory.training.estimate import TrainingEstimate, TrainingSetup
from inspector.memory.training.objectives.models import frozen_models
from inspector.memory.training.optimizers import Trained, optimizer_states
from inspector.memory.training.sharding import Sharding
from inspector.memory.training.states import weights
from inspector.model.model import Model

UNKNOWN = ("activations", "logits", "temporaries")


def states_only(
    model: Model, workload: Workload, setup: TrainingSetup, sharding: Sharding, reason: str
) -> TrainingEstimate:
    """What is known without a table. The peak is then unknown, never a part of it."""
    base = model.parameters.total
    full = setup.method == "full"
    by_weights, by_gradients, by_states = sharding.shards
    size, none = base * setup.trained_bytes, f"unknown: {reason}"
    own, states = weights(setup, model, 0), optimizer_states(setup, Trained(base, base))
    parts: Sequence[Part] = [
        replace(own, bytes=None if own.bytes is None else _up(own.bytes, by_weights)),
        replace(states, bytes=None if states.bytes is None else _up(states.bytes, by_states))
        if full
        else Part("optimizer_states", None, none, ""),
        Part("gradients", _up(size, by_gradients), f"{base:,} x {setup.trained_bytes} B", "")
        if full
        else Part("gradients", None, none, ""),
        *(Part(name, None, none, "") for name in UNKNOWN),
        *frozen_models(model, setup, sharding, 1),
    ]
    least = sum(part.bytes or 0 for part in parts)
    return TrainingEstimate(
        workload,
        setup,
        base if full else None,
        tuple(parts),
        inference_bytes=estimate(model, workload).weights.bytes,
        warnings=(
            f"the peak is not known: {reason}; without activations it takes at least {least:,} B;"
            " `llm-inspect train MODEL --measure` (pip install 'torch>=2.13' 'peft>=0.21') runs the class itself",
        ),
        sharding=sharding,
    )


def _up(value: int, by: int) -> int:
    return -(-value // by)
