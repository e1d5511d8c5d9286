"""llama.cpp on some GPUs: what lies on which GPU, what stays with the CPU, and the compute buffers.

    GPU = its layers' weights (and the output's) + their cache + the graph's compute buffer

src/llama-model.cpp: load_tensors puts the last n_gpu_layers of the layers and the output on the GPUs, in runs as equal
as they come (`--split-mode layer`), and leaves the token embedding with the CPU. The compute buffers were measured:
build 11549 on a CPU, headers of the right shapes without data (tests/oracles/llama_cpp.py); see `compute_bytes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inspector.engines.llama_cpp.cache import LlamaCppSettings, cells_of, layer_cache_bytes
from inspector.engines.llama_cpp.placement import largest_on_cpu, overridden
from inspector.engines.llama_cpp.support import kept_layers, refusal
from inspector.memory.precision import FILE_TYPE_NAMES, STORED
from inspector.model.layers.chunked import ChunkedAttention
from inspector.model.layers.full import Attention
from inspector.model.layers.hybrid import HybridAttention
from inspector.model.layers.layer import Layer, distinct
from inspector.model.layers.sliding import SlidingAttention
from inspector.model.model import Model

NEWEST_BUILD = 11549
"""The build whose buffers were measured."""

LIMITED_OUTPUTS_BUILD = 9500
"""Since about this build a server reserves the logits of one token a sequence, before of a whole batch (llama.cpp pull
request 23861, merged between 30 May and 2 June 2026; build 9525 is of 5 June at the latest)."""

GATED_STEP_BUILD = 5800
"""Since about this build (June 2025) gate and activation are one step with a result of its own (pull request 14158)."""

PIPELINE_COPIES = 4
"""Copies of the graph's inputs where several GPUs take whole layers in turn (GGML_SCHED_MAX_COPIES)."""

_CONVERTED: dict[str, tuple[int, int, int]] = {
    "fp32": (1, 4, 4),
    "bf16": (1, 2, 2),
    "fp16": (1, 2, 2),
    "int8": (32, 34, 2),
}
"""A precision's GGUF type: values a block, bytes a block, and bytes of a value that the model computes with. int8 is
Q8_0; int4 and fp8 name no single type."""

_GGML_NAMES = {"fp32": "F32", "bf16": "BF16", "fp16": "F16", "int8": "Q8_0"}

_TEXT = ("embedding", "head", "norm")
_ASIDE = ("vision", "audio", "projector")


@dataclass(frozen=True, slots=True)
class GgufFacts:
    """What the sizes follow from.

    Attributes:
        layers: one spec a layer, in order.
        layer_bytes: bytes of each layer's tensors.
        embedding: bytes of what belongs to the input; it stays with the CPU.
        output: bytes of the output matrix and norm; a tied one is the embedding once more.
        hidden_size / vocab_size: as in the config.
        query: width of all queries of a token.
        inner: inner width of the MLP, for a mixture of all experts of a token together; 0 where not known.
        used: experts of a token; 0 without a mixture.
        tied: the output matrix is the embedding; where both lie with the CPU, they are one.
        largest: bytes of a layer's largest tensor, about; it is copied to a GPU for a prompt where the CPU has it.
        tensors: of each layer, its tensors by name and their bytes; empty where they are not known.
    """

    layers: tuple[Layer, ...]
    layer_bytes: tuple[int, ...]
    embedding: int
    output: int
    hidden_size: int
    vocab_size: int
    query: int
    inner: int
    used: int
    largest: int
    tied: bool = False
    tensors: tuple[Mapping[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """Bytes on a GPU, or with the CPU. `kv_cache` is None where a layer's kind has no rule."""

    weights: int
    kv_cache: int | None
    compute: int
    layers: int

    @property
    def total(self) -> int | None:
        return None if self.kv_cache is None else self.weights + self.kv_cache + self.compute


@dataclass(frozen=True, slots=True)
class LlamaCppPlan:
    """What llama.cpp would allocate. `n_gpu_layers` counts the output as one layer, as its log does."""

    cards: tuple[DeviceMemory, ...]
    cpu: DeviceMemory
    n_gpu_layers: int

    @property
    def fullest(self) -> DeviceMemory:
        """The GPU that holds most."""
        return max(self.cards, key=lambda gpu: gpu.total or gpu.weights)


def gguf_facts(model: Model, dtype: str = STORED) -> GgufFacts | str:
    """The facts of a GGUF file, or of what a safetensors model would be converted to; a sentence where they cannot be
    told.

    convert_hf_to_gguf.py writes norms and routers as F32 and everything else as its `--outtype`, which by default is
    the type that the file has. What `llama-quantize` then makes of it: memory/ggml_recipes.py.
    """
    shape, parameters = model.architecture, model.parameters
    is_gguf = parameters.stack == "blk"
    if not is_gguf and (why := refusal(shape)):
        return why
    if shape.hidden_size is None or shape.vocab_size is None or not shape.layers:
        return "config.json does not tell the layers, the hidden size or the vocabulary"
    if len(parameters.layers) != len(shape.layers):
        return "the tensors' names do not tell what each layer holds"
    outside = dict(parameters.outside)
    if is_gguf and dtype != STORED:
        return f"this GGUF file has its types already; nothing says what {dtype} would make of it"
    strange = [name for name in outside if not is_gguf and name not in (*_TEXT, *_ASIDE, "buffer")]
    if strange and not (shape.vision or shape.audio):
        return f"it has parts besides the decoder's layers ({strange[0][:60]})"
    if is_gguf:
        sizes = {name: share.bytes for name, share in outside.items()}
        layers, tensors = parameters.bytes_by_layer, parameters.layer_tensors
    else:
        converted = _converted(model, dtype)
        if isinstance(converted, str):
            return converted
        layers, sizes, tensors = converted
    embedding, head = sizes.get("embedding", 0), sizes.get("head", 0)
    if is_gguf:
        embedding += sizes.get("other", 0)
    experts = shape.experts
    used = experts.active if experts else 0
    width = (shape.moe_intermediate_size or shape.intermediate_size) if experts else shape.intermediate_size
    rows = next((layer for layer in shape.layers if isinstance(layer, Attention)), None)
    query = (shape.num_attention_heads or 0) * rows.head_dim if rows else shape.hidden_size
    most = max(parameters.by_layer, default=1) or 1
    matrix = shape.hidden_size * (width or 0) * (experts.total if experts else 1)
    return GgufFacts(
        layers=shape.layers if is_gguf else kept_layers(shape),
        layer_bytes=layers,
        embedding=embedding,
        output=(head or sizes.get("embedding", 0)) + sizes.get("norm", 0),
        hidden_size=shape.hidden_size,
        vocab_size=shape.vocab_size,
        query=query,
        inner=(width or 0) * max(1, used),
        used=used,
        tied=not head,
        largest=min(max(layers), matrix * max(layers) // most),
        tensors=tensors,
    )


def _converted(model: Model, dtype: str) -> tuple[tuple[int, ...], dict[str, int], tuple[Mapping[str, int], ...]] | str:
    """Bytes of each layer, of the embedding, head and last norm, and of each layer's matrices, in the GGUF type that a
    precision names."""
    from inspector.memory.quantization.ggml_recipes import kept_weights, plain_tensors, quantized_weights

    parameters, packing = model.parameters, model.architecture.quantization
    if dtype == STORED:
        if packing is not None:
            if (kept := kept_weights(model)) is not None:
                return kept.layers, kept.outside, kept.tensors
            return f"nothing says what type of GGUF a {packing.method} checkpoint is converted to: name it with --dtype"
        dtype = {"F32": "fp32", "F16": "fp16", "BF16": "bf16"}.get(model.stored_dtype or "", dtype)
    if dtype in FILE_TYPE_NAMES:
        made = quantized_weights(model, dtype)
        return made if isinstance(made, str) else (made.layers, made.outside, made.tensors)
    if dtype not in _CONVERTED:
        return f"{dtype} names no single GGUF type: ask for a GGUF repo, or for --dtype Q4_K_M, Q8_0, bf16, ..."
    values, size, _ = _CONVERTED[dtype]
    counts, outside = parameters.by_component, parameters.outside

    def bytes_of(count: int, single: int) -> int:
        return (count - single) * size // values + 4 * single

    last_norm = outside["norm"].parameters if "norm" in outside else 0
    single = (counts.get("norm", 0) - last_norm + counts.get("router", 0)) // len(parameters.layers)
    layers = tuple(bytes_of(count, min(count, single)) for count in parameters.by_layer)
    sizes = {name: bytes_of(outside[name].parameters, 0) for name in ("embedding", "head") if name in outside}
    return layers, sizes | {"norm": 4 * last_norm}, plain_tensors(model, _GGML_NAMES[dtype])


def compute_bytes(facts: GgufFacts, settings: LlamaCppSettings, *, has_output: bool = True, copies: int = 1) -> int:
    """Bytes of one device's compute buffer, "compute buffer size" in the log: the graph's largest step.

    With T = n_ubatch tokens, h hidden, f inner, V vocabulary, and q, k, v the widths of queries, keys and values:

        mask                T * cells * 2 with flash attention (before build 9500: 4, and 2 more for a half-size copy)
        MLP                 4 T (3 f + 4 h), and 4 T h a used expert where that is more than two of the f (before about
                            build 5800, when gates became one step: 4 T (2 f + 3 h))
        attention           4 T (2 h + 3 q + k); without flash attention 4 T (2 h + 3 q + k + v + heads * cells)
        logits, before 9500 4 T (V + h)

    Fitted to build 11549 on a CPU, which adds one h, for the embedding is looked up there: the 65 runs of
    tests/memory/data/llama_cpp_buffers.json are met within 4 %; experts much narrower than the model (256 of 2,048)
    come out 21 % too high. Met by published logs of GPUs: Qwen3-4B at 8,192 cells 85.01 MiB, and before 9500 Llama 3
    8B 258.50 and Qwen2.5-3B 300.75 MiB. Other kinds of layer are taken for attention.
    """
    tokens = min(settings.n_ubatch, settings.n_ctx)
    hidden, inner, build = facts.hidden_size, facts.inner, settings.build or NEWEST_BUILD
    limited = build >= LIMITED_OUTPUTS_BUILD
    cells = mask_cells(facts, settings)
    masks = tokens * sum(cells) * _mask_bytes(settings, copied=True)
    rows = [layer for layer in distinct(facts.layers) if isinstance(layer, Attention)]
    keys = max((layer.num_key_value_heads * layer.head_dim for layer in rows), default=0)
    scores = max((facts.query // layer.head_dim for layer in rows), default=0) * max(cells, default=0)
    experts = facts.used * hidden if facts.used * hidden > 2 * inner else 0
    mlp = 3 * inner + 4 * hidden if build >= GATED_STEP_BUILD else 2 * inner + 3 * hidden
    if settings.flash_attn:
        attention = 2 * hidden + 3 * facts.query + keys
    elif limited:
        attention = 2 * hidden + 3 * facts.query + 2 * keys + scores
    else:
        attention = 2 * hidden + 2 * facts.query + scores
    peak = masks + 4 * tokens * max(mlp + experts, attention)
    if has_output:
        outputs = settings.n_parallel if limited else tokens
        peak = max(peak, 4 * (outputs * facts.vocab_size + tokens * hidden))
    return peak + (copies - 1) * (masks + 4 * tokens * hidden)


def host_bytes(facts: GgufFacts, settings: LlamaCppSettings) -> int:
    """Bytes of the CPU's compute buffer where no layer is left to it: the masks, and the embedding's rows.

    One h a token before build 9500, four since (an input of mixed embeddings and what is made of it).
    """
    limited = (settings.build or NEWEST_BUILD) >= LIMITED_OUTPUTS_BUILD
    tokens = min(settings.n_ubatch, settings.n_ctx)
    masks = sum(mask_cells(facts, settings)) * _mask_bytes(settings, copied=False)
    return tokens * (masks + 4 * facts.hidden_size * (4 if limited else 1))


def mask_cells(facts: GgufFacts, settings: LlamaCppSettings) -> tuple[int, ...]:
    """Cells of each mask: one for the layers that see everything, one for those with a window."""
    sequences = 1 if settings.kv_unified else settings.n_parallel
    kinds: dict[bool, int] = {}
    for layer in distinct(facts.layers):
        rows = layer.attention if isinstance(layer, HybridAttention) else layer
        if isinstance(rows, Attention):
            kinds[isinstance(rows, SlidingAttention | ChunkedAttention)] = cells_of(rows, settings) // sequences
    return tuple(kinds.values())


def _mask_bytes(settings: LlamaCppSettings, *, copied: bool) -> int:
    """Bytes of a mask's value: half precision under flash attention; before build 9500 cast from a full one."""
    if not settings.flash_attn:
        return 4
    limited = (settings.build or NEWEST_BUILD) >= LIMITED_OUTPUTS_BUILD
    return 2 if limited else 6 if copied else 4


def gpus_of(layers: int, n_gpu_layers: int, gpus: int | Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """The layers of each GPU, in order; `layers` itself stands for the output.

    Of the last n_gpu_layers of the layers + 1, those whose index / n_gpu_layers comes before a GPU's share and all
    shares before it, of the sum of them (load_tensors: std::upper_bound over `splits`). The shares are --tensor-split,
    by default each GPU's free memory; a number stands for so many equal ones.

    >>> gpus_of(4, 5, 2)
    ((0, 1, 2), (3, 4))
    >>> gpus_of(4, 5, (3, 1))
    ((0, 1, 2, 3), (4,))
    >>> gpus_of(4, 2, 1)
    ((3, 4),)
    """
    shares = (1,) * gpus if isinstance(gpus, int) else tuple(gpus)
    count, total = min(n_gpu_layers, layers + 1), sum(shares)
    ends = [sum(shares[: gpu + 1]) * count for gpu in range(len(shares))]
    placed: list[list[int]] = [[] for _ in shares]
    for index in range(count):
        placed[next(gpu for gpu, end in enumerate(ends) if end > index * total)].append(layers + 1 - count + index)
    return tuple(map(tuple, placed))


def plan(facts: GgufFacts, settings: LlamaCppSettings, gpus: int | Sequence[int]) -> LlamaCppPlan:
    """The whole account for so many equal GPUs, or for GPUs of these shares (see `gpus_of`).

    Raises:
        UsageError: cache types that the rows do not divide into.
    """
    total = len(facts.layers)
    count = total + 1 if settings.n_gpu_layers is None else min(settings.n_gpu_layers, total + 1)
    sizes = {id(layer): layer_cache_bytes.known(layer, settings) for layer in distinct(facts.layers)}
    caches = [sizes[id(layer)] for layer in facts.layers]
    away = overridden(facts.tensors, settings.overrides)
    number = gpus if isinstance(gpus, int) else len(gpus)
    placed = gpus_of(total, count, gpus) if count else ((),) * number
    copies = PIPELINE_COPIES if number > 1 and count > total else 1
    moved = max(facts.largest if count <= total else 0, largest_on_cpu(facts.tensors, settings.overrides))
    devices = []
    for gpu, indices in enumerate(placed):
        inner = [index for index in indices if index < total]
        weights = _weights(facts, inner, gpu, away) + (facts.output if total in indices else 0)
        compute = compute_bytes(facts, settings, has_output=total in indices, copies=copies) + moved if indices else 0
        kept = [caches[index] for index in inner] if settings.kv_offload else []
        devices.append(DeviceMemory(weights, _sum(kept), compute, len(inner)))
    left = range(total + 1 - count if count else total)
    rest = [index for index in left if index < total]
    weights = facts.embedding + _weights(facts, rest, None, away)
    if not count:
        weights += facts.output - (facts.embedding if facts.tied else 0)
    compute = compute_bytes(facts, settings) + 4 * facts.hidden_size * min(settings.n_ubatch, settings.n_ctx)
    host = compute if rest and not count else host_bytes(facts, settings) + (compute if rest else 0)
    kept = [caches[index] for index in rest] if settings.kv_offload else caches
    cpu = DeviceMemory(weights, _sum(kept), host, len(rest))
    return LlamaCppPlan(tuple(devices), cpu, count)


def _weights(
    facts: GgufFacts, layers: Sequence[int], device: int | None, away: Sequence[Mapping[int | None, int]]
) -> int:
    """Bytes of the tensors of layers that stay on their device, and of others' that are put there."""
    own = set(layers)
    sizes = (
        (facts.layer_bytes[index] - sum(moved.values()) if index in own else 0) + moved.get(device, 0)
        for index, moved in enumerate(away)
    )
    return sum(sizes) if away else sum(facts.layer_bytes[index] for index in layers)


def _sum(sizes: Sequence[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None
