"""What an engine's accounting needs of a model and of a GPU: small frozen facts, filled from a `Model` or by hand."""

from __future__ import annotations

from dataclasses import dataclass, field

from inspector.engines.common.kept_heads import configured_heads
from inspector.errors import UsageError
from inspector.memory.precision import FILE_TYPE_NAMES, PRECISION_BITS, RECIPES, STORED, compute_precision
from inspector.memory.quantization.recipes import weight_bytes
from inspector.model.config.light import by_hand, traits_of
from inspector.model.layers.layer import Layer
from inspector.model.model import Model, Quantization
from inspector.model.packing.registry import facts_of

GIB = 1024**3

_GEMMA3_SCALED_POSITIONS, _GEMMA3_SCALING = 131072, 8
"""Gemma 3 from 4B on stretches its full layers' positions by 8, on top of the maximum that its config names, and
vLLM's table has as many rows (rotary_embedding/linear_scaling_rope.py)."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One device, as an engine sees it.

    Attributes:
        memory: bytes that `torch.cuda.mem_get_info()` gives as total ("80 GB" of an H100 is 79.19 GiB).
        name: its name; vLLM tells the A100 from others of its size by it.
        compute_capability: CUDA's, as (9, 0); None for others, or where it is not known.
        driver_memory: bytes that the driver reports (nvidia-smi), more than `memory`; None where it is not known.
        system_memory: bytes that the system itself holds of memory shared with the CPU; 0 elsewhere.
    """

    memory: int
    name: str = ""
    compute_capability: tuple[int, int] | None = None
    driver_memory: int | None = None
    system_memory: int = 0


@dataclass(frozen=True, slots=True)
class Weights:
    """Bytes of the weights in one process that holds all of them, by what a further rank does to them.

    Attributes:
        embedding: the token embedding; divided over the ranks by rows, which are first padded.
        head: the output projection likewise; 0 where it is the embedding.
        divided: linear layers that are split evenly: queries, outputs, MLP, shared experts, vision encoders.
        key_value: key and value projections: never split below one head.
        experts: routed experts; split evenly by rows, or dealt out whole.
        replicated: norms, routers, the down-projections of latents, what else every rank keeps whole.
        attention: of `divided`, what the attention and its kin have.
        encoders: of `divided`, what encoders for images and sound and their projectors have.
        copies: the up-projection of latents once more, in the model's precision: what an engine that keeps it twice
            holds on top (`rank_shares`), cut by heads.
    """

    embedding: int
    head: int
    divided: int
    key_value: int = 0
    experts: int = 0
    replicated: int = 0
    copies: int = 0
    attention: int = 0
    encoders: int = 0

    @property
    def total(self) -> int:
        return self.embedding + self.head + self.divided + self.key_value + self.experts + self.replicated


@dataclass(frozen=True, slots=True)
class MixtureFacts:
    """A mixture's routed experts: how many, how many a token uses, and the inner width of one."""

    total: int
    active: int
    intermediate_size: int


@dataclass(frozen=True, slots=True)
class VisionFacts:
    """The item that a profiling run encodes: an image at the largest size that the processor makes, or a video.

    Attributes:
        tokens: what it becomes.
        pixels: of it; three values each.
        patches: that go through the encoder; 0 where its own peak is not known.
        blocks: values a patch in a layer's worst moments: (whole on every rank, divided over the ranks).
        per_prompt: items a prompt may have.
    """

    tokens: int
    pixels: int
    patches: int = 0
    blocks: tuple[tuple[int, int], ...] = ()
    per_prompt: int = 999


@dataclass(frozen=True, slots=True)
class ServedModel:
    """The facts of a model that serving memory follows from.

    Attributes:
        layers: one spec a decoder layer, in order, with the heads that servers cache.
        hidden_size / vocab_size: as in the config.
        element_bytes: bytes of the precision that the model computes in.
        weights: bytes by share; None where they are not known.
        num_attention_heads: query heads; None where not known.
        linear_bytes: bytes a weight of the layers' linear maps: `element_bytes` where nothing is quantized.
        intermediate_size: inner width of a dense MLP (of the shared expert, in a mixture); None where not known.
        mlp_gated: gate and up projections side by side (True) or one plain projection.
        mixture / vision: None where the model has no such thing, or nothing is known of it.
        rotary_bytes: the table of sines and cosines that every rank keeps.
        recurrent_bytes: bytes of a value of the recurrent matrices, where vLLM is not told otherwise.
        quantization: the packing's name ("mxfp4", "compressed-tensors", ...), or None.
        packing: all of the packing that the files have and the engine keeps, or None.
        latents_packed: the up-projection of latents (kv_b_proj) is quantized.
        compute: the precision that the model computes in.
        int8_activations: the recipe quantizes activations to 8 bits, which costs a copy of them.
        model_type: config.json's; None where not known.
        attention_free: the engine has a class for it that cannot attend: it caches no prefixes.
        checkpoint_alignment: tokens at whose multiples the engine's class leaves checkpoints of its states; None where
            it leaves none.
        notes: what the facts leave out.
    """

    layers: tuple[Layer, ...]
    hidden_size: int
    vocab_size: int
    element_bytes: int
    weights: Weights | None
    num_attention_heads: int | None = None
    linear_bytes: float | None = None
    intermediate_size: int | None = None
    mlp_gated: bool = True
    mixture: MixtureFacts | None = None
    vision: VisionFacts | None = None
    rotary_bytes: int = 0
    recurrent_bytes: int = 2
    quantization: str | None = None
    packing: Quantization | None = None
    latents_packed: bool = False
    compute: str = "bf16"
    int8_activations: bool = False
    model_type: str | None = None
    attention_free: bool = False
    checkpoint_alignment: int | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def padded_experts(self) -> bool:
        """Whether kernels of the packing's own hold the experts padded."""
        return facts_of(self.quantization).padded_experts


def has_latents(model: ServedModel) -> bool:
    """Whether any layer caches a latent."""
    return any(layer.rows is not None and layer.rows.widths for layer in model.layers)


def served_model(
    model: Model, dtype: str = STORED, *, vision: VisionFacts | None = None, compute: str | None = None
) -> ServedModel | None:
    """A `Model`'s facts for serving; None where its hidden size, vocabulary or layers are not known.

    Args:
        model: from headers.
        dtype: the weights' precision, "stored", or a key of `PRECISION_BITS` or `RECIPES`.
        vision: an image's largest size, which config.json alone does not tell.
        compute: the precision that the engine computes in; None for the one that config.json or the files name.

    Raises:
        UsageError: a type of llama.cpp's files.
    """
    if dtype in FILE_TYPE_NAMES:
        raise UsageError(f"{dtype} is a type of llama.cpp's files, and none that a server of safetensors makes")
    shape = model.architecture
    if shape.hidden_size is None or shape.vocab_size is None or not shape.layers:
        return None
    compute = compute or compute_precision(model, dtype)[0]
    element_bytes = PRECISION_BITS[compute] // 8
    experts = shape.experts
    mixture = None
    width = shape.intermediate_size
    if experts and (shape.moe_intermediate_size or width):
        inner = shape.moe_intermediate_size or width or 0
        mixture = MixtureFacts(experts.total, experts.active, inner)
        width = experts.shared * inner or None
    notes = []
    if shape.vision and vision is None:
        notes.append("the vision encoder's part of the profile is not counted: an image's largest size is not known")
    latents = [layer.rows.widths for layer in shape.layers if layer.rows is not None and layer.rows.widths]
    if any("v_head_dim" not in widths for widths in latents) or (latents and shape.num_attention_heads is None):
        notes.append("16-bit copies of the latents' up-projections are not counted: their width is not known")
    packing = shape.quantization if dtype == STORED else None
    linear_bytes = _linear_bytes(model, dtype, element_bytes)
    return ServedModel(
        layers=configured_heads(shape),
        hidden_size=shape.hidden_size,
        vocab_size=shape.vocab_size,
        element_bytes=element_bytes,
        weights=weights_of(model, dtype, element_bytes),
        num_attention_heads=shape.num_attention_heads,
        linear_bytes=linear_bytes,
        intermediate_size=width,
        mlp_gated=shape.mlp_gated is not False,
        mixture=mixture,
        vision=vision,
        rotary_bytes=_rotary_bytes(model, element_bytes),
        recurrent_bytes=element_bytes,
        quantization=packing.method if packing else None,
        packing=packing,
        latents_packed=linear_bytes < element_bytes and (packing is None or is_packed(packing, "kv_b_proj")),
        compute=compute,
        model_type=shape.model_type,
        notes=tuple(notes),
    )


def is_packed(packing: Quantization, module: str) -> bool:
    """Whether a module of attention or MLP is quantized: neither it nor what holds it is left plain in all layers."""
    outer = {"kv_b_proj": "self_attn", "o_proj": "self_attn", "q_proj": "self_attn", "experts": "mlp"}
    names = {name.rsplit(".", 1)[-1] for name in packing.plain if "(layers" not in name}
    return module not in names and outer.get(module, "mlp") not in names


def weights_of(model: Model, dtype: str, element_bytes: int) -> Weights:
    """A `Model`'s weights by share, as the engine holds them before it repacks any.

    Plain weights are cast to the precision the model computes in. Packed ones keep their stored bytes, of which
    embedding, head, norms, routers and towers are taken to be at that precision, as nearly every recipe leaves them.
    """
    parameters, shape = model.parameters, model.architecture
    counts = dict(parameters.by_component)
    plain = ("embedding", "head", "norm", "router", "vision", "audio", "projector")
    kept = sum(counts.get(name, 0) for name in plain)
    packed = dtype in RECIPES or (dtype in PRECISION_BITS and PRECISION_BITS[dtype] < 16)
    if shape.quantization is not None and dtype == STORED:
        inner_bytes = max(0, parameters.stored_bytes - kept * element_bytes)
    elif packed:
        inner_bytes = sum(size for name, size in weight_bytes(model, dtype).items() if name not in plain)
    else:
        inner_bytes = (parameters.total - kept) * element_bytes
    inner = max(1, parameters.total - kept)

    def part(count: int) -> int:
        return inner_bytes * min(count, inner) // inner

    hidden = shape.hidden_size or 0
    key_value = latent = up = 0
    for layer in shape.layers:
        if layer.rows is None:
            continue
        row, widths = layer.rows.values_per_token or 0, layer.rows.widths
        if not widths:
            key_value += hidden * row
            continue
        latent += hidden * (row + widths.get("q_lora_rank", 0))
        each = widths.get("qk_nope_head_dim", 0) + widths.get("v_head_dim", 0)
        up += widths["kv_lora_rank"] * (shape.num_attention_heads or 0) * each
    experts = counts.get("experts", 0)
    small = counts.get("norm", 0) + counts.get("router", 0)
    towers = sum(counts.get(name, 0) for name in ("vision", "audio", "projector"))
    rest = inner_bytes - part(key_value) - part(latent) - part(experts)
    attention = part(counts.get("attention", 0) + counts.get("linear_attention", 0)) - part(key_value) - part(latent)
    return Weights(
        embedding=counts.get("embedding", 0) * element_bytes,
        head=counts.get("head", 0) * element_bytes,
        divided=max(0, rest) + towers * element_bytes,
        key_value=part(key_value),
        experts=part(experts),
        replicated=small * element_bytes + part(latent),
        copies=up * element_bytes,
        attention=min(max(0, attention), max(0, rest)),
        encoders=towers * element_bytes,
    )


def _linear_bytes(model: Model, dtype: str, element_bytes: int) -> float:
    """Bytes a weight of the linear maps, scales left out."""
    recipe = model.architecture.quantization
    if dtype == STORED and recipe is not None:
        stored_bits = recipe.bits or recipe.packed_bits  # of several widths, their mean with the scales
        return min(stored_bits / 8, element_bytes) if stored_bits else element_bytes
    if dtype == STORED:
        return element_bytes
    bits = RECIPES[dtype].bits if dtype in RECIPES else PRECISION_BITS[dtype]
    return min(float(bits) / 8, element_bytes)


def _rotary_bytes(model: Model, element_bytes: int) -> int:
    """max_position_embeddings * rotary dimension * bytes, a table for each base.

    vllm/model_executor/layers/rotary_embedding/base.py: RotaryEmbedding keeps `cos_sin_cache` in the model's own
    precision; layers with equal settings share one. The whole head is taken to rotate: a bound where only part does.
    """
    shape = model.architecture
    if traits_of(shape.model_type or "").get("rotary") == 0 or not shape.max_position_embeddings:
        return 0
    widths = [_rotary_dim(layer) for layer in shape.layers]
    tables = 1
    slides = any(layer.kind == "sliding_attention" for layer in shape.layers)
    if slides and shape.model_type in by_hand("vllm_two_rotary_tables"):
        tables = 1 + (_GEMMA3_SCALING if shape.max_position_embeddings >= _GEMMA3_SCALED_POSITIONS else 1)
    return tables * shape.max_position_embeddings * max(widths, default=0) * element_bytes


def _rotary_dim(layer: Layer) -> int:
    return layer.rows.rotary_width if layer.rows is not None else 0
