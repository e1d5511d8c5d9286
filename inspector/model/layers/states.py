"""The fixed states that layers without attention, or beside it, keep between two steps: their shapes and dtypes.

Shapes are of one sequence. Convolutions keep their last inputs in the run's dtype; the recurrent matrices stay float32
in almost every model (measured by tests/oracles/caches.py on bfloat16 models).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inspector.model.layers.layer import LARGEST_SIZE, LayerSource, StateTensor

Values = Mapping[str, Any]
States = tuple[StateTensor, ...]

FACTORS = frozenset({"expand", "mamba_expand", "qk_dim_factor", "v_dim_factor"})
"""Keys whose values need not be whole."""


def states_of(source: LayerSource) -> tuple[States, tuple[str, ...]] | None:
    """A layer's states and the config keys that they come from, or None where the model type's are not known, or the
    config does not give their sizes. Fact of a type: `states`, the rule's name."""
    rule = RULES.get(source.facts.get("states", ""))
    if rule is None:
        return None
    function, *alternatives = rule
    keys = [_key(source.values, names) for names in alternatives]
    numbers = [_number(source.values, key) for key in keys]
    known = [number for number in numbers if number is not None]
    if len(known) < len(numbers):
        return None
    states = function(*known)
    return None if states is None else (states, tuple(key for key in keys if not key.isdigit()))


def _key(values: Values, names: str) -> str:
    """The first of the names that has a value: `a|b` is b where there is no a, and `a|0` is the number 0."""
    parts = names.split("|")
    return next((name for name in parts if values.get(name) is not None), parts[-1])


def _number(values: Values, key: str) -> float | None:
    """A key's value, or None where it is none that a size can have."""
    number = int(key) if key.isdigit() else values.get(key)
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 <= number <= LARGEST_SIZE:
        return None
    return number if key in FACTORS else int(number)


def _gated_delta(key_heads: int, value_heads: int, key_dim: int, value_dim: int, kernel: int) -> States:
    """Gated delta net (Qwen3-Next; Yang et al., 2024, arXiv 2412.06464): a convolution over queries, keys and values,
    and a key-by-value matrix a value head."""
    channels = 2 * key_heads * key_dim + value_heads * value_dim
    return (StateTensor((channels, kernel), "compute"), StateTensor((value_heads, key_dim, value_dim), "F32"))


def _kimi_delta(heads: int, width: int, kernel: int) -> States:
    """Kimi delta attention (Kimi Linear, arXiv 2510.26692): queries, keys and values have the same heads."""
    return (StateTensor((3 * heads * width, kernel), "compute"), StateTensor((heads, width, width), "F32"))


def _mamba(hidden: int, expand: float, state: int, kernel: int) -> States:
    """Mamba (Gu and Dao, 2023, arXiv 2312.00752): a convolution and a state of `state_size` for each inner channel."""
    inner = int(hidden * expand)
    return (StateTensor((inner, kernel), "compute"), StateTensor((inner, state), "F32"))


def _mamba_heads(hidden: int, expand: float, state: int, kernel: int, heads: int) -> States | None:
    """Zamba: Mamba with heads."""
    inner = int(hidden * expand)
    if heads < 1:
        return None
    return (StateTensor((inner, kernel), "compute"), StateTensor((heads, inner // heads, state), "F32"))


def _mamba2(heads: int, width: int, state: int, kernel: int, groups: int) -> States:
    """Mamba-2 (Dao and Gu, 2024, arXiv 2405.21060): the convolution also covers the groups' B and C; a head has a
    matrix of head dimension by state size."""
    channels = heads * width + 2 * groups * state
    return (StateTensor((channels, kernel), "compute"), StateTensor((heads, width, state), "F32"))


def _short_convolution(hidden: int, kernel: int) -> States:
    """LFM2: the last inputs of a short convolution."""
    return (StateTensor((hidden, kernel), "compute"),)


def _lightning(heads: int, hidden: int, head_dim: int) -> States | None:
    """Lightning attention (MiniMax-01, arXiv 2501.08313): a matrix a head, in the run's dtype."""
    if heads < 1:
        return None
    width = head_dim or hidden // heads
    return (StateTensor((heads, width, width), "compute"),)


def _convolved_rows(kv_heads: int, heads: int, hidden: int, head_dim: int, window: int) -> States | None:
    """Baichuan-M1 (arXiv 2502.12671): convolutions over keys and over values keep the inputs before the next one."""
    if heads < 1 or window < 2:
        return None
    rows = StateTensor((kv_heads * (head_dim or hidden // heads), window), "compute")
    return (rows, rows)


def _inkling(heads: int, head_dim: int, hidden: int, kernel: int) -> States:
    """Inkling: convolutions over keys, over values, after the attention and after the MLP, all in float32."""
    rows = StateTensor((heads * head_dim, kernel), "F32")
    stream = StateTensor((hidden, kernel), "F32")
    return (rows, rows, stream, stream)


def _zaya(heads: int, kv_heads: int, head_dim: int, depthwise: int, grouped: int) -> States:
    """ZAYA's compressed convolutional attention (arXiv 2510.04476): the last queries and keys of two convolutions, and
    the half of the value heads that comes a token late."""
    kernel = max(depthwise - 1, 0) + max(grouped - 1, 0)
    return (
        StateTensor(((heads + kv_heads) * head_dim, kernel), "compute"),
        StateTensor((kv_heads * head_dim // 2,), "compute"),
    )


def _rg_lru(hidden: int, width: int, kernel: int) -> States:
    """RG-LRU (Griffin; De et al., 2024, arXiv 2402.19427): one convolution and one float32 state a channel. The class
    makes the convolution's first state `hidden_size` wide, but what it keeps has `lru_width` channels."""
    channels = width or hidden
    convolution = StateTensor((channels, max(kernel - 1, 0)), "compute", spare=channels)
    return (convolution, StateTensor((channels,), "F32"))


def _rwkv(hidden: int, attention: int) -> States:
    """RWKV-4 (Peng et al., 2023, arXiv 2305.13048): the last inputs of both blocks, and numerator, denominator and
    maximum of the attention."""
    inputs, sums = StateTensor((hidden,), "compute"), StateTensor((attention or hidden,), "F32")
    return (inputs, inputs, sums, sums, sums)


def _mlstm(heads: int, hidden: int, key_factor: float, value_factor: float) -> States | None:
    """xLSTM's matrix memory (Beck et al., 2024, arXiv 2405.04517): a key-by-value matrix, a normalizer and a gate's
    maximum a head. Widths are rounded up to multiples of 64, as the class does."""
    if heads < 1:
        return None
    keys, values = (-(-int(hidden * factor) // 64) * 64 // heads for factor in (key_factor, value_factor))
    return tuple(StateTensor(shape, "compute") for shape in ((heads, keys, values), (heads, keys), (heads, 1)))


_MAMBA_KEYS = ("hidden_size", "expand|mamba_expand", "state_size|mamba_d_state", "conv_kernel|mamba_d_conv")

RULES: dict[str, tuple[Any, ...]] = {
    "convolved_rows": (
        _convolved_rows,
        "num_key_value_heads",
        "num_attention_heads",
        "hidden_size",
        "head_dim|0",
        "conv_window",
    ),
    "gated_delta": (
        _gated_delta,
        "linear_num_key_heads",
        "linear_num_value_heads",
        "linear_key_head_dim",
        "linear_value_head_dim",
        "linear_conv_kernel_dim",
    ),
    "inkling": (_inkling, "num_key_value_heads", "head_dim", "hidden_size", "conv_kernel_size"),
    "kimi_delta": (_kimi_delta, "linear_num_heads", "linear_head_dim", "linear_conv_kernel_dim"),
    "lightning": (_lightning, "num_attention_heads", "hidden_size", "head_dim|0"),
    "mamba": (_mamba, *_MAMBA_KEYS),
    "mamba2": (
        _mamba2,
        "num_heads|mamba_num_heads|mamba_n_heads|n_mamba_heads",
        "mamba_head_dim|mamba_d_head|mamba_headdim|head_dim",
        "state_size|ssm_state_size|mamba_d_state",
        "conv_kernel|mamba_d_conv",
        "n_groups|mamba_n_groups|mamba_ngroups",
    ),
    "mamba_heads": (_mamba_heads, *_MAMBA_KEYS, "n_mamba_heads"),
    "mlstm": (_mlstm, "num_heads", "hidden_size", "qk_dim_factor", "v_dim_factor"),
    "rg_lru": (_rg_lru, "hidden_size", "lru_width|0", "conv1d_width"),
    "rwkv": (_rwkv, "hidden_size", "attention_hidden_size|0"),
    "short_convolution": (_short_convolution, "hidden_size", "conv_L_cache"),
    "zaya": (_zaya, "num_attention_heads", "num_key_value_heads", "head_dim", "cca_time0", "cca_time1"),
}
"""Each rule: a function, and the config keys of its arguments. Which model type has which is in
inspector/data/configs.json."""
