"""The rules by which config classes fill in what a file leaves out, named so that a table can tell who has which.

A rule is a prefix and an expression. Prefixes: `=` always, `?` where the value is None, `!` where it is falsy.
Expressions: a key (`num_attention_heads`), a product, quotient or sum of two (`hidden_size//num_attention_heads`,
`4*hidden_size`), or a named function with arguments (`every:sliding_attention:full_attention:4:1`).
`fixtures/make_configs.py` finds the rule of each class by trying them against the class.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

Values = Mapping[str, Any]

_ARITHMETIC = re.compile(r"(\w+)(//|\*|\+)(\w+)")

LEGACY_LAYER_TYPES = {
    "mamba": "linear_attention",
    "attention": "full_attention",
    "deepseek_sparse_attention": "indexed_attention",
    "qwen_sparse_attention": "indexed_attention",
}
"""Old names of layer kinds. Source: `_LEGACY_LAYER_TYPE_REMAP` of transformers.configuration_utils."""


def apply_rule(rule: str, current: Any, values: Values) -> Any:
    """What a rule makes of a value.

    Args:
        rule: prefix and expression, e.g. "?num_attention_heads".
        current: the value of the file, or the class's default.
        values: all values, by key.
    """
    prefix, expression = rule[0], rule[1:]
    if (prefix == "?" and current is not None) or (prefix == "!" and current):
        return current
    return evaluate(expression, values)


def evaluate(expression: str, values: Values) -> Any:
    """The value of an expression; None where a part of it is missing or of the wrong type."""
    if match := _ARITHMETIC.fullmatch(expression):
        left, right = (_operand(match[group], values) for group in (1, 3))
        if left is None or right is None:
            return None
        if match[2] == "//":
            return int(left // right) if right else None
        return int(left * right) if match[2] == "*" else left + right
    name, *arguments = expression.split(":")
    if name in FUNCTIONS:
        return FUNCTIONS[name](values, *arguments)
    return values.get(expression)


def _operand(word: str, values: Values) -> int | float | None:
    if word.isdigit():
        return int(word)
    value = values.get(word)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    # Neither infinities and nan, nor what a division would make infinite: such a value is refused later, by its name.
    return value if value == 0 or 2.0**-63 < abs(value) < 2**63 else None


def _number(word: str, values: Values) -> int:
    """An argument that is a number, a key, or a key with a default (`sliding_window_pattern|6`)."""
    key, _, default = word.partition("|")
    value = _operand(key, values)
    if value is None and default:
        value = int(default)
    return int(value or 0)


def _layers(values: Values) -> range:
    count = values.get("num_hidden_layers")
    return range(count if isinstance(count, int) else 0)


def _every(values: Values, usual: str, each: str, period: str, offset: str) -> list[str]:
    """`each` at every `period`-th layer, counted from `offset`; `usual` elsewhere (Gemma 2 and 3, Qwen3-Next)."""
    step, start = _number(period, values), _number(offset, values)
    return [each if step and (index + start) % step == 0 else usual for index in _layers(values)]


def _at(values: Values, period: str, offset: str, usual: str, each: str) -> list[str]:
    """`each` where the index leaves `offset` over `period` (Jamba)."""
    step, rest = _number(period, values), _number(offset, values)
    return [each if step and index % step == rest else usual for index in _layers(values)]


def _first_then(values: Values, first: str, then: str, count: str) -> list[str]:
    """`first` in so many layers, `then` in all others (DeepSeek-V3.2)."""
    return [first if index < _number(count, values) else then for index in _layers(values)]


def _first_and_every(values: Values, usual: str, each: str, period: str, offset: str) -> list[str]:
    """As `every`, and the first layer is `each`, too (MiMo-V2)."""
    kinds = _every(values, usual, each, period, offset)
    return [each, *kinds[1:]] if kinds else kinds


def _every_or_last(values: Values, usual: str, each: str, period: str, offset: str) -> list[str]:
    """As `every`; with too few layers for one `each`, the last is (OLMo-hybrid)."""
    kinds = _every(values, usual, each, period, offset)
    return kinds if each in kinds else [*kinds[:-1], each]


def _last_is(values: Values, kind: str) -> list[str] | None:
    """The given kinds, the last one replaced (Gemma 4)."""
    given = values.get("layer_types")
    return [*given[:-1], kind] if isinstance(given, list) and given else None


def _all(values: Values, kind: str) -> list[str]:
    return [kind] * len(_layers(values))


def _sliding_if_window(values: Values) -> list[str]:
    """Ministral: all layers slide, if there is a window."""
    kind = "full_attention" if values.get("sliding_window") is None else "sliding_attention"
    return _all(values, kind)


def _from_max_window_layers(values: Values) -> list[str]:
    """Qwen2: the layers from `max_window_layers` on slide, if there is a window."""
    first = _number("max_window_layers", values)
    slides = values.get("sliding_window") is not None and values.get("max_window_layers") is not None
    return ["sliding_attention" if slides and index >= first else "full_attention" for index in _layers(values)]


def _alternate_below_max_window_layers(values: Values) -> list[str]:
    """Qwen2-MoE: every other layer below `max_window_layers` slides, if windows are used."""
    last = _number("max_window_layers", values)
    slides = bool(values.get("use_sliding_window"))
    return [
        "sliding_attention" if slides and index % 2 == 0 and index < last else "full_attention"
        for index in _layers(values)
    ]


def _rope_layers(values: Values) -> list[int]:
    """1 where a layer has rotary positions: Llama 4 and SmolLM3 leave every n-th layer without."""
    given = values.get("no_rope_layers")
    if isinstance(given, list) and given:
        return given[: len(_layers(values))]
    step = _number("no_rope_layer_interval|4", values)
    return [int(step == 0 or (index + 1) % step != 0) for index in _layers(values)]


def _chunked_where_rope(values: Values) -> list[str]:
    """Llama 4: layers with rotary positions see chunks, the others everything."""
    return ["chunked_attention" if rope else "full_attention" for rope in _rope_layers(values)]


def _sliding_where_no_rope(values: Values) -> list[str]:
    """SmolLM3: layers without rotary positions slide, if windows are used."""
    slides = bool(values.get("use_sliding_window")) and values.get("sliding_window") is not None
    return ["sliding_attention" if slides and not rope else "full_attention" for rope in _rope_layers(values)]


def _full_at_indices(values: Values, elsewhere: str) -> list[str]:
    """LFM2: full attention at `full_attn_idxs`, everywhere if there are none."""
    given = values.get("full_attn_idxs")
    if not isinstance(given, list):
        return _all(values, "full_attention")
    return ["full_attention" if index in given else elsewhere for index in _layers(values)]


def _shared_from(values: Values) -> list[str | None] | None:
    """Gemma 3n and 4: the last `num_kv_shared_layers` reuse the cache of an earlier layer of their kind."""
    shared = values.get("num_kv_shared_layers")
    if not isinstance(shared, int):
        return None
    first = len(_layers(values)) - shared
    return ["reuse" if shared and index >= first > 0 else None for index in _layers(values)]


def _half_window(values: Values, which: str = "all") -> Any:
    """Models that see half the window to each side: Gemma 4's if bidirectional for "all", Gemma 3's if at all."""
    window, both_ways = _operand("sliding_window", values), values.get("use_bidirectional_attention")
    halved = bool(both_ways) if which == "any" else both_ways == which
    return int(window // 2 + 1) if halved and window is not None else values.get("sliding_window")


def _inner_over(values: Values, heads: str) -> int | None:
    """Mamba-2's head dimension: inner channels over heads, where the file says "auto" or nothing."""
    count, hidden = _operand(heads, values), _operand("hidden_size", values)
    expand = _operand("mamba_expand", values)
    inner = _operand("mamba_d_ssm", values)
    if inner is None and hidden is not None and expand is not None:
        inner = int(hidden * expand)
    return int(inner // count) if inner is not None and count else None


def _given_or_inner_over(values: Values, key: str, heads: str) -> int | None:
    value = values.get(key)
    return _inner_over(values, heads) if value == "auto" else value


def _ratio(values: Values, factor: str, key: str, divisor: str, other: str) -> int | None:
    """factor * key / (divisor * other), rounded down (OLMo-hybrid's linear heads)."""
    above, below = _operand(key, values), _operand(other, values)
    return int(int(factor) * above // (int(divisor) * below)) if above is not None and below else None


def overrides_of_full_layers(values: Values) -> dict[int, dict[str, Any]]:
    """Gemma 4: full layers have a head dimension, and maybe key/value heads, of their own."""
    width = values.get("global_head_dim")
    own: dict[str, Any] = {"head_dim": 512 if width is None else width}
    heads = values.get("num_global_key_value_heads")
    if heads is not None and values.get("attention_k_eq_v") is not False:
        own["num_key_value_heads"] = heads
    kinds = values.get("layer_types") or []
    return {index: own for index, kind in enumerate(kinds) if kind == "full_attention"}


def _window_if_used(values: Values, otherwise: str) -> int | None:
    """Qwen: `sliding_window` counts only beside `use_sliding_window`."""
    if values.get("use_sliding_window"):
        window = values.get("sliding_window")
        return window if isinstance(window, int) else None
    return 0 if otherwise == "0" else None


def _first(values: Values, *keys: str) -> Any:
    return next((values[key] for key in keys if values.get(key) is not None), None)


def _tanh_for_gelu(values: Values, key: str) -> Any:
    """Gemma: the first releases wrote "gelu" and meant the tanh approximation."""
    return "gelu_pytorch_tanh" if values.get(key) == "gelu" else values.get(key)


def _activation_of(values: Values, key: str) -> str | None:
    """T5: "gated-gelu" is a gated MLP with gelu_new."""
    name = values.get(key)
    if not isinstance(name, str):
        return None
    return "gelu_new" if name == "gated-gelu" else name.split("-")[-1]


def _gated(values: Values, key: str) -> bool | None:
    name = values.get(key)
    return name.split("-")[0] == "gated" if isinstance(name, str) else None


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "activation_of": _activation_of,
    "all": _all,
    "alternate_below_max_window_layers": _alternate_below_max_window_layers,
    "at": _at,
    "chunked_where_rope": _chunked_where_rope,
    "const": lambda _values, *text: json.loads(":".join(text)),
    "every": _every,
    "every_or_last": _every_or_last,
    "first": _first,
    "first_and_every": _first_and_every,
    "first_then": _first_then,
    "from_max_window_layers": _from_max_window_layers,
    "full_at_indices": _full_at_indices,
    "gated": _gated,
    "given_or_inner_over": _given_or_inner_over,
    "half_window": _half_window,
    "inner_over": _inner_over,
    "last_is": _last_is,
    "ratio": _ratio,
    "shared_from": _shared_from,
    "sliding_if_window": _sliding_if_window,
    "sliding_where_no_rope": _sliding_where_no_rope,
    "tanh_for_gelu": _tanh_for_gelu,
    "window_if_used": _window_if_used,
}
