"""vLLM's buffers for adapters that are served: made when the model is loaded, for `max_loras` of `max_lora_rank` each.

vllm/lora/layers: an A of (max_loras, rank, inputs) and a B of (max_loras, outputs, rank) for each linear layer of the
language part, fused ones a pair for each that was fused; under tensor parallelism only the side that the layer itself
is cut on is cut. Checked against its LoRAModelManager by tests/oracles/vllm/lora.py.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from inspector.engines.common.loaded_weights import ceil_div, key_value_ranks
from inspector.engines.common.served import ServedModel
from inspector.engines.serving import CannotTell
from inspector.engines.vllm.budget import VllmSettings
from inspector.engines.vllm.loads import flags, loaded_as
from inspector.engines.vllm.options import VllmOptions
from inspector.errors import UsageError
from inspector.model import Model
from inspector.model.parameters.names import PARAMETER, component

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What `--max-lora-rank` takes (vllm/config/lora.py: MaxLoRARanks)."""

USUAL_RANK, USUAL_LORAS = 16, 1
MAX_VOCABULARY = 258048
"""Of a head with adapters (vllm/lora/layers/logits_processor.py)."""

_KEY_VALUE = re.compile(r"(k_proj|v_proj|key|value|wk|wv)$")
_FUSED_ATTENTION = re.compile(r"(qkv_proj|query_key_value)$")
_NOT_WRAPPED = re.compile(r"(c_attn|Wqkv|qkv)$")
"""Fused attention that some classes have no adapters for."""

_LINEAR = ("attention", "mlp", "shared_experts", "router")
_NO_LINEAR = ("norm", "experts", "vision", "audio", "projector")


ADAPTER_NOTE = "CUDA graphs and a step's activations are counted as without adapters"


class ServedAdapters(NamedTuple):
    """Adapters to be served: how many at once, and the largest rank of them."""

    loras: int
    rank: int


def served_adapters(options: VllmOptions) -> ServedAdapters | None:
    """What was asked for, vLLM's defaults filled in; None where nothing was.

    Raises:
        UsageError: a rank that vLLM does not take.
    """
    if options.max_loras is None and options.max_lora_rank is None:
        return None
    rank = options.max_lora_rank or USUAL_RANK
    if rank not in RANKS:
        raise UsageError(f"vLLM takes no --max-lora-rank {rank}", f"It takes {', '.join(map(str, RANKS))}.")
    return ServedAdapters(options.max_loras or USUAL_LORAS, rank)


def adapter_bytes(
    model: Model, served: ServedModel, adapters: ServedAdapters, tensor_parallel: int, ranks: int, chosen: VllmSettings
) -> int:
    """Bytes of all buffers on a rank that holds all layers.

    Args:
        ranks: that whole experts are dealt out over.

    Raises:
        UsageError: vLLM serves no adapters of such a model.
        CannotTell: the layers' shapes do not tell them.
    """
    name = loaded_as(model.architecture.architecture or "")
    found = next((flag for flag in flags(name) if flag.startswith("adapters")), None)
    if found is None:
        raise UsageError(f"vLLM serves no adapters of {name or 'this class'}", "Leave out --max-loras.")
    ends = found.partition(":")[2]
    if "h" in ends and served.vocab_size > MAX_VOCABULARY:
        raise UsageError(f"vLLM serves no adapters of a head of more than {MAX_VOCABULARY:,} tokens")
    plain = all(layer.rows and not layer.rows.widths and not layer.states for layer in served.layers)
    each = _layers(model, served, tensor_parallel) if plain else None
    experts = _experts(
        model, served, tensor_parallel, ranks if chosen.enable_expert_parallel else 1, stacked="3" in ends
    )
    if each is None or experts is None:
        raise CannotTell("the buffers for adapters are known of plain attention, MLPs and experts alone")
    outside = len(ends.rstrip("3")) * (served.vocab_size + served.hidden_size)
    return (each + experts + outside) * adapters.loras * adapters.rank * served.element_bytes


def _layers(model: Model, served: ServedModel, tensor_parallel: int) -> int | None:
    """Inputs and outputs of all linear layers of the language part but the routed experts, as a rank holds them."""
    hidden, total = served.hidden_size, 0
    for group in model.parameters.tensor_groups:
        part, (module, _, last) = component(group.name), group.name.rpartition(".")
        if not group.layers or last != "weight" or group.role != PARAMETER or part in _NO_LINEAR:
            continue
        other, rest = divmod(group.numel, hidden)
        if rest or part not in _LINEAR or _NOT_WRAPPED.search(module):
            return None
        if other > 1:  # else a norm of another name
            total += group.count * _sides(module, part, hidden, other, served, tensor_parallel)
    return total or None


def _sides(module: str, part: str, hidden: int, other: int, served: ServedModel, tensor_parallel: int) -> int:
    """Inputs and outputs of one layer on a rank; one of the two is the hidden size."""
    if part == "router" or module.endswith("gate"):
        return hidden + other
    heads = key_value_ranks(served, tensor_parallel)
    if _FUSED_ATTENTION.search(module):
        rows = next((layer.rows.values_per_token or 0 for layer in served.layers if layer.rows is not None), 0)
        return hidden + ceil_div(other - rows, tensor_parallel) + ceil_div(rows, heads)
    return hidden + ceil_div(other, heads if _KEY_VALUE.search(module) else tensor_parallel)


def _experts(model: Model, served: ServedModel, tensor_parallel: int, dealt: int, *, stacked: bool) -> int | None:
    """The same of all routed experts: a pair each for gate, up and down, or one for gate and up together."""
    mixture = served.mixture
    if mixture is None or not mixture.total:
        return 0
    if served.padded_experts:  # as wide as the kernel's own padding
        return None
    groups = [group for group in model.parameters.tensor_groups if component(group.name) == "experts"]
    layers = {layer for group in groups for layer in group.layers}
    inner = mixture.intermediate_size if dealt > 1 else ceil_div(mixture.intermediate_size, tensor_parallel)
    each = (2 if stacked else 3) * served.hidden_size + 3 * inner
    return len(layers) * ceil_div(mixture.total, dealt) * each
