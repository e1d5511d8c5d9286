"""The fixed states that layers without attention, or beside it, keep between two steps: their shapes and dtypes.

Shapes are of one sequence. Convolutions keep their last inputs in the run's dtype; the recurrent matrices stay float32
in almost every model (measured by tests/oracles/caches.py on bfloat16 models).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from inspector.model.layers import StateTensor

Values = Mapping[str, Any]
States = tuple[StateTensor, ...]


def states_of(values: Values, text_type: str | None) -> States | None:
    """A layer's states, or None where the model type's are not known, or the config does not give their sizes."""
    rule = STATE_RULES.get(text_type or "")
    return None if rule is None else rule(values)


def _numbers(values: Values, *keys: str) -> tuple[int, ...] | None:
    """The values of all keys, or None where one is no number. `a|b` is b where there is no a."""
    found: list[int] = []
    for alternatives in keys:
        number = next((values[key] for key in alternatives.split("|") if values.get(key) is not None), None)
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            return None
        found.append(int(number))
    return tuple(found)


def _gated_delta(values: Values) -> States | None:
    """Gated delta net (Qwen3-Next; Yang et al., 2024, arXiv 2412.06464): a convolution over queries, keys and values,
    and a key-by-value matrix a value head."""
    numbers = _numbers(
        values,
        "linear_num_key_heads",
        "linear_num_value_heads",
        "linear_key_head_dim",
        "linear_value_head_dim",
        "linear_conv_kernel_dim",
    )
    if numbers is None:
        return None
    key_heads, value_heads, key_dim, value_dim, kernel = numbers
    channels = 2 * key_heads * key_dim + value_heads * value_dim
    return (StateTensor((channels, kernel), "compute"), StateTensor((value_heads, key_dim, value_dim), "F32"))


def _kimi_delta(values: Values) -> States | None:
    """Kimi delta attention (Kimi Linear, arXiv 2510.26692): queries, keys and values have the same heads."""
    numbers = _numbers(values, "linear_num_heads", "linear_head_dim", "linear_conv_kernel_dim")
    if numbers is None:
        return None
    heads, width, kernel = numbers
    return (StateTensor((3 * heads * width, kernel), "compute"), StateTensor((heads, width, width), "F32"))


def _mamba(values: Values) -> States | None:
    """Mamba (Gu and Dao, 2023, arXiv 2312.00752): a convolution and a state of `state_size` for each inner channel."""
    numbers = _numbers(
        values, "hidden_size", "expand|mamba_expand", "state_size|mamba_d_state", "conv_kernel|mamba_d_conv"
    )
    if numbers is None:
        return None
    hidden, expand, state, kernel = numbers
    return (StateTensor((hidden * expand, kernel), "compute"), StateTensor((hidden * expand, state), "F32"))


def _zamba(values: Values) -> States | None:
    """Zamba: Mamba with heads."""
    plain = _mamba(values)
    heads = _numbers(values, "n_mamba_heads")
    if plain is None or heads is None or heads[0] < 1:
        return None
    convolution, state = plain
    inner, width = state.shape
    return (convolution, StateTensor((heads[0], inner // heads[0], width), "F32"))


def _mamba2(values: Values) -> States | None:
    """Mamba-2 (Dao and Gu, 2024, arXiv 2405.21060): the convolution also covers the groups' B and C; a head has a
    matrix of head dimension by state size."""
    numbers = _numbers(
        values,
        "num_heads|mamba_num_heads|mamba_n_heads|n_mamba_heads",
        "mamba_head_dim|mamba_d_head|mamba_headdim|head_dim",
        "state_size|ssm_state_size|mamba_d_state",
        "conv_kernel|mamba_d_conv",
        "n_groups|mamba_n_groups|mamba_ngroups",
    )
    if numbers is None:
        return None
    heads, width, state, kernel, groups = numbers
    channels = heads * width + 2 * groups * state
    return (StateTensor((channels, kernel), "compute"), StateTensor((heads, width, state), "F32"))


def _short_convolution(values: Values) -> States | None:
    """LFM2: the last inputs of a short convolution."""
    numbers = _numbers(values, "hidden_size", "conv_L_cache")
    return None if numbers is None else (StateTensor(numbers, "compute"),)


def _lightning(values: Values) -> States | None:
    """Lightning attention (MiniMax-01, arXiv 2501.08313): a matrix a head, in the run's dtype."""
    numbers = _numbers(values, "num_attention_heads", "hidden_size")
    if numbers is None or numbers[0] < 1:
        return None
    width = values.get("head_dim") or numbers[1] // numbers[0]
    return (StateTensor((numbers[0], width, width), "compute"),)


STATE_RULES: dict[str, Callable[[Values], States | None]] = {
    "bailing_hybrid": _kimi_delta,
    "bamba": _mamba2,
    "falcon_h1": _mamba2,
    "falcon_mamba": _mamba,
    "glm5_next_text": _kimi_delta,
    "granitemoehybrid": _mamba2,
    "jamba": _mamba,
    "kimi_linear": _kimi_delta,
    "lfm2": _short_convolution,
    "lfm2_moe": _short_convolution,
    "lfm3": _short_convolution,
    "mamba": _mamba,
    "mamba2": _mamba2,
    "minimax": _lightning,
    "nemotron_h": _mamba2,
    "olmo_hybrid": _gated_delta,
    "qwen3_5_moe_text": _gated_delta,
    "qwen3_5_text": _gated_delta,
    "qwen3_next": _gated_delta,
    "zamba": _zamba,
    "zamba2": _mamba2,
}
"""The rule of each language part that keeps states."""
