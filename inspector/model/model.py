"""What model/ hands on: a `Model`, the architecture and the exact parameters of a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from inspector.hub.checkpoint import Checkpoint
from inspector.model.layers.layer import Layer
from inspector.model.parameters.names import TensorGroup

if TYPE_CHECKING:  # of few checkpoints
    from inspector.model.vision.encoders import AudioTower, VisionTower


P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Experts:
    """A mixture: routed experts in all, routed experts a token uses, and shared experts that every token uses."""

    total: int
    active: int
    shared: int = 0


@dataclass(frozen=True, slots=True)
class Quantization:
    """A checkpoint's own packing.

    Attributes:
        bits / group_size: None where the recipe does not say, or not one for all modules.
        effective_bits: stored bits a parameter, scales and all else included; None where no tensors were counted.
        packed_bits: the same of the packed weights and their scales alone.
        packed_parameters: how many parameters are packed.
        block: outputs and inputs that share a scale, of recipes that scale by blocks (DeepSeek's FP8: 128, 128).
        plain: modules whose weight matrices are not packed, outermost names first ("lm_head", "model.visual",
            "model.layers.{}.mlp.gate"); where some layers' are, with those that are not: "... (layers 0-2, 5)".
        plain_embeddings: the same for embeddings.
        act_order: GPTQ's groups follow the activations (`desc_act`), so that a kernel has to look each row's up.
        kv_dtype: the KV cache's precision that the checkpoint was calibrated for ("fp8"), which serving engines take
            where none is asked for; None where it says none.
        asymmetric: the recipe says that its zero points are not in the middle (`sym: false`).
        sparse: 2 of 4 weights are kept (compressed-tensors' `sparsity_config`).
    """

    method: str
    bits: int | None
    group_size: int | None
    effective_bits: float | None = None
    packed_bits: float | None = None
    packed_parameters: int = 0
    plain: tuple[str, ...] = ()
    plain_embeddings: tuple[str, ...] = ()
    block: tuple[int, int] | None = None
    act_order: bool = False
    kv_dtype: str | None = None
    asymmetric: bool = False
    sparse: bool = False


@dataclass(frozen=True, slots=True)
class Architecture:
    """The language part's facts, under the config's own key names. None where the model has no such thing, or the
    config does not say.

    Attributes:
        model_type: of the whole config (e.g. "gemma3", not "gemma3_text").
        architecture: the class that the config names first, e.g. "LlamaForCausalLM"; None where it names none.
        layers: one entry a decoder (or encoder-only) layer, in order; `num_hidden_layers` of them. Where their
            mechanism is not known, the most that they may keep.
        layers_at_least: then the least that they may keep; else empty.
        dtype: the precision the config names ("bfloat16", "float16", "float32"), or None.
        is_decoder: generates text token by token and so keeps a KV cache.
        mlp_gated: gate, up and down projections (True), or two plain ones (False); None where unknown.
        logits_softcap: soft-caps its logits (Gemma 2), which costs a second copy of them.
        language_type: the language part's own model type ("gemma3_text"); the whole's where the config is flat.
        vision / audio: the config has such a part; vision_tower / audio_tower: its facts, where its kind is known.
        exact: False where the model type is not known and the facts were read by common key names.
        outside: the tables do not have the type as the installed transformers has it: no number is exact.
        notes: what the reader of the numbers should know; they end in `warnings`.
    """

    model_type: str | None
    architecture: str | None
    num_hidden_layers: int | None
    hidden_size: int | None
    num_attention_heads: int | None
    num_key_value_heads: int | None
    head_dim: int | None
    intermediate_size: int | None
    vocab_size: int | None
    max_position_embeddings: int | None
    tie_word_embeddings: bool | None
    dtype: str | None
    sliding_window: int | None
    experts: Experts | None
    quantization: Quantization | None
    layers: tuple[Layer, ...]
    is_decoder: bool = True
    mlp_gated: bool | None = None
    moe_intermediate_size: int | None = None
    hidden_act: str | None = None
    logits_softcap: bool = False
    vision: bool = False
    audio: bool = False
    exact: bool = True
    notes: tuple[str, ...] = ()
    vision_tower: VisionTower | None = None
    audio_tower: AudioTower | None = None
    layers_at_least: tuple[Layer, ...] = ()
    stretched_context: int | None = None
    """Tokens by a longer RoPE than the model's own (YaRN); None without one."""
    written: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """Config key -> value, unchecked, of those that only serving engines have rules for."""
    encoder_layers: int | None = None
    """Layers of an encoder-decoder's encoder, where the config names them so (Whisper); None elsewhere."""
    vision_size: tuple[int | None, int | None] | None = None
    """Layers and width of the vision encoder by their usual names; None where the config has none."""
    outside: bool = False
    language_type: str | None = None

    @property
    def longest_context(self) -> int | None:
        """Tokens of the longest sequence: the config's maximum, or what its RoPE makes of it."""
        known = [size for size in (self.max_position_embeddings, self.stretched_context) if size]
        return max(known, default=self.max_position_embeddings)

    @property
    def layer_kinds(self) -> dict[str, int]:
        """How many layers there are of each kind, in order of first appearance."""
        kinds: dict[str, int] = {}
        for layer in self.layers:
            kinds[layer.kind] = kinds.get(layer.kind, 0) + 1
        return kinds


class Share(NamedTuple):
    """A part of the weights: parameters, stored bytes (scales included), tensors of the files, and the first one's
    name, with `{}` for its numbers ("" for a layer)."""

    parameters: int
    bytes: int
    tensors: int
    first: str = ""


@dataclass(frozen=True, slots=True)
class Parameters:
    """Parameters as `sum(p.numel() for p in model.parameters())` counts them for the class that the config names.

    Attributes:
        total: all of them; packed weights count as what they unpack to.
        active: those that one token uses: all but the routed experts it is not sent to.
        by_component: embedding, attention, mlp, router, experts, shared_experts, norm, head, vision, audio,
            projector, ... -> parameters; sums to `total`.
        by_dtype: safetensors dtype (or ggml type) -> stored elements of the tensors that hold them.
        bytes_by_component: the stored bytes of each component, scales and zero points included.
        by_attention: of the attention's parameters in the decoder's layers, how many are in layers of each kind.
        layers: each layer's share, `num_hidden_layers` entries (empty where the names do not tell).
        layer_tensors: of a GGUF file, each layer's tensors by their names within it, in stored bytes; else empty.
        outside: the shares of all the rest, by component, or by the name of another list of layers
            ("vision_tower.encoder.layers").
        stack: the name of the list of layers in the files, e.g. "model.layers"; None where the names do not tell.
        buffers: elements in the file that are no parameters (rotary frequencies, causal masks, position ids).
        stored_only: elements in the file that the class does not load: mtp, duplicate_head, other.
        stored_bytes: bytes of the parameters and their scales. Not of the buffers: classes make most of them anew,
            smaller (gpt2's masks), and do not load those of the file. Of a GGUF file, of all that llama.cpp loads.
        overhead_bytes: of these, scales, zero points, codebooks.
        exact: False where the class is unknown, or packed weights could not be unpacked.
        notes: what the reader of the numbers should know; they end in `warnings`.
        quantization: what the tensors say of the packing; None where none is packed.
        tensor_groups: the parameters' tensors as the files have them; and a tied head that is there twice, and the
            buffer that corrects a router, which other programs load. None of a GGUF file, or of a model made of parts.
    """

    total: int
    active: int
    by_component: Mapping[str, int]
    by_dtype: Mapping[str, int]
    buffers: int
    stored_only: Mapping[str, int]
    stored_bytes: int
    overhead_bytes: int = 0
    bytes_by_component: Mapping[str, int] = field(default_factory=dict)
    by_attention: Mapping[str, int] = field(default_factory=dict)
    layers: tuple[Share, ...] = ()
    outside: Mapping[str, Share] = field(default_factory=dict)
    stack: str | None = None
    exact: bool = True
    notes: tuple[str, ...] = ()
    quantization: Quantization | None = None
    tensor_groups: tuple[TensorGroup, ...] = field(default=(), repr=False, compare=False)
    layer_tensors: tuple[Mapping[str, int], ...] = field(default=(), repr=False, compare=False)

    @property
    def by_layer(self) -> tuple[int, ...]:
        """Parameters of each layer."""
        return tuple(share.parameters for share in self.layers)

    @property
    def bytes_by_layer(self) -> tuple[int, ...]:
        """Stored bytes of each layer."""
        return tuple(share.bytes for share in self.layers)


@dataclass(frozen=True, slots=True)
class Model:
    """A checkpoint, understood. Of one that is made of parts, `parts` has each of them by itself."""

    repo_id: str
    architecture: Architecture
    parameters: Parameters
    stored_dtype: str | None
    """The safetensors dtype that holds most of the bytes ("BF16", "F8_E4M3", ...); None for no tensors."""
    notes: tuple[str, ...] = ()
    parts: tuple[ModelPart, ...] = ()
    adapter: Adapter | None = None
    derived: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What functions that are `once_per_model` made of it; a changed copy (`replace`) begins with none."""

    @property
    def warnings(self) -> tuple[str, ...]:
        return self.architecture.notes + self.parameters.notes + self.notes


def once_per_model(function: Callable[Concatenate[Model, P], R]) -> Callable[Concatenate[Model, P], R]:
    """A pure function of a model that is worked out once for each model and arguments: searches ask again and again."""

    def known(model: Model, /, *args: P.args, **kwargs: P.kwargs) -> R:
        key = (function, args, *kwargs.items())
        if key not in model.derived:
            model.derived[key] = function(model, *args, **kwargs)
        found: R = model.derived[key]
        return found

    return update_wrapper(known, function)


class ModelPart(NamedTuple):
    """A part of a checkpoint, understood. See `hub.checkpoint.Part`."""

    name: str
    kind: str
    class_name: str | None
    model: Model
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class Adapter:
    """What an adapter is.

    Attributes:
        base_model: as adapter_config.json names it.
        base_revision: the commit of the base that was read; None where it has none.
        peft_type: peft's name of the method, "LORA".
        rank: `r`; None for methods without one.
        alpha: `lora_alpha` or the method's own; None where there is none.
        target_modules: names, or one pattern; empty where the method has none.
        modules_to_save: modules of which the adapter holds a full copy beside the base's.
        parameters: what it adds to the base.
        bytes: of its tensors in its file.
    """

    base_model: str
    base_revision: str | None
    peft_type: str
    rank: int | None
    alpha: float | None
    target_modules: tuple[str, ...]
    modules_to_save: tuple[str, ...]
    parameters: int
    bytes: int
