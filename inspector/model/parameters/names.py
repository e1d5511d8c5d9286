"""What tensor names tell: groups of equal tensors, the component they belong to, and the layer stack they are in."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain

from inspector.hub.cache.snapshot import split_name
from inspector.hub.checkpoint import PLACEHOLDER, Tensor, TensorRows
from inspector.hub.dtypes import stored_bytes


@dataclass(slots=True)
class Group:
    """All tensors of one template, dtype and shape: the same weight of many layers and experts.

    Attributes:
        template: the name with `{}` for its numbers, as `split_name` gives it.
        count: how many tensors.
        layers: first number in the name -> tensors with it; empty for names without numbers.
    """

    template: str
    dtype: str
    shape: tuple[int, ...]
    count: int = 0
    layers: dict[int, int] = field(default_factory=dict)

    @property
    def numel(self) -> int:
        """Stored elements of one tensor."""
        numel = 1
        for n in self.shape:
            numel *= n
        return numel

    @property
    def nbytes(self) -> int:
        """Stored bytes of one tensor."""
        return stored_bytes(self.dtype, self.shape)

    @property
    def module(self) -> str:
        """The template without its last part: what holds the weight."""
        return self.template.rpartition(".")[0]


def group_tensors(tensors: Iterable[Tensor]) -> list[Group]:
    """Groups in order of first appearance.

    The time goes into names, of which a large model has 90,000; so the front part, which one expert's weights share,
    and the last two components, which all experts share, are taken apart once each. Rows are grouped already.
    """
    if isinstance(tensors, TensorRows):
        return _grouped_rows(tensors)
    fronts: dict[str, tuple[str, int | None]] = {}
    ends: dict[str, tuple[str, int | None]] = {}
    groups: dict[tuple[str, str, str, tuple[int, ...]], Group] = {}
    for name, dtype, shape in tensors:
        cut = name.rfind(".", 0, max(name.rfind("."), 0))
        front, end = (name[:cut], name[cut + 1 :]) if cut > 0 else ("", name)
        known = fronts.get(front)
        if known is None:
            known = fronts[front] = _front(front)
        tail = ends.get(end)
        if tail is None:
            tail = ends[end] = _first_number(end)
        template, layer = known
        key = (template, tail[0], dtype, shape)
        group = groups.get(key)
        if group is None:
            group = groups[key] = Group(f"{template}.{tail[0]}" if cut > 0 else tail[0], dtype, shape)
        group.count += 1
        if layer is None:
            layer = tail[1]
        if layer is not None:
            group.layers[layer] = group.layers.get(layer, 0) + 1
    return list(groups.values())


def _grouped_rows(tensors: TensorRows) -> list[Group]:
    groups: dict[tuple[str, str, tuple[int, ...]], Group] = {}
    for template, dtype, shape, indices in tensors.rows:
        group = groups.setdefault((template, dtype, shape), Group(template, dtype, shape))
        first, *others = indices or [()]
        beside = math.prod([sum(map(len, ranges)) for ranges in others])
        for layer in chain.from_iterable(first):
            group.layers[layer] = group.layers.get(layer, 0) + beside
        group.count += sum(map(len, first)) * beside if indices else 1
    for group in groups.values():
        group.layers = dict(sorted(group.layers.items()))
    return list(groups.values())


def _front(part: str) -> tuple[str, int | None]:
    """`_first_number`, quicker for the fronts of one layer's experts, which differ in their last component only."""
    head, dot, last = part.rpartition(".")
    if not dot or not last.isdigit():
        return _first_number(part)
    template, layer = _first_number(head)
    end, number = _first_number(last)
    return f"{template}.{end}", number if layer is None else layer


@lru_cache(maxsize=4096)
def _first_number(part: str) -> tuple[str, int | None]:
    template, indices = split_name(part)
    return template, indices[0] if indices else None


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


VISION = _words(
    "vision vision_tower vision_model visual vision_encoder vision_backbone image_encoder image_tower img_processor "
    "vit vit_model vpm vqmodel vqvae sam_model vision_embed_tokens patch_embed pixel_encoder"
)
AUDIO = _words(
    "audio audio_tower audio_model audio_encoder speech_encoder speech_tower apm feature_extractor codec_model "
    "code2wav token2wav"
)
PROJECTOR = _words(
    "multi_modal_projector mm_projector connector projector aligner resampler perceiver perceiver_resampler "
    "vision_projection audio_projection visual_projection text_projection language_projection qformer abstractor "
    "embed_vision embed_audio vl_connector vision_proj audio_projector speech_projector mlp1 merger "
    "modality_projection mmproj"
)
ROUTER = _words("router gate wg shared_expert_gate gate_layer")
SHARED_EXPERTS = _words("shared_expert shared_experts shared_mlp share_expert")
EMBEDDING = _words(
    "embed_tokens wte wpe word_embeddings word_embedding position_embeddings position_embedding token_type_embeddings "
    "embed_in tok_embeddings token_embedding embeddings embedding shared embed_positions embed_tokens_per_layer "
    "word_embeddings_layernorm embed tokens_embed positions_embed relative_attention_bias rel_embeddings "
    "wtte embed_token embed_out_tokens"
)
HEAD = _words(
    "lm_head embed_out cls score classifier qa_outputs head lm_head_projection pooler pre_classifier "
    "final_logits_bias generator_lm_head discriminator_predictions prediction summary out_proj_head output_layer "
    "sequence_summary vocab_head seq_relationship"
)
CROSS_ATTENTION = ("cross_attn", "crossattention", "cross_attention", "encoder_attn", "EncDecAttention")
"""How modules begin in which a decoder attends to an encoder, or to an image."""
RECURRENT = re.compile(
    r"^(linear_attn|mamba\w*|mixer|ssm|temporal_block|conv|short_conv|delta_net|rwkv|time_mix|mlstm_layer)$"
)
MIXED = _words("mixer temporal_block")
"""Of these, those that are attention or an MLP in some layers (Nemotron-H, RecurrentGemma)."""
NORM = re.compile(r"norm|^ln(_|\d|$)|^ln$|_ln$|LayerNorm|^bn\d*$|_bn$")
ATTENTION = re.compile(r"att(n|ention)|^att_proj$|^(q|k|v|o|qkv|kv)_proj|SelfAttention$|^Wqkv$")
MLP = re.compile(
    r"mlp|ffn|feed_forward|feedforward|DenseReluDense|^(fc|w|wi|wo|linear)_?\d*$|intermediate|^dense_", re.I
)


@lru_cache(maxsize=4096)
def component(template: str) -> str:
    """The part of the model that a parameter belongs to: embedding, attention, cross_attention, linear_attention, mlp,
    router, experts, shared_experts, norm, head, vision, audio, projector, convolution or other.

    By names alone, from the outside in: a vision tower's attention is "vision".
    """
    *modules, leaf = template.split(".")
    names = [part for part in modules if part != PLACEHOLDER]
    outer = names[: 3 + (names[:1] == ["model"])]
    for label, words in (("projector", PROJECTOR), ("vision", VISION), ("audio", AUDIO)):
        if any(part in words for part in outer):
            return label
    inside = PLACEHOLDER in modules
    last = names[-1] if names else leaf
    if any(part in SHARED_EXPERTS for part in names):
        return "shared_experts"
    own = f"experts.{PLACEHOLDER}." in template  # one expert's own gate is no router
    if inside and not own and (last in ROUTER or "router" in names or leaf.startswith("router")):
        return "router"
    if "experts" in names or leaf.startswith("experts") or (names[-2:-1] == ["moe"] and last.endswith("_proj")):
        return "experts"
    if NORM.search(last) or (NORM.search(leaf) and leaf not in ("weight", "bias")):
        return "norm"
    return _plain(names or [leaf], leaf, inside)


def _plain(names: list[str], leaf: str, inside: bool) -> str:
    """The component of what is neither another modality, nor part of a mixture, nor a norm."""
    if not inside and any(part in HEAD for part in names):
        return "head"
    if any(part in EMBEDDING for part in names):
        return "embedding"
    if any(part.startswith(CROSS_ATTENTION) for part in names):
        return "cross_attention"
    if any(RECURRENT.search(part) for part in names):
        if not MIXED.isdisjoint(names):
            if names[-1] in ("q_proj", "k_proj", "v_proj", "o_proj"):
                return "attention"
            if names[-1] in ("up_proj", "down_proj", "gate_proj"):
                return "mlp"
        return "linear_attention"
    if any(ATTENTION.search(part) for part in names):
        return "attention"
    if any(MLP.search(part) for part in names) or MLP.search(leaf) or (inside and "output" in names):
        return "mlp"
    if any(part in HEAD for part in names):
        return "head"
    return _rare(".".join(names), inside)


RARE = (
    ("experts", r"block_sparse_moe\.(input|output)_linear$"),
    ("linear_attention", r"(^|\.)token_mixer(\.|$)"),
    ("mlp", r"block_sparse_moe\.|(^|\.)channel_mixer(\.|$)|(^|\.)ff(\d|_proj|_out)?(\.|$)"),
    ("audio", r"(^|\.)(feature_projection|conformer)(\.|$)|^masked_spec_embed"),
    (
        "projector",
        r"enc_to_dec_proj|encoder_decoder_proj|image_newline|query_tokens|image_to_text|_projector|_adapter|_aligner|merger",
    ),
    ("attention", r"(^|\.)(query|key|value)_net$|out_projection$|rel_pos_\w*bias"),
    ("embedding", r"embed|(^|_|\.)emb(_|\.|$)|(^|\.)per_layer_|pos_emb"),
    ("convolution", r"conv|(^|\.)(backbone|stages?|downsample\w*|upsample\w*|stem)(\.|$)"),
)
"""What else the parameters that are left are called: the first that fits."""
RARE_HEADS = (
    r"heads?(\.|$)|^(\w*predictions|lm_loss|proj_out|mlm_score|output|decoder|pred_layer|vocab_transform)(\.|$)|"
    r"(^|\.)(ff_out(\.|$)|output$|unembed)|logits|output_projection|_pooler"
)
"""Heads, outside of all layers."""


def _rare(names: str, inside: bool) -> str:
    """The component of what no common word tells. Patterns are compiled here, so that common models need none."""
    if not inside and re.search(rf"(^|\.)hc_head|({RARE_HEADS})", names):
        return "other" if "hc_head" in names else "head"
    for label, pattern in RARE:
        if re.search(pattern, names):
            return label
    return "other"


LAYER_LISTS = _words("layers layer h block blocks decoder_layers encoder_layers resblocks layer_stack")
MTP = re.compile(r"(^|\.)(mtp\w*|nextn\w*|eh_proj|shared_head|enorm|hnorm)(\.|$)")
"""Multi-token prediction: its own stack (Qwen3-Next), or the parts only such a layer has (DeepSeek-V3)."""


def modules(names: Iterable[str]) -> set[str]:
    """All modules that names are in: "mlp" and "mlp.gate" of "mlp.gate.weight"."""
    found: set[str] = set()
    for name in names:
        while (name := name.rpartition(".")[0]) and name not in found:
            found.add(name)
    return found


def stack(template: str) -> str | None:
    """The list of layers that a template's first number counts: "model.layers.{}.mlp..." -> "model.layers"."""
    front, found, _ = template.partition(f".{PLACEHOLDER}")
    if not found or front.rpartition(".")[2] not in LAYER_LISTS:
        return None
    return front


def decoder_stack(groups: Iterable[Group]) -> str | None:
    """The stack of the language part's own layers: of an encoder-decoder the decoder's, of several the largest."""
    sizes: dict[str, int] = {}
    for group in groups:
        front = stack(group.template)
        if front and not MTP.search(front) and component(group.template) not in ("vision", "audio", "projector"):
            sizes[front] = sizes.get(front, 0) + group.count * group.numel
    decoders = {front: size for front, size in sizes.items() if re.search(r"(^|[._])decoder(\.|$)", front)}
    candidates = decoders if decoders and any("encoder" in front.split(".") for front in sizes) else sizes
    return max(candidates, key=candidates.__getitem__, default=None)


PARAMETER, OVERHEAD, BUFFERS = "parameter", "overhead", "buffer"
MTP_LAYERS, DUPLICATE_HEAD, DUPLICATE_EMBEDDING, OTHER = "mtp", "duplicate_head", "duplicate_embedding", "other"
SHARED = "shared"
"""Of a module that shares another's tensors, where the file has both."""


@dataclass(slots=True)
class TensorGroup:
    """The tensors of one group that share a fate.

    Attributes:
        group: where they come from.
        name: the parameter's template, packed suffix put right; where the class is known, as the class has it.
        numel: parameters that one tensor stands for.
        layers: first number in the name -> tensors.
        count: how many tensors.
        role: parameter, overhead, buffer, or why the class does not load them.
        packed: they hold a weight that is not stored as a plain float, or belong to one.
        known: the class has such a parameter; what it does not know counts as stored, as a component of its own.
    """

    group: Group
    name: str
    numel: int
    layers: Mapping[int, int]
    count: int
    role: str = PARAMETER
    packed: bool = False
    known: bool = True

    @property
    def total(self) -> int:
        return self.count * self.numel

    @property
    def nbytes(self) -> int:
        return self.count * self.group.nbytes
