"""The weights on the GPU: trained, frozen, quantized; and adapters beside them."""

from __future__ import annotations

from inspector.memory.estimate import Part
from inspector.memory.precision import RECIPES
from inspector.memory.quantization.recipes import weight_bytes
from inspector.memory.training.estimate import TrainingSetup
from inspector.model.model import Model
from inspector.model.packing.registry import facts_of

PEFT = "peft 0.21: adapters are fp32 (autocast_adapter_dtype)"


def weights(setup: TrainingSetup, model: Model, trainable: int) -> Part:
    """Bytes of the weights: all of them, some of which train, or a frozen base with adapters beside it.

    Args:
        trainable: parameters that train, the adapters' where there are some.
    """
    base = model.parameters.total
    if setup.method == "full":
        size = setup.trained_bytes
        return Part("weights", base * size, f"{base:,} parameters x {size} B ({_kind(setup)})", "torch 2.13")
    if setup.method == "frozen-except":
        size = setup.frozen_bytes
        formula = f"{base:,} parameters x {size} B, of which {trainable:,} train"
        return Part("weights", base * size, formula, "torch 2.13")
    adapters = f"{trainable:,} of the adapters x {setup.trained_bytes} B"
    if setup.method == "qlora":
        frozen, formula, source = _quantized(setup, model)
        return Part("weights", frozen + trainable * setup.trained_bytes, f"{formula} + {adapters}", source)
    return Part(
        "weights",
        base * setup.frozen_bytes + trainable * setup.trained_bytes,
        f"{base:,} frozen parameters x {setup.frozen_bytes} B + {adapters}",
        PEFT,
    )


def _quantized(setup: TrainingSetup, model: Model) -> tuple[int, str, str]:
    """Bytes of a base in nf4 or int8; the rest is bf16, or under "mixed" fp32 where it is upcast."""
    if already_packed(setup, model):
        return _as_stored(setup, model)
    name = "bnb-int8" if setup.base == "int8" else "nf4-dq" if setup.double_quant else "nf4"
    recipe, counts = RECIPES[name], model.parameters.by_component
    keeps = recipe.keeps
    packed = {component: size for component, size in weight_bytes(model, name).items() if component not in keeps}
    kept = sum(count for name, count in counts.items() if name in keeps)
    experts = counts.get("experts", 0) if setup.quantize_experts else 0
    if experts and "experts" in keeps:
        packed["experts"], kept = int(experts * float(recipe.bits) / 8), kept - experts
    values = sum(counts[name] for name in packed)
    kind = {"nf4-dq": "nf4, double quantization", "bnb-int8": "LLM.int8()"}.get(name, name)
    formula = (
        f"{values:,} parameters x {float(recipe.bits):.4g} bits ({kind})"
        f" + {kept:,} unquantized x {setup.frozen_bytes} B"
    )
    upcast = "; peft 0.21, prepare_model_for_kbit_training" if setup.frozen_bytes == 4 else ""
    source = f"{recipe.source}{upcast}"
    return sum(packed.values()) + kept * setup.frozen_bytes, formula, source


def already_packed(setup: TrainingSetup, model: Model) -> bool:
    """Whether the checkpoint is packed as the adapters' base is: then what it keeps in 16 bits stays so."""
    own = model.architecture.quantization
    bits = 8 if setup.base == "int8" else 4
    if setup.method != "qlora" or own is None or own.bits != bits:
        return False
    return facts_of(own.method).under_adapters


def _as_stored(setup: TrainingSetup, model: Model) -> tuple[int, str, str]:
    """Bytes of a base that bitsandbytes has packed, as the checkpoint has it."""
    own, counted = model.architecture.quantization, model.parameters
    kept = counted.total - (own.packed_parameters if own else 0)
    size, formula = counted.stored_bytes, f"{counted.stored_bytes:,} B of the checkpoint, as it is packed"
    if setup.frozen_bytes == 4:
        size, formula = size + 2 * kept, f"{formula} + {kept:,} unpacked x 2 B more in fp32"
    return size, formula, "headers"


def _kind(setup: TrainingSetup) -> str:
    return "bf16" if setup.trained_bytes == 2 else "fp32"
