"""From a case's own facts, or published hyper-parameters, to the small dataclasses that inspector's engines take."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import inspector
from inspector.devices.table import find_device
from inspector.engines.common.served import Gpu, MixtureFacts, ServedModel, VisionFacts, Weights, served_model
from inspector.errors import InspectError, UsageError
from inspector.model.layers import (
    FullAttention,
    IndexedAttention,
    LatentAttention,
    Layer,
    LinearAttention,
    SlidingAttention,
    StateTensor,
)

GIB = 1024**3
MODELS = Path(__file__).parent.parent / "tests" / "memory" / "cases" / "models.json"

Facts = Mapping[str, Any]

COMPUTE_CAPABILITY = {
    "H100": (9, 0),
    "H200": (9, 0),
    "B200": (10, 0),
    "A100": (8, 0),
    "A10": (8, 6),
    "A6000": (8, 6),
    "RTX3090": (8, 6),
    "L40": (8, 9),
    "RTX4090": (8, 9),
    "RTX5090": (12, 0),
    "GB10": (12, 1),
    "24 GB": (8, 6),
    "48 GB": (8, 6),
    "T4": (7, 5),
    "RTX2060": (7, 5),
    "V100": (7, 0),
}
"""Of the GPUs that cases name; where only a size is given, that of the commonest GPUs of that size."""


def load_models(path: Path = MODELS) -> dict[str, Facts]:
    """Hyper-parameters by repo ID."""
    models = json.loads(path.read_text(encoding="utf-8"))
    return {name: facts for name, facts in models.items() if not name.startswith("_")}


PACKED: tuple[tuple[str, dict[str, Any]], ...] = (
    (r"[-.]fp8(-dynamic|-block|-static)?$", {"linear_bits": 8}),
    (r"-quantized\.w8a8$", {"linear_bits": 8, "int8_activations": True}),
    (r"-quantized\.w8a16$", {"linear_bits": 8.125}),
    (r"-quantized\.w4a16$", {"linear_bits": 4.125}),
    (r"-awq(-int4)?$", {"linear_bits": 4.15625}),
    (r"-gptq-int4$", {"linear_bits": 4.15625}),
    (r"-gptq-int8$", {"linear_bits": 8.1875}),
)
"""How repos of packed models end, and the bits a weight of their linear layers: the values' own, a 16-bit scale for
every 128, and (AWQ, GPTQ) a zero point of the values' width."""


PACKED_KINDS: dict[str, float] = {"fp8": 8, "fp8-dynamic": 8, "w8a8": 8, "int8": 8, "bnb-4bit": 4.127}
"""Bits a weight by a case's `quant`, where its model is not in the table. bitsandbytes: NF4 with double quantization,
0.127 bits a value for its constants (Dettmers et al., 2023, arXiv 2305.14314, section 3)."""


def facts_for(case: Facts, models: Mapping[str, Facts]) -> tuple[Facts | None, str]:
    """The hyper-parameters that a case runs on and where they are from; None where it names too little.

    A table entry counts only where it agrees with what the case itself says.
    """
    arch = case.get("arch") or {}
    known = _look_up(str(case.get("model_id", "")).split(" ")[0], models, named="layers" in arch)
    if known is not None and _agree(known, arch):
        return _with_type(case, _as_packed(known, case.get("quant"))), "published config"
    if "heads" in arch and "hidden" in arch and "kv_heads" not in arch:
        arch = {"kv_heads": arch["heads"], "head_dim": arch["hidden"] // arch["heads"], **arch}
    if not ("layers" in arch and ("kv_heads" in arch or "mla" in arch)):
        return None, "the case names no architecture"
    facts = _from_arch({"hidden": 0, "vocab": 0, **arch}, case.get("settings", {}).get("max_model_len"))
    facts = {**facts, **(_solved(facts) or {})}
    return _with_type(case, _as_packed(facts, case.get("quant"))), "the case's own facts"


TYPES = {
    "llama": "llama",
    "mistral": "mistral",
    "qwen3": "qwen3",
    "deepseek-v2": "deepseek_v2",
    "qwen1.5-moe": "qwen2_moe",
}
"""config.json's model_type by how a repo's name begins, where an engine's rule asks for it."""


def _with_type(case: Facts, facts: Facts) -> Facts:
    name = _bare(str(case.get("model_id", "")))
    found = next((kind for start, kind in TYPES.items() if name.startswith(start)), None)
    return {"model_type": found, **facts}


def model_of(case: Facts, models: Mapping[str, Facts]) -> tuple[ServedModel | None, str]:
    """What a case runs on, and where that is from: the table, else a bundled snapshot, else the case's own facts."""
    facts, why = facts_for(case, models)
    if why != "published config":
        bundled = _bundled(case)
        if bundled is not None:
            return bundled, "a bundled snapshot"
    return (None if facts is None else served(facts, case.get("dtype"))), why


def _bundled(case: Facts) -> ServedModel | None:
    """The snapshot of a case's repo, without its weights where the case packs them otherwise."""
    name = str(case.get("model_id", "")).split(" ")[0]
    if "/" not in name or case.get("dtype") == "float32":
        return None
    try:
        model = inspector.inspect(name, offline=True).model
    except InspectError:
        return None
    found = served_model(model)
    return replace(found, weights=None) if found is not None and case.get("quant") else found


def _as_packed(facts: Facts, quant: str | None) -> Facts:
    """The facts with a case's packing, where they don't have one; without what weights follow from if it is unknown."""
    if not quant or "linear_bits" in facts or "quantization" in facts:
        return facts
    bits = PACKED_KINDS.get(quant)
    if bits is not None and "num_attention_heads" in facts:
        return {**facts, "linear_bits": bits}
    return {key: value for key, value in facts.items() if key not in ("parameters", "num_attention_heads")}


TUNED = re.compile(r"-(instruct|chat|base|thinking|it|hf|v0\.\d|\d{4})$")
"""How names of tuned models end, whose shapes are those of the model that they were made from."""


def _look_up(model_id: str, models: Mapping[str, Facts], *, named: bool = False) -> Facts | None:
    """A table entry by repo ID; else by the name alone (mirrors), without what it says of packing.

    Where the case itself names the architecture, which is compared, a tuned model may stand for its base.
    """
    if model_id in models:
        return models[model_id]
    names = {_bare(name): facts for name, facts in models.items()}
    if named:
        names = {_untuned(name): facts for name, facts in names.items()} | names
    name = _bare(model_id)
    for pattern, packing in ((r"$^", {}), *PACKED):
        base = re.sub(pattern, "", name)
        if pattern != r"$^" and base == name:
            continue
        found = names.get(base) or (names.get(_untuned(base)) if named else None)
        if found is not None:
            return {**found, **packing}
    return None


def _untuned(name: str) -> str:
    while (shorter := TUNED.sub("", name)) != name:
        name = shorter
    return name


def _bare(model_id: str) -> str:
    return model_id.rsplit("/", maxsplit=1)[-1].lower().removeprefix("meta-")


def _agree(known: Facts, arch: Facts) -> bool:
    pairs = {"layers": "num_hidden_layers", "hidden": "hidden_size", "kv_heads": "num_key_value_heads"}
    return all(arch[ours] == known[theirs] for ours, theirs in pairs.items() if ours in arch)


def _from_arch(arch: Facts, max_model_len: object) -> Facts:
    """A case's own facts. Its context is the least that the model's positions can be."""
    facts: dict[str, Any] = {
        "num_hidden_layers": arch["layers"],
        "hidden_size": arch["hidden"],
        "vocab_size": arch["vocab"],
        "num_key_value_heads": arch.get("kv_heads", 1),
        "head_dim": arch.get("head_dim", 0),
        "states": arch.get("states", ()),
        "linear_layers": arch.get("linear_layers", 0),
        "max_position_embeddings": max_model_len if isinstance(max_model_len, int) else 0,
    }
    if "mla" in arch:
        facts["kv_lora_rank"], facts["qk_rope_head_dim"] = arch["mla"] - 64, 64
    if "sliding_layers" in arch:
        facts["sliding_layers"], facts["sliding_window"] = arch["sliding_layers"], arch["window"]
    if "index_head_dim" in arch:
        facts["index_head_dim"] = arch["index_head_dim"]
    if "params" in arch:
        facts["parameters"] = arch["params"]
    return facts


def _solved(facts: Facts) -> Facts | None:
    """The rest of a plain gated decoder whose parameters come to exactly the case's count; None where none does.

    params = V*h*(1 or 2) + h + layers * (2*h + attention + 3*h*f), solved for the inner width f.
    """
    hidden, layers, width = facts["hidden_size"], facts["num_hidden_layers"], facts["head_dim"]
    total = facts.get("parameters")
    if not total or not hidden or not width or "kv_lora_rank" in facts:
        return None
    for heads in (hidden // width, 8, 14, 16, 20, 24, 28, 32, 40, 48, 64, 80, 96):
        for bias in (False, True):
            for norm in (False, True):
                for tied in (False, True):
                    guess = {
                        **facts,
                        "num_attention_heads": heads,
                        "attention_bias": "qkv" if bias else None,
                        "qk_norm": norm,
                        "tie_word_embeddings": tied,
                        "intermediate_size": 0,
                    }
                    without = _weights(guess, 1)
                    if without is None:
                        continue
                    inner, rest = divmod(total - without.total, 3 * hidden * layers)
                    if rest == 0 and inner % 64 == 0 and hidden <= inner <= 10 * hidden:
                        return {**guess, "intermediate_size": inner}
    return None


def layers_of(facts: Facts) -> tuple[Layer, ...]:
    """One spec a layer. Their order does not matter to any engine's sizes."""
    count: int = facts["num_hidden_layers"]
    sliding: int = facts.get("sliding_layers", 0)
    heads, width = facts["num_key_value_heads"], facts["head_dim"]
    full: Layer = FullAttention(heads, width, width)
    if "kv_lora_rank" in facts:
        full = LatentAttention(facts["kv_lora_rank"], facts["qk_rope_head_dim"])
        if "index_head_dim" in facts:
            full = IndexedAttention(full, facts["index_head_dim"])
    if facts.get("states"):
        states = tuple(StateTensor(tuple(state["shape"]), state["dtype"]) for state in facts["states"])
        linear: int = facts["linear_layers"]
        return (full,) * (count - linear) + (LinearAttention(states),) * linear
    if not sliding:
        return (full,) * count
    return (full,) * (count - sliding) + (SlidingAttention(heads, width, width, facts["sliding_window"]),) * sliding


def served(facts: Facts, dtype: str | None) -> ServedModel:
    """The model's facts for serving, its weights counted by hand where its hyper-parameters are all known."""
    element = 4 if dtype == "float32" else 2
    experts = facts.get("num_experts")
    mixture = MixtureFacts(experts, facts["num_experts_per_tok"], facts["moe_intermediate_size"]) if experts else None
    vision = facts.get("vision")
    rotary = facts.get("rotary_dim") or facts.get("qk_rope_head_dim") or facts["head_dim"]
    rotary_element = 4 if facts.get("rotary_float32") else element
    width = facts.get("shared_expert_intermediate_size") if experts else facts.get("intermediate_size")
    return ServedModel(
        layers=layers_of(facts),
        hidden_size=facts["hidden_size"],
        vocab_size=facts["vocab_size"],
        element_bytes=element,
        weights=_weights(facts, element),
        num_attention_heads=facts.get("num_attention_heads"),
        linear_bytes=facts.get("linear_bits", 8 * element) / 8,
        intermediate_size=width,
        mlp_gated=facts.get("mlp_gated", True),
        mixture=mixture,
        vision=VisionFacts(vision["tokens"], vision["pixels"]) if vision else None,
        rotary_bytes=facts.get("rotary_rows", facts["max_position_embeddings"]) * rotary * rotary_element,
        quantization=facts.get("quantization"),
        latents_packed="linear_bits" in facts,
        int8_activations=facts.get("int8_activations", False),
        recurrent_bytes=4 if any(state["dtype"] == "F32" for state in facts.get("states", ())) else element,
        model_type=facts.get("model_type"),
    )


def _weights(facts: Facts, element: int) -> Weights | None:
    hidden, vocab, layers = facts["hidden_size"], facts["vocab_size"], facts["num_hidden_layers"]
    embedding = vocab * hidden
    if "num_attention_heads" not in facts:  # a case's own count, all that is known
        total = facts.get("parameters")
        if not total or not hidden:
            return None
        return Weights(embedding * element, 0, (total - embedding) * element)
    tied = facts["tie_word_embeddings"]
    attention, key_value, latent = _attention(facts)
    dense_layers = facts.get("first_k_dense_replace", 0) if "num_experts" in facts else layers
    matrices = 3 if facts.get("mlp_gated", True) else 2
    mlp = dense_layers * matrices * hidden * facts.get("intermediate_size", 0)
    experts = small = experts_bias = 0
    if "num_experts" in facts:
        sparse, count, inner = layers - dense_layers, facts["num_experts"], facts["moe_intermediate_size"]
        experts = sparse * count * 3 * hidden * inner
        mlp += sparse * 3 * hidden * facts.get("shared_expert_intermediate_size", 0)
        small += sparse * count * (hidden + (1 if facts.get("router_bias") else 0))
        small += sparse * hidden if facts.get("shared_expert_gate") else 0
        experts_bias = sparse * count * (2 * inner + hidden) if facts.get("expert_bias") else 0
    if facts.get("mlp_bias"):
        small += layers * (facts["intermediate_size"] + hidden)
    norm = hidden * (2 if facts.get("norm_bias") else 1)
    small += norm * (1 + layers * facts.get("norms_per_layer", 2))
    small += layers * 2 * facts["head_dim"] if facts.get("qk_norm") else 0
    small += vocab if facts.get("head_bias") else 0
    linear = facts.get("linear_bits", 8 * element) / 8
    expert_bytes = facts.get("expert_bits", 8 * linear) / 8
    return Weights(
        embedding=embedding * element,
        head=0 if tied else embedding * element,
        divided=int((attention + mlp) * linear) + (_vision(facts["vision"]) if "vision" in facts else 0) * element,
        key_value=int(key_value * linear),
        experts=int(experts * expert_bytes),
        replicated=small * element + experts_bias * element + int(latent * linear),
        copies=_latent_copies(facts) * element,
    )


def _attention(facts: Facts) -> tuple[int, int, int]:
    """Parameters of all layers' attention: what divides by query heads, by key/value heads, and what does not."""
    hidden, heads, layers = facts["hidden_size"], facts["num_attention_heads"], facts["num_hidden_layers"]
    if "kv_lora_rank" in facts:
        rank, rope = facts["kv_lora_rank"], facts["qk_rope_head_dim"]
        nope, value, query_rank = facts["qk_nope_head_dim"], facts["v_head_dim"], facts.get("q_lora_rank")
        query = (query_rank or hidden) * heads * (nope + rope)
        divided = query + rank * heads * (nope + value) + heads * value * hidden
        latent = hidden * (rank + rope) + rank + (hidden * query_rank + query_rank if query_rank else 0)
        return layers * divided, 0, layers * latent
    width = facts["head_dim"]
    query, key_value = heads * width, 2 * facts["num_key_value_heads"] * width
    divided, paired = 2 * hidden * query, hidden * key_value
    if facts.get("attention_bias"):
        divided, paired = divided + query, paired + key_value
    if facts.get("attention_bias") == "all":
        divided += hidden
    if facts.get("attention_sinks"):
        divided += heads
    return layers * divided, layers * paired, 0


def _latent_copies(facts: Facts) -> int:
    """Parameters of the latents' up-projections, of which engines keep a 16-bit copy where they are packed."""
    if "kv_lora_rank" not in facts or "v_head_dim" not in facts:
        return 0
    up = facts["kv_lora_rank"] * facts["num_attention_heads"] * (facts["qk_nope_head_dim"] + facts["v_head_dim"])
    return int(facts["num_hidden_layers"] * up)


def _vision(vision: Facts) -> int:
    """Parameters of a vision transformer and its projector."""
    width, inner = vision["hidden_size"], vision["intermediate_size"]
    bias = width * 4 + inner + width if vision["bias"] else 0
    norms = (4 if vision["bias"] else 2) * width
    layer = 4 * width * width + (3 if vision["gated"] else 2) * width * inner + bias + norms
    patches = 3 * vision["patch"] ** 2 * width + (width if vision["bias"] else 0)
    edge = (2 if vision["bias"] else 1) * width + vision.get("position_embeddings", 0) * width
    return int(vision["layers"] * layer + patches + edge + vision["projector_params"])


def gpu_of(case: Facts) -> Gpu | None:
    """The case's GPU; None where its memory was not recorded."""
    memory, name = case.get("gpu_mem_gib"), str(case.get("gpu") or "")
    if memory is None:
        return None
    capability = next((value for key, value in COMPUTE_CAPABILITY.items() if key in name), None)
    try:
        device = find_device(name)
    except UsageError:  # a name that several have
        device = None
    system = (device.system_mib or 0) * 1024**2 if device else 0
    return Gpu(int(memory * GIB), name, capability, system_memory=system)
