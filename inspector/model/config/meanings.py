"""What keys say of each layer by their meaning, whatever model type has them: lists, patterns, periods, indices.

Names differ from vendor to vendor; what a list of one word, number or flag a layer says, its name and its values tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from inspector.model.config.text import HEAD_LISTS

FULL, SLIDING, LINEAR, CHUNKED, NOTHING = (
    "full_attention",
    "sliding_attention",
    "linear_attention",
    "chunked_attention",
    "mlp",
)
WORDS: tuple[tuple[str, str], ...] = (
    ("hybrid", r"^hybrid"),
    (LINEAR, r"linear|mamba|recurrent|ssm|gdn|delta|kda|lightning|rglru|retnet|rwkv|conv|^m\d?[a-z]?$"),
    (SLIDING, r"slid|local|window|swa"),
    (CHUNKED, r"chunk"),
    (NOTHING, r"^(mlp|ffn|moe|dense|sparse)$"),
    (FULL, r"full|global|softmax|attention|attn|standard|^[at]$"),
)
"""Kind -> what the words of a list by layer have in them; the first that fits counts."""
LETTERS = {"M": LINEAR, "*": FULL, "-": NOTHING, "E": NOTHING, "L": SLIDING, "G": FULL, "S": SLIDING, "F": FULL}
"""What the letters of a pattern mean: "M-M*-" of Nemotron-H, "LLLG" of EXAONE."""
TOLD = frozenset({"conv", "dummy", "hybrid", "hybrid_sliding", "mamba", "minimax_m3_sparse", "moe", "mlp", "attention"})
"""Words of `layer_types` that transformers has, beside those that end in "_attention", each a mechanism's name."""
WORD_LIST = re.compile(r"(layer|block|attn|attention|mixer).*(type|layout)|^attention_layers$")
FLAG_LIST = re.compile(r"attn_type_list|attention_type_list")
SLIDING_FLAGS = re.compile(r"(slid|swa|window).*(layout|pattern|mask|list)")
INDEX_LIST = re.compile(r"(^|_)(layers|(layer_)?(indices|idxs?|ids))$")
"""Keys of lists of layers' numbers, whose kind another word of the key tells."""
INDEX_KINDS: tuple[tuple[str, str], ...] = (
    (
        "",
        r"moe|mlp|dense|expert|rope|quant|skip|cross|image|vision|stack|aux|eagle|shared?|sparse|token|hidden|extract",
    ),
    (SLIDING, r"slid|swa|local|window"),
    (LINEAR, r"linear|mamba|recurrent|ssm|gdn|delta|kda|lightning|hyena|conv"),
    (FULL, r"full|global|attn|attention|softmax"),
)
PATTERN = re.compile(r"pattern")
LINEAR_PERIODS = ("layer_group_size", "full_attention_interval", "full_attn_interval", "linear_attn_period")
"""Every so many layers one attends to everything; the others keep a state."""
SLIDING_PERIODS = ("sliding_window_pattern", "global_attn_every_n_layers", "global_attention_interval")
"""Every so many layers one attends to everything; the others slide."""
_SIZES = r"_(?:num_)?(attention_heads|key_value_heads|kv_heads|head_dim|v_head_dim)$"
SIZES_OF_KIND = (
    (SLIDING, re.compile(r"(?:num_)?(?:swa|sliding|local)" + _SIZES)),
    (FULL, re.compile(r"(?:num_)?(?:global|full)" + _SIZES)),
)
"""Keys of heads that the layers of one kind have: "swa_num_key_value_heads", "global_head_dim"."""
STATE_KEYS = re.compile(r"^(mamba|ssm|linear|conv_kernel|lru|recurrent|delta)_?")
SHARED_COUNTS = ("num_kv_shared_layers", "num_kv_reuse_layers")
"""How many of the last layers use the rows of those before them."""


def read_meanings(config: Mapping[str, Any], values: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """Puts what keys say of all layers into `values`, and gives what differs from layer to layer.

    Args:
        config: the language part as the file has it.
        values: what was read by common key names; `layer_types` and the heads are changed in place.
    """
    count = values.get("num_hidden_layers")
    if not isinstance(count, int) or isinstance(count, bool) or not 0 < count <= 2_000:
        return {}
    if str(config.get("attention_head_type", "")).replace("_", "") == "multiquery":
        values["num_key_value_heads"] = 1
    per_layer = _head_lists(config, values, count)
    _blocks(config, values, per_layer, count)
    kinds = values.get("layer_types")
    if not (isinstance(kinds, list) and len(kinds) == count):
        kinds = _kinds(config, values, count)
        if kinds is None and any(map(config.get, SHARED_COUNTS)) and not values.get("sliding_window"):
            kinds = [FULL] * count
    elif any(isinstance(kind, str) and not _is_told(kind) for kind in kinds):  # a vendor's words under the usual key
        kinds = _of_list("layer_types", kinds, values) or kinds
    kinds = _indexed(config, values, count) or kinds
    if kinds is not None:
        values["layer_types"] = _reused(config, kinds)
    _window_heads(config, values, per_layer)
    return per_layer


def _inner_window(config: Mapping[str, Any]) -> int | None:
    """The window of layers that have a sub-config of their own ("swa": {"window_size": 1152} of Jet-Nemotron)."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            size = value.get("window_size")
            if type(size) is int and size > 0 and re.search(r"slid|swa|local|window", str(key)):
                return size
            if (inner := _inner_window(value)) is not None:
                return inner
    return None


def _indexed(config: Mapping[str, Any], values: dict[str, Any], count: int) -> list[str] | None:
    """The kinds where some layers pick their tokens by an indexer: flags and the width of its keys in a sub-config
    (`sparse_attention_config` of MiniMax-M3)."""
    inner = config.get("sparse_attention_config")
    if not isinstance(inner, Mapping):
        return None
    flags, width = inner.get("sparse_attention_freq"), inner.get("sparse_index_dim")
    if type(width) is not int or width < 1 or not isinstance(flags, list) or len(flags) != count:
        return None
    values["index_head_dim"] = width
    return ["indexed_attention" if flag else FULL for flag in flags]


def _reused(config: Mapping[str, Any], kinds: list[str]) -> list[str]:
    """The kinds, where layers use others' rows: of a group its first's (`kv_reuse_group` of Hymba), the last so many
    those before them (`num_kv_shared_layers` of Gemma 3n, `num_kv_reuse_layers` of Apple's)."""
    groups = config.get("kv_reuse_group")
    shared = next((config[key] for key in SHARED_COUNTS if config.get(key)), None)
    if type(shared) is int and 0 < shared < len(kinds):
        return [*kinds[:-shared], *[NOTHING] * shared]
    if not isinstance(groups, list) or not all(isinstance(group, list) for group in groups):
        return kinds
    later = {index for group in groups for index in group[1:]}
    return [NOTHING if index in later else kind for index, kind in enumerate(kinds)]


def _window_heads(config: Mapping[str, Any], values: dict[str, Any], per_layer: dict[int, dict[str, Any]]) -> None:
    """Windows, heads and head dimensions of the layers of one kind, where they have keys of their own (`swa_...`)."""
    kinds, windows = values.get("layer_types"), config.get("sliding_window")
    if not isinstance(kinds, list):
        return
    if SLIDING in kinds and not values.get("sliding_window"):
        values["sliding_window"] = _inner_window(config)
    own: dict[str, dict[str, Any]] = {}
    for key, value in config.items():
        for kind, sizes in SIZES_OF_KIND:
            found = sizes.match(str(key))
            if found and type(value) is int and value > 0:
                name = {"attention_heads": "num_attention_heads", "kv_heads": "num_key_value_heads"}.get(found[1])
                own.setdefault(kind, {})[name or found[1].replace("key_value_heads", "num_key_value_heads")] = value
    for index, kind in enumerate(kinds):
        if kind in own:
            per_layer[index] = per_layer.get(index, {}) | own[kind]
    if isinstance(windows, list):
        values["sliding_window"] = next((size for size in windows if size), None)


def _kinds(config: Mapping[str, Any], values: dict[str, Any], count: int) -> list[str] | None:
    """The kind of each layer, by the first key that tells it."""
    windows = config.get("window_sizes")
    if isinstance(windows, list) and len(windows) == count and all(map(_is_pair, windows)):
        values["sliding_window"] = next((left + 1 for left, _ in windows if left > 0), None)
        return [SLIDING if left > 0 else FULL for left, _ in windows]
    windows = config.get("sliding_window")
    if isinstance(windows, list) and len(windows) == count and any(type(size) is int for size in windows):
        every = config.get("mb_per_layer")  # Phi-4-mini-flash: one of so many layers is Mamba's
        states = range(0, count, every) if type(every) is int and every > 1 else ()
        return [LINEAR if index in states else SLIDING if size else FULL for index, size in enumerate(windows)]
    most = count + (config["num_nextn_predict_layers"] if type(config.get("num_nextn_predict_layers")) is int else 0)
    for key, value in config.items():  # layers that predict more tokens may stand at a list's end
        if isinstance(value, list) and count <= len(value) <= most and (found := _of_list(str(key), value, values)):
            return found[:count]
    for key, value in config.items():
        if isinstance(value, str) and PATTERN.search(str(key)) and value and set(value) <= LETTERS.keys():
            cycle = [LETTERS[letter] for letter in value]
            return (cycle * (count // len(cycle) + 1))[:count]
    other = LINEAR if any(STATE_KEYS.match(str(key)) for key in config) else SLIDING
    if other == SLIDING and not values.get("sliding_window"):
        other = ""
    inner = ((f"{key}_", value) for key, value in config.items() if isinstance(value, Mapping))
    for front, part in (("", config), *inner):
        found = _by_indices(part, front, count, other)
        if found is not None:
            return found
    return _by_periods(config, values, count)


def _is_pair(window: Any) -> bool:
    """Whether a window is the tokens before and after one, as FlashAttention has them: -1 for all (Domyn)."""
    return isinstance(window, list) and len(window) == 2 and all(type(size) is int for size in window)


def _by_indices(config: Mapping[str, Any], front: str, count: int, other: str) -> list[str] | None:
    """The kinds by lists of layers' numbers, from 0 or from 1: "attn_layer_idxs" beside "hyena_layer_idxs".

    Args:
        front: the name of the sub-config that they sit in, for keys that tell no kind by themselves ("attn": "layers").
        other: the kind of layers that are in no list, where the lists are of full attention alone.
    """
    lists: dict[str, list[int]] = {}
    for key, value in config.items():
        if not (INDEX_LIST.search(str(key)) and isinstance(value, list) and value):
            continue
        names = (str(key), f"{front}{key}")
        kind = next((kind for name in names for kind, words in INDEX_KINDS if re.search(words, name)), "")
        if kind and all(type(index) is int and 0 <= index <= count for index in value):
            lists.setdefault(kind, value)
    everything = [index for indices in lists.values() for index in indices]
    first = 1 if count in everything else 0
    if not lists or len(set(everything)) < len(everything) or (first == 1 and 0 in everything):
        return None
    if len(lists) == 1:
        globally = any("global" in str(key) and value is lists.get(FULL) for key, value in config.items())
        rest = FULL if FULL not in lists else SLIDING if globally and config.get("sliding_window") else other
    else:
        rest = FULL if FULL not in lists else LINEAR if LINEAR in lists else SLIDING
    if not rest:
        return None
    return [next((kind for kind in lists if index + first in lists[kind]), rest) for index in range(count)]


def _by_periods(config: Mapping[str, Any], values: Mapping[str, Any], count: int) -> list[str] | None:
    period, offset = config.get("attn_layer_period"), config.get("attn_layer_offset")
    if type(period) is int and type(offset) is int and period > 1:  # Jamba
        return [FULL if index % period == offset else LINEAR for index in range(count)]
    for keys, kind in ((LINEAR_PERIODS, LINEAR), (SLIDING_PERIODS, SLIDING)):
        period = next((config[key] for key in keys if isinstance(config.get(key), int)), None)
        if period and not isinstance(period, bool) and period > 1 and (kind == LINEAR or values.get("sliding_window")):
            return [FULL if (index + 1) % period == 0 else kind for index in range(count)]
    shared = config.get("cla_share_factor")
    if config.get("use_cla") and type(shared) is int and shared > 1:
        return [FULL if index % shared == 0 else NOTHING for index in range(count)]
    mode = config.get("attn_mode")
    if mode in LINEAR_MODES or any(key in config for key in RECURRENT_KEYS):
        return [LINEAR] * count
    return None


LINEAR_MODES = ("chunk", "fused_chunk", "fused_recurrent", "recurrent")
"""How flash-linear-attention runs its layers (`attn_mode`), all of which keep a state. Source: its README."""
RECURRENT_KEYS = (
    *("rescale_every", "head_size_divisor", "decay_low_rank_dim", "ssm_cfg"),
    *("expand_k", "expand_v", "expand_ratio", "num_slots", "linear_use_lrpe_list"),
)
"""Keys that only recurrent models have: RWKV's, Mamba's first configs, flash-linear-attention's, TransNormer's."""


def _of_list(key: str, items: list[Any], values: Mapping[str, Any]) -> list[str] | None:
    """The kinds that a list of one item a layer gives: words, flags of 1 for attention and 0 for a state, or flags of
    1 for a window (MiMo-V2's `hybrid_layer_pattern`)."""
    flags = set(map(str, items))
    if key == "hybrid_layer_pattern" and flags == {"0", "1"} and values.get("sliding_window"):
        return [SLIDING if str(item) == "1" else FULL for item in items]
    if FLAG_LIST.search(key) and flags <= {"0", "1"}:
        return [FULL if str(item) == "1" else LINEAR for item in items]
    if SLIDING_FLAGS.search(key) and flags <= {"0", "1", "True", "False"} and values.get("sliding_window"):
        return [SLIDING if item else FULL for item in items]
    if not WORD_LIST.search(key) or key.startswith(("mlp", "ffn", "moe")):
        return None
    words = {item: _of_word(item) for item in map(str, items)}
    strange = [word for word, kind in words.items() if kind is None]
    if len(strange) == 1 and len(words) > 1:  # beside states it attends; beside attention it keeps a state
        words[strange[0]] = FULL if LINEAR in words.values() else LINEAR
    kinds = [kind for kind in (words[str(item)] for item in items) if kind is not None]
    return kinds if len(kinds) == len(items) and set(kinds) != {NOTHING} else None


def _is_told(kind: str) -> bool:
    return kind in TOLD or kind.endswith("_attention")


def _of_word(word: Any) -> str | None:
    text = str(word).lower()
    return next((kind for kind, pattern in WORDS if re.search(pattern, text)), None)


def _head_lists(config: Mapping[str, Any], values: dict[str, Any], count: int) -> dict[int, dict[str, Any]]:
    """Key/value heads layer by layer (OpenELM); a layer without any attends to nothing (Nemotron-NAS's GGUFs)."""
    for key in HEAD_LISTS:
        heads = config.get(key)
        if isinstance(heads, list) and len(heads) == count and all(type(number) is int for number in heads):
            values["num_key_value_heads"] = next((number for number in heads if number), None)
            if 0 in heads:
                values["layer_types"] = [FULL if number else NOTHING for number in heads]
            return {index: {"num_key_value_heads": number} for index, number in enumerate(heads) if number}
    return {}


def _blocks(
    config: Mapping[str, Any], values: dict[str, Any], per_layer: dict[int, dict[str, Any]], count: int
) -> None:
    """One object a layer that says what its attention is (`block_configs` of pruned models): none, a linear map,
    groups of so many heads, a window."""
    blocks = config.get("block_configs")
    queries = values.get("num_attention_heads")
    if not isinstance(blocks, list) or len(blocks) != count:
        return
    kinds = []
    for index, block in enumerate(blocks):
        attention = block.get("attention") if isinstance(block, Mapping) else None
        if not isinstance(attention, Mapping):
            return
        group, window = attention.get("n_heads_in_group"), attention.get("window_length")
        if attention.get("no_op") or attention.get("replace_with_linear"):
            kinds.append(NOTHING)
            continue
        kinds.append(SLIDING if type(window) is int and window > 0 else FULL)
        own = per_layer.setdefault(index, {})
        if type(group) is int and group > 0 and isinstance(queries, int):
            own["num_key_value_heads"] = queries // group
        if kinds[-1] == SLIDING:
            own["sliding_window"] = window
    values["layer_types"] = kinds
    heads = {own.get("num_key_value_heads") for own in per_layer.values()}
    values["num_key_value_heads"] = heads.pop() if len(heads) == 1 else values.get("num_key_value_heads")


LOOP_KEYS = ("total_ut_steps", "num_loops", "n_loops", "loop_count", "num_loop_steps", "recurrent_steps", "loop_num")
"""How often all layers run for one token, each time with rows of their own (Ouro, arXiv 2510.25741)."""
BLOCK_KEYS = (
    ("n_layers_in_prelude", "n_layers_in_recurrent_block", "n_layers_in_coda", "mean_recurrence"),
    ("n_input_layers", "n_recurrent_layers", "n_output_layers", "n_recurrent_loops"),
)
"""Layers that run once, layers that run over and over, layers that run once at the end, and how often (Huginn, arXiv
2502.05171; Dory)."""
SPAN_KEYS = ("loop_layer_index_start", "loop_layer_index_end", "loop_num_passes")
"""The first layer that runs over and over, the first after it that does not, and how often (Inkling 2 Loop)."""
MOST_RUNS = 20_000


def runs_of_layers(config: Mapping[str, Any], count: Any) -> tuple[int, ...]:
    """The layers by their numbers as they run for one token, where some run more than once; else empty."""
    if type(count) is not int or count < 1:
        return ()
    loops = next((config[key] for key in LOOP_KEYS if type(config.get(key)) is int), 1)
    if config.get("layer_sharing") is True:  # each layer runs twice (MobileLLM, arXiv 2402.14905)
        loops = 2
    if config.get("recurrent_kv_cache_mode") == "last_loop":  # one cache, that of the last run
        return ()
    for block in _blocks_of_runs(config):
        before, inside, after, times = block
        if before + inside + after == count and before + after + inside * times <= MOST_RUNS:
            again = tuple(range(before, before + inside))
            return (*range(before), *again * times, *range(before + inside, count))
    return tuple(range(count)) * loops if loops > 1 and count * loops <= MOST_RUNS else ()


def _blocks_of_runs(config: Mapping[str, Any]) -> Iterator[tuple[int, int, int, int]]:
    """Layers before a block, in it, after it, and how often it runs: where all four are whole numbers."""
    count = config.get("num_hidden_layers")
    found: list[list[Any]] = [[config.get(key) for key in keys] for keys in BLOCK_KEYS]
    start, end, times = (config.get(key) for key in SPAN_KEYS)
    if type(start) is int and type(end) is int and type(count) is int:
        found.append([start, end - start, count - end, times])
    for sizes in found:
        if sizes[1] is None and all(type(size) is int for size in (count, sizes[0], sizes[2])):
            sizes[1] = count - sizes[0] - sizes[2]  # all that are left
    for sizes in found:
        if all(type(size) is int and size >= 0 for size in sizes):
            yield sizes[0], sizes[1], sizes[2], sizes[3]
