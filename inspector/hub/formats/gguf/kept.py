"""What llama.cpp keeps of a sequence, layer by layer: its own reading of a file's hyperparameters.

src/llama-hparams.cpp (n_embd_k_gqa, n_embd_r, n_embd_s), src/llama-model.cpp (load_hparams, create_memory). What
differs by architecture is in inspector/data/engines/llama_cpp.json, made by running llama.cpp itself
(tests/oracles/llama/):

    memory      "none": it caches nothing (encoders, diffusion)
    window      which layers have one: {"every": n, "full_first": ...}, n None where the file must list them; "size"
                where the file says none, "fixed" where it is not asked, "layers" where only models of so many have
                windows
    chunked     its windows are chunks
    recurrent   "all" layers, also with rows ("with_rows"), those without key/value heads ("heads"), of these the ones
                without an MLP ("blocks"), or all but each n-th (a number, the file's own before it)
    state       which of the file's sizes its states follow from: "wkv", "shortconv", "kda", "lightning",
                "ungrouped"; else "ssm"
    latent      it caches keys alone where the file has `*_mla` widths
    own_rows    layers from the first on that have rows of their own; the others read them
    index       an indexer's keys: "all", "listed" layers, those behind the dense ones with values, too ("with_values"),
                or with a gate ("paired") and pooled values ("pooled")
    compressed  DeepSeek-V4's caches by `compress_ratios`
    loops / slots / router      layers that run more than once, or one more
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Mapping, Sequence
from functools import lru_cache
from typing import Any

from inspector.errors import InvalidConfig
from inspector.tables import table_text

MOST_LAYERS = 512
"""LLAMA_MAX_LAYERS"""

Kept = dict[str, Any]
"""`rows`: heads, width of a head's key, of its value (0: none, as with a latent); `window` or `chunk`: tokens;
`states`: shape and dtype of each; `index`: values a token that an indexer keeps; `rate`: tokens of one compressed
entry."""


@lru_cache(maxsize=1)
def llama_cpp_table() -> Mapping[str, Any]:
    """`build`, and `architectures`: name -> what it does otherwise than plain attention."""
    text = table_text("engines/llama_cpp.json")
    found: Mapping[str, Any] = json.loads(text)
    return found


def kept_layers(architecture: str, raw: Callable[[str], Any], tensors: Container[str] = ()) -> list[Kept] | None:
    """What each layer keeps; None for an architecture that the table does not have, or a file without sizes.

    Args:
        raw: a key without the architecture's name -> its value in the file.
        tensors: their names. Some files older than the keys of a latent have its two maps apart already.

    Raises:
        InvalidConfig: a list that is too short, or a number that is none.
    """
    rule = llama_cpp_table()["architectures"].get(architecture)
    reader = _Hparams(architecture, raw, rule or {})
    reader.divided = bool((rule or {}).get("latent")) and _divided(reader, tensors)
    if rule is None or not reader.blocks or not reader.hidden:
        return None
    if rule.get("memory") == "none":
        return [{} for _ in range(reader.trunk)]
    return reader.layers()


def _divided(reader: _Hparams, tensors: Container[str]) -> bool:
    """Whether a latent's map to keys is a tensor of its own."""
    return any(f"blk.{index}.attn_k_b.weight" in tensors for index in range(reader.blocks))


class _Hparams:
    """llama.cpp's hyperparameters, under its own names."""

    def __init__(self, architecture: str, raw: Callable[[str], Any], rule: Mapping[str, Any]) -> None:
        self.architecture, self.raw, self.rule, self.divided = architecture, raw, rule, False
        self.blocks, self.hidden = self.number("block_count"), self.number("embedding_length")
        if self.blocks > MOST_LAYERS:
            raise InvalidConfig(f"{architecture}.block_count is more than llama.cpp's {MOST_LAYERS}")
        extra = self.number("nextn_predict_layers")
        self.trunk = self.blocks - extra if 0 < extra < self.blocks else self.blocks
        heads = self.each("attention.head_count", 0)
        self.heads, self.kv_heads = heads, self.each("attention.head_count_kv", heads)
        self.first_heads = next((count for count in heads if count), 0)
        usual = self.hidden // self.first_heads if self.first_heads else 0
        self.key, self.value = self.number("attention.key_length", usual), self.number("attention.value_length", usual)
        self.latent = bool(rule.get("latent")) and bool(
            self.number("attention.key_length_mla") and self.number("attention.value_length_mla")
        )

    def number(self, key: str, usual: int = 0) -> int:
        value = self.raw(key)
        if value is None:
            return usual
        value = max(value, default=0) if type(value) is list and all(type(n) is int for n in value) else value
        if type(value) is not int or not 0 <= value <= 2**53:
            raise InvalidConfig(f"{self.architecture}.{key} is no size")
        return value

    def each(self, key: str, usual: int | Sequence[int]) -> list[int]:
        """A number a block."""
        value = self.raw(key)
        if value is None:
            return [usual] * self.blocks if isinstance(usual, int) else list(usual)
        if type(value) is not list:
            return [self.number(key)] * self.blocks
        if len(value) < self.blocks or not all(type(n) in (int, bool) and 0 <= n <= 2**53 for n in value):
            raise InvalidConfig(f"{self.architecture}.{key} is no list of {self.blocks} sizes")
        return [int(n) for n in value[: self.blocks]]

    def layers(self) -> list[Kept]:
        windows, recurrent, indexed = self.windows(), self.recurrent(), self.indexed()
        states, ratios = self.states(), self.ratios()
        both, shared = self.rule.get("recurrent") == "with_rows", self.rows_from()
        rated = self.number("feed_forward_length")
        widths = self.each("feed_forward_length", rated)
        found: list[Kept] = []
        for index in range(self.blocks if ratios else self.trunk):
            kept: Kept = {}
            if recurrent[index]:
                kept["states"] = [*states, *self.history(index)]
            idle = self.rule.get("recurrent") == "blocks" and widths[index] and not recurrent[index]
            if (both or not recurrent[index]) and not idle and index < shared:
                kept["rows"] = self.rows(index, bool(windows[index]))
                if windows[index]:
                    kept["chunk" if self.rule.get("chunked") else "window"] = windows[index]
                if indexed[index]:
                    kept["index"] = indexed[index]
                if ratios:
                    kept.update(self.entries(ratios[index]))
            found.append(kept)
        if self.rule.get("router"):
            found.append({"rows": [1, self.key, self.value]})
        return found * max(1, self.number("num_loops")) if self.rule.get("loops") else found

    def rows(self, index: int, windowed: bool) -> list[int]:
        key, value = self.key, self.value
        if self.divided and not self.latent:
            return [1, self.number("attention.kv_lora_rank") + self.number("rope.dimension_count"), 0]
        if windowed:
            key, value = self.number("attention.key_length_swa", key), self.number("attention.value_length_swa", value)
        return [self.kv_heads[index], key, 0 if self.latent or self.rule.get("compressed") else value]

    def windows(self) -> list[int]:
        """Tokens of each block's window; 0 for none."""
        rule, none = self.rule.get("window"), [0] * self.blocks
        if rule is None or self.blocks not in rule.get("layers", (self.blocks,)):
            return none
        size = self.number("attention.sliding_window", rule.get("size", 0))
        size = rule["fixed"] if size and "fixed" in rule else size
        pattern = self.raw("attention.sliding_window_pattern") if rule["every"] != 0 else None
        if type(pattern) is list:
            return [size * on for on in self.each("attention.sliding_window_pattern", 0)]
        every = self.number("attention.sliding_window_pattern") if pattern is not None else rule["every"]
        if rule["every"] is None or every is None:
            return none
        if every == 0:
            return [size] * self.trunk + [0] * (self.blocks - self.trunk)
        off = 0 if rule.get("full_first") else every - 1
        return [size * (index % every != off and index < self.trunk) for index in range(self.blocks)]

    def recurrent(self) -> list[bool]:
        rule, last = self.rule.get("recurrent"), self.trunk
        if rule is None:
            return [False] * self.blocks
        if rule in ("all", "with_rows"):
            return [True] * self.blocks
        if rule in ("heads", "blocks"):
            widths = self.each("feed_forward_length", 0) if rule == "blocks" else [0] * self.blocks
            idle = [not heads and not width for heads, width in zip(self.kv_heads, widths, strict=True)]
            return [on and index < last for index, on in enumerate(idle)]
        if self.raw("attention.recurrent_layers") is not None:
            return [bool(n) for n in self.each("attention.recurrent_layers", 0)]
        every = self.number("full_attention_interval", rule) or rule
        return [index < last and (index + 1) % every != 0 for index in range(self.blocks)]

    def states(self) -> list[list[Any]]:
        """Shape and dtype of a recurrent layer's states: n_embd_r and n_embd_s. Convolutions have all their inputs."""
        kind, hidden, heads = self.rule.get("state"), self.hidden, self.first_heads
        kernel = self.number("ssm.conv_kernel")
        if kind == "wkv":
            head = self.number("wkv.head_size")
            return [[[self.number("token_shift_count", 2), hidden], "F32"], [[hidden, head], "F32"]]
        if kind == "shortconv":
            return [[[hidden, self.number("shortconv.l_cache")], "compute"]]
        if kind == "kda":
            width = self.number("kda.head_dim")
            return [[[3 * heads * width, kernel or 4], "compute"], [[heads, width, width], "F32"]]
        if kind == "lightning":
            return [[[heads, self.key, self.key], "F32"]]
        inner, state = self.number("ssm.inner_size"), self.number("ssm.state_size")
        channels = inner + (0 if kind == "ungrouped" else 2 * self.number("ssm.group_count") * state)
        return [[[channels, kernel], "compute"], [[inner, state], "F32"]]

    def history(self, index: int) -> list[list[Any]]:
        """The inputs of an n-gram convolution, which one layer keeps (ple_conv_state)."""
        layers = self.raw("ple.layers")
        if type(layers) is not list or index not in layers:
            return []
        rows = (self.number("ple.conv_kernel") - 1) * self.number("ple.ngram_size")
        return [[[rows, self.number("hyper_connection.count") * self.hidden], "F32"]]

    def rows_from(self) -> int:
        """The first layers, which have rows of their own."""
        own = self.rule.get("own_rows")
        if own == "shared_kv_layers":
            return self.blocks - self.number("attention.shared_kv_layers")
        return own if isinstance(own, int) else self.blocks

    def indexed(self) -> list[int]:
        """Values of an indexer's row in each layer."""
        kind, width = self.rule.get("index"), self.number("attention.indexer.key_length")
        if kind is None or not width or not self.number("attention.indexer.top_k"):
            return [0] * self.blocks
        if kind == "with_values":
            dense = self.number("leading_dense_block_count")
            return [(width + self.value) * (index >= dense) for index in range(self.blocks)]
        if kind == "paired":
            return [2 * width] * self.blocks
        if kind == "pooled":
            width *= 3 if self.number("attention.indexer.kpool") else 1
        types, every = self.raw("attention.indexer.types"), self.rule.get("index_every")
        if types is None and every and self.number("context_length") >= 2**20:
            return [width * (index < 2 or index % every == 2) for index in range(self.blocks)]
        if types is None or kind == "all":
            return [width] * self.blocks
        listed = (
            [int(bool(n)) for n in types[: self.blocks]]
            if type(types) is list
            else [self.number("attention.indexer.types")] * self.blocks
        )
        return [width * on for on in (*listed, *[0] * (self.blocks - len(listed)))]

    def ratios(self) -> list[int]:
        return self.each("attention.compress_ratios", 0) if self.rule.get("compressed") else []

    def entries(self, ratio: int) -> Kept:
        """Compressed entries of so many tokens; with an indexer's where that is 4 (llama-kv-cache-dsv4.cpp)."""
        if ratio not in (4, 128):
            return {}
        return {"rate": ratio, "index": self.number("attention.indexer.key_length") if ratio == 4 else 0}
