"""A value model that trains beside the policy, in the same step: its part of the peak."""

from __future__ import annotations

from dataclasses import replace

from inspector.errors import UsageError
from inspector.memory.estimate import Part
from inspector.memory.training.estimate import TrainingEstimate, TrainingSetup
from inspector.model.model import Model

ALWAYS = ("weights", "optimizer_states", "frozen_models")

SCORE = 4
"""Bytes of a value of generation's scores: fp32."""


def critic_setup(setup: TrainingSetup) -> TrainingSetup:
    """How the value model trains: all of it, without checkpointing, by the policy's optimizer."""
    return TrainingSetup(
        objective=setup.objective,
        is_critic=True,
        precision="bf16" if setup.adapters and setup.precision == "mixed" else setup.precision,
        optimizer=setup.optimizer,
        optimizer_bytes=setup.optimizer_bytes,
        optimizer_impl=setup.optimizer_impl,
        attention=setup.attention,
    )


def with_critic(model: Model, policy: TrainingEstimate, value: TrainingEstimate) -> TrainingEstimate:
    """The update of both: the value model's forward pass is first, and its backward pass last.

    Args:
        model: the policy's.
        policy: with the frozen models beside it.

    Raises:
        UsageError: what is split or offloaded in a way that was not looked at for two models.
    """
    sharding = policy.sharding
    if sharding.tp > 1 or sharding.cp > 1 or sharding.away:
        raise UsageError("two models that train are known without --tp, --cp and --offload")
    if value.peak is None:
        return replace(value, setup=policy.setup)
    parts = {name: _sum(name, policy, value) for name in ALWAYS}
    always = sum(part.bytes or 0 for part in parts.values())
    mine, theirs = _above(policy), _above(value)
    scores, left, again = _logits(model, policy)
    gradients = [_gradients(policy), _gradients(value)]
    old, before = (gradients[0], again) if sharding.grad_accum > 1 else (0, 0)
    phases = {
        "generation": max(mine.get("generation", 0) + scores, 2 * scores),
        "scoring": max(mine.get("scoring", 0), theirs["forward"] - theirs["loss"]),
        "forward": max(theirs["forward"] + old, theirs["loss"] + mine["forward"]) + before,
        "loss": theirs["loss"] + mine["loss"],
        "backward": left + max(theirs["loss"] + mine["backward"], theirs["backward"] + gradients[0]),
        "optimizer": theirs["optimizer"] + mine["optimizer"] + left,
    }
    phase = max(phases, key=phases.__getitem__)
    there = sum(gradients) if phase == "optimizer" or old else 0
    logits = scores + (left if phase in ("optimizer", "backward") else 0)
    rest = phases[phase] + scores - there - logits
    source = policy.setup.aim.source
    return replace(
        policy,
        parts=(
            *parts.values(),
            Part("gradients", there, "of policy and value model", source),
            Part("activations", rest, f"of both models in the {phase} phase, temporaries among them", source),
            Part(
                "logits", logits, f"{scores:,} B of scores (fp32) of an update's completions, kept all the time", source
            ),
            Part("temporaries", 0, "with the activations", source),
        ),
        peak_phase=phase,
        phases={name: always + scores + size for name, size in phases.items()},
        trainable_parameters=(policy.trainable_parameters or 0) + (value.trainable_parameters or 0),
        warnings=tuple(dict.fromkeys((*policy.warnings, *value.warnings))),
        reserved=None,
        reserved_range=None,
    )


def _sum(name: str, policy: TrainingEstimate, value: TrainingEstimate) -> Part:
    found = [part for each in (policy, value) if (part := each.part(name)) is not None]
    formula = " + ".join(f"({part.formula})" for part in found) if len(found) > 1 else found[0].formula
    return Part(name, sum(part.bytes or 0 for part in found), formula, found[0].source)


def _above(estimate: TrainingEstimate) -> dict[str, int]:
    """Each phase's peak above what lives all the time."""
    always = sum(part.bytes or 0 for part in estimate.parts if part.name in ALWAYS)
    return {name: size - always for name, size in estimate.phases.items()}


def _gradients(estimate: TrainingEstimate) -> int:
    """Bytes of all gradients on one GPU."""
    whole = (estimate.trainable_parameters or 0) * estimate.setup.trained_bytes
    return -(-whole // estimate.sharding.shards[1])


def _logits(model: Model, policy: TrainingEstimate) -> tuple[int, int, int]:
    """Bytes of an update's scores; of the logits and hidden states of a micro-batch that stay until the next; and of
    those with the probabilities of its completions, while the next one's forward pass is made."""
    setup, workload, sharding = policy.setup, policy.workload, policy.sharding
    values, tokens = model.architecture.vocab_size or 0, workload.batch * workload.context
    share = setup.scored_share(workload.context)
    kept = setup.prompt_bytes.kept if setup.prompt_bytes else 0
    scores = int(share * tokens * max(1, sharding.grad_accum) * values * SCORE)
    hidden = (len(model.architecture.layers) + 1) * tokens * (model.architecture.hidden_size or 0)
    left = kept * (tokens * values + hidden)
    return scores, left, left + int(kept * share * tokens * values)
