"""`training_estimate`: one training step of a model on one card, and what lives at its peak."""

from __future__ import annotations

from collections.abc import Sequence

from inspector.errors import UsageError
from inspector.memory.estimate import Estimate, Part, Workload
from inspector.memory.inference import OVERHEAD_BYTES, estimate
from inspector.memory.training.estimate import TrainingEstimate, TrainingSetup
from inspector.memory.training.lora import adapter_parameters
from inspector.memory.training.phases import PHASES, Moment, moments
from inspector.memory.training.sizes import MissingSize, Sizes, sizes_of
from inspector.memory.training.states import optimizer_states, step_temporaries, weights
from inspector.memory.training.table import Layer, Piece, Profile, TypeTable, known_types, read_table
from inspector.model.layers import SlidingAttention
from inspector.model.model import Architecture, Model

UNKNOWN = ("activations", "logits", "temporaries")


def training_estimate(model: Model, workload: Workload, setup: TrainingSetup) -> TrainingEstimate:
    """The peak of one training step, with what lives at it.

    Assumed: one card; no gradients left over from an earlier micro-batch; every token has a label and none is padding;
    dropout as the class has it by default; the model's own loss in fp32.

    Args:
        model: the model to train.
        workload: context and batch of one micro-batch; its precision is not looked at, `setup` has its own.
        setup: how it is trained.

    Raises:
        UsageError: a context or batch below 1.
    """
    if workload.context < 1 or workload.batch < 1:
        raise UsageError("context and batch must be at least 1")
    inference = estimate(model, workload)
    found = _find_profile(model.architecture, workload, setup)
    if isinstance(found, str):
        return _states_only(model, workload, setup, found)
    table, profile, layers, embedding = found
    sizes = sizes_of(model.architecture, batch=workload.batch, context=workload.context, rank=setup.lora_rank)
    try:
        passes = moments(profile, layers, embedding, sizes)
        adapters = adapter_parameters(layers, sizes) if setup.method == "lora" else 0
        largest = _largest_tensor(sizes, setup)
    except MissingSize as missing:
        return _states_only(model, workload, setup, f"config.json does not give {missing}")
    base = model.parameters.total
    trainable = adapters if setup.method == "lora" else base
    step = step_temporaries(setup, trainable, largest)
    optimizer = Moment("optimizer", trainable * setup.trained_bytes, 0, 0, step.bytes or 0)
    largest_of = {
        phase: max((m for m in [*passes, optimizer] if m.phase == phase), key=lambda m: m.total) for phase in PHASES
    }
    peak = max(largest_of.values(), key=lambda moment: moment.total)
    steady = (weights(setup, base, adapters), optimizer_states(setup, trainable))
    always = sum(part.bytes or 0 for part in steady)
    source = f"inspector/data/training/{model.architecture.model_type}.json: {table.versions}, under fake tensors"
    return TrainingEstimate(
        workload,
        setup,
        trainable,
        parts=(*steady, *_parts_of(peak, step, trainable, setup, layers, sizes, source)),
        peak_phase=peak.phase,
        phases={phase: always + moment.total for phase, moment in largest_of.items()},
        inference_bytes=inference.weights.bytes,
        warnings=(*inference.warnings, *_warnings(model, setup)),
    )


def training_total(training: TrainingEstimate) -> Estimate:
    """A training estimate in the form that `inspector.hardware.check_fit` takes: the peak, and what lives on the card
    beside torch's tensors."""
    steady = training.parts[0]
    rest = None if training.peak is None else training.peak - (steady.bytes or 0)
    return Estimate(
        training.workload,
        weights=steady,
        kv_cache=Part("kv_cache", 0, "none while training", "use_cache=False"),
        activations=Part("training", rest, "all but the weights at the peak", ""),
        overhead=Part("overhead", OVERHEAD_BYTES, "CUDA context, kernels and libraries", "see inference.py"),
        kv_bytes_per_token=0,
        kv_dtype=None,
    )


def _find_profile(
    architecture: Architecture, workload: Workload, setup: TrainingSetup
) -> tuple[TypeTable, Profile, list[Layer], Piece] | str:
    """The table's entries for a model, or the reason why there are none."""
    model_type = architecture.model_type or ""
    table = read_table(model_type)
    if table is None:
        return f"no table for the model type '{model_type}' (there is one for {', '.join(known_types())})"
    attention = "sdpa" if setup.attention == "flash" else setup.attention
    windowed = setup.attention == "sdpa" and any(
        isinstance(layer, SlidingAttention) and workload.context >= layer.sliding_window
        for layer in architecture.layers
    )
    heads, key_value_heads = architecture.num_attention_heads, architecture.num_key_value_heads
    name = f"{setup.method}/{setup.precision}/{attention}/{setup.checkpointing}"
    if heads is not None and key_value_heads is not None and key_value_heads < heads:
        grouped = f"{name}/grouped"
        name = grouped if grouped in table.profiles or f"{grouped}/windowed" in table.profiles else name
    if windowed:
        name += "/windowed"
    profile = table.profiles.get(name)
    if profile is None:
        return f"no entry {name} in the table of '{model_type}'"
    layers = []
    for layer in architecture.layers:
        entry = profile.layers.get(layer.kind) if len(profile.layers) > 1 else next(iter(profile.layers.values()))
        if entry is None:
            return f"no entry for {layer.kind} layers in the table of '{model_type}'"
        layers.append(entry)
    tied = setup.method == "full" and architecture.tie_word_embeddings is not False
    embedding = table.tied.get(setup.precision, profile.embedding) if tied else profile.embedding
    return table, profile, layers, embedding


def _parts_of(
    peak: Moment,
    step: Part,
    trainable: int,
    setup: TrainingSetup,
    layers: Sequence[Layer],
    sizes: Sizes,
    source: str,
) -> tuple[Part, ...]:
    """The peak's shares beside weights and optimizer states."""
    if peak.phase == "optimizer":
        gradients = f"{trainable:,} trainable parameters x {setup.trained_bytes} B"
        none = "none while the optimizer steps"
        return (
            Part("gradients", peak.gradients, gradients, step.source),
            Part("activations", 0, none, source),
            Part("logits", 0, none, source),
            step,
        )
    block = layers[0].forward.end
    kept = f"{len(layers)} blocks; the first keeps {sizes.text(block)} = {sizes.bytes_of(block):,} B"
    given = "" if peak.rest >= 0 else f", less {-peak.rest:,} B that the block at work has let go of"
    return (
        Part("gradients", peak.gradients, f"of what is behind the peak, which is in the {peak.phase} pass", source),
        Part("activations", peak.kept + min(peak.rest, 0), kept + given, source),
        Part("logits", peak.logits, "logits, their fp32 copy, the loss's gradients" if peak.logits else "none", source),
        Part("temporaries", max(peak.rest, 0), f"of the stretch at work in the {peak.phase} pass", source),
    )


def _largest_tensor(sizes: Sizes, setup: TrainingSetup) -> int:
    """Parameters of the largest tensor that trains: the embedding, an MLP's matrix, or a stack of experts' matrices."""
    if setup.method == "lora":
        return sizes.product("fr")
    letters = sizes.letters
    stacked = letters.get("E", 0) * 2 * letters.get("m", letters.get("f", 0)) * sizes.product("h")
    return max(sizes.product("Vh"), sizes.product("hf"), stacked)


def _states_only(model: Model, workload: Workload, setup: TrainingSetup, reason: str) -> TrainingEstimate:
    """What is known without a table. The peak is then unknown, never a part of it."""
    base = model.parameters.total
    full = setup.method == "full"
    size = base * setup.trained_bytes
    parts = [
        weights(setup, base, 0),
        optimizer_states(setup, base) if full else Part("optimizer_states", None, reason, ""),
        Part("gradients", size, f"{base:,} x {setup.trained_bytes} B", "")
        if full
        else Part("gradients", None, reason, ""),
        *(Part(name, None, f"unknown: {reason}", "") for name in UNKNOWN),
    ]
    least = sum(part.bytes or 0 for part in parts)
    return TrainingEstimate(
        workload,
        setup,
        base if full else None,
        tuple(parts),
        inference_bytes=estimate(model, workload).weights.bytes,
        warnings=(f"the peak is not known: {reason}; without activations it takes at least {least:,} B",),
    )


def _warnings(model: Model, setup: TrainingSetup) -> tuple[str, ...]:
    found = []
    if setup.attention == "flash":
        found.append("flash: not measured; taken to keep what torch's own flash kernel keeps")
    if setup.optimizer == "adamw-8bit":
        found.append("adamw-8bit: the states follow bitsandbytes' source, and were not measured")
    if model.architecture.quantization is not None:
        found.append(f"a {model.architecture.quantization.method} checkpoint is taken as unpacked before it is trained")
    return tuple(found)
