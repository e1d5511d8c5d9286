"""The models that an objective keeps on the GPU beside the one that trains: frozen, without gradients or states."""

from __future__ import annotations

from dataclasses import replace

from inspector.errors import UsageError
from inspector.memory.estimate import Part, Workload
from inspector.memory.training.estimate import TrainingSetup
from inspector.memory.training.objectives.generation import engine
from inspector.memory.training.objectives.scoring import frozen_setup
from inspector.memory.training.objectives.settings import REPOS
from inspector.memory.training.profiles import Found, find_profile
from inspector.memory.training.sharding import Sharding
from inspector.model.model import Model


def why_not(model: Model, workload: Workload, setup: TrainingSetup, sharding: Sharding, found: Found) -> str:
    """Why nothing is known of an objective other than the model's own loss; "" where it is.

    Raises:
        UsageError: what no trainer of such objectives has: pipeline stages, context parallelism, a loss over divided
            logits; see `_why_not_beside`.
    """
    if setup.objective == "sft":
        return ""
    known_for_sft = (
        (sharding.pp > 1, "pipeline stages are", "--pp"),
        (sharding.cp > 1, "context parallelism is", "--cp"),
        (sharding.loss_parallel, "a loss over divided logits is", "--loss-parallel"),
    )
    for asked, what, option in known_for_sft:
        if asked:
            raise UsageError(f"{what} known for sft alone, not for {setup.objective}", f"Leave out {option}.")
    encodes = any(layer.kind == "no_cache" for layer in model.architecture.layers)
    if (encodes and not setup.aim.headless) or "bridge" in found.profile.layers:
        return f"{setup.objective} is known for decoders"
    return _why_not_beside(model, workload, setup, sharding)


def _why_not_beside(model: Model, workload: Workload, setup: TrainingSetup, sharding: Sharding) -> str:
    """Why nothing is known of a model of its own beside this one.

    Raises:
        UsageError: the two cannot be compared, or are split.
    """
    for name in REPOS:
        repo, companion = getattr(setup, name), setup.companion(name)
        if repo is not None and companion is None:
            return f"{repo} was not read"
        if companion is None:
            continue
        if sharding.tp > 1:
            raise UsageError("a model of its own beside the one that trains is known without --tp")
        own, other = model.architecture.vocab_size, companion.model.architecture.vocab_size
        if setup.aim.shares_vocabulary and own != other:
            raise UsageError(
                f"{setup.aim.title} compares logits of one vocabulary: the model has {own or 0:,} values,"
                f" {companion.name} {other or 0:,}"
            )
        found = find_profile(companion.model.architecture, workload, frozen_setup(setup), companion.tensors)
        if isinstance(found, str):
            return f"{companion.name}: {found}"
    return ""


def with_own_head(model: Model, setup: TrainingSetup) -> Model:
    """The model that trains: without the vocabulary's head where the objective has none, or one of one value."""
    hidden = model.architecture.hidden_size
    if not (setup.aim.scalar_head or setup.aim.headless) or hidden is None:
        return model
    counts, own = dict(model.parameters.by_component), hidden if setup.aim.scalar_head else 0
    kept = counts.get("head", 0) if setup.aim.logits_made else 0
    total = model.parameters.total - counts.pop("head", 0) + kept + own
    parameters = replace(model.parameters, total=total, by_component={**counts, "head": kept + own})
    return replace(model, architecture=replace(model.architecture, tie_word_embeddings=False), parameters=parameters)


def beside(
    model: Model, workload: Workload, setup: TrainingSetup, sharding: Sharding, share: float
) -> tuple[Part, ...]:
    """What is on the GPU all the time beside the model that trains: frozen models, and a vLLM that does not sleep."""
    found = frozen_models(model, setup, sharding, share)
    own = engine(model, workload, setup, sharding) if setup.generates == "colocated" else None
    return (*found, own) if own else found


def _rewards(model: Model, setup: TrainingSetup) -> int:
    """Parameters of a frozen reward model: without the vocabulary's head, with one of one value."""
    if setup.aim.critic is None:
        return 0
    other = setup.companion("reward_repo")
    return with_own_head(other.model if other else model, replace(setup, is_critic=True)).parameters.total


def frozen_models(model: Model, setup: TrainingSetup, sharding: Sharding, share: float) -> tuple[Part, ...]:
    """A part for each model beside the one that trains, as large as it is on one GPU.

    A copy has the precision that the trained model was loaded in, without adapters, and is divided as that is
    (TRL: prepare_deepspeed, prepare_fsdp).

    Args:
        share: of the parameters that one GPU has, before data parallelism divides them.
    """
    other, rewards = setup.companion("reference_repo"), _rewards(model, setup)
    copied = setup.reference_model == "copy"
    if not copied and not rewards:
        return ()
    count = (other.model if other else model).parameters.total * copied + rewards
    size = setup.frozen_bytes if setup.method != "full" else setup.trained_bytes
    divided = sharding.shards[0]
    formula = f"{count:,} frozen parameters x {size} B" + (f" of {other.name}" if other else "")
    if share != 1 or divided > 1:
        formula = f"({formula}) x {share:.4g} / {divided}"
    held = -(-int(count * size * share) // divided)
    return (Part("frozen_models", held, formula, setup.aim.source),)
