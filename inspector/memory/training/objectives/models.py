"""The models that an objective keeps on the GPU beside the one that trains: frozen, without gradients or states."""

from __future__ import annotations

from dataclasses import replace

from inspector.errors import UsageError
from inspector.memory.estimate import Part, Workload
from inspector.memory.training.estimate import TrainingSetup
from inspector.memory.training.objectives.generation import engine
from inspector.memory.training.profiles import Found
from inspector.memory.training.sharding import Sharding
from inspector.model.model import Model


def why_not(model: Model, setup: TrainingSetup, sharding: Sharding, found: Found) -> str:
    """Why nothing is known of an objective other than the model's own loss; "" where it is.

    Raises:
        UsageError: pipeline stages, whose schedules no trainer of such objectives has.
    """
    if setup.objective == "sft":
        return ""
    if sharding.pp > 1:
        raise UsageError(f"pipeline stages are known for sft alone, not for {setup.objective}", "Leave out --pp.")
    encodes = any(layer.kind == "no_cache" for layer in model.architecture.layers)
    return f"{setup.objective} is known for decoders" if encodes or "bridge" in found.profile.layers else ""


def with_own_head(model: Model, setup: TrainingSetup) -> Model:
    """The model that trains: where the objective's head gives one value, without the vocabulary's."""
    hidden = model.architecture.hidden_size
    if not setup.aim.scalar_head or hidden is None:
        return model
    counts = dict(model.parameters.by_component)
    total = model.parameters.total - counts.pop("head", 0) + hidden
    parameters = replace(model.parameters, total=total, by_component={**counts, "head": hidden})
    return replace(model, architecture=replace(model.architecture, tie_word_embeddings=False), parameters=parameters)


def beside(
    model: Model, workload: Workload, setup: TrainingSetup, sharding: Sharding, share: float
) -> tuple[Part, ...]:
    """What is on the GPU all the time beside the model that trains: frozen models, and a vLLM that does not sleep."""
    found = frozen_models(model, setup, sharding, share)
    own = engine(model, workload, setup, sharding) if setup.generates == "colocated" else None
    return (*found, own) if own else found


def frozen_models(model: Model, setup: TrainingSetup, sharding: Sharding, share: float) -> tuple[Part, ...]:
    """A part for each model beside the one that trains, as large as it is on one GPU.

    A copy has the precision that the trained model was loaded in, without adapters, and is divided as that is
    (TRL: prepare_deepspeed, prepare_fsdp).

    Args:
        share: of the parameters that one GPU has, before data parallelism divides them.
    """
    if setup.reference_model != "copy":
        return ()
    count, size = model.parameters.total, setup.frozen_bytes if setup.method != "full" else setup.trained_bytes
    divided = sharding.shards[0]
    formula = f"{count:,} frozen parameters x {size} B"
    if share != 1 or divided > 1:
        formula = f"({formula}) x {share:.4g} / {divided}"
    held = -(-int(count * size * share) // divided)
    return (Part("frozen_models", held, formula, setup.aim.source),)
