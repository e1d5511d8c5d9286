"""What every kind of layer answers: the root of the mechanisms, and what their caches are sized for and read from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

from inspector.hub.dtypes import DTYPE_BITS

Cache = Literal["held", "dynamic", "dynamic_after_prefill", "static"]
"""How a cache is weighed: "held" is what the tokens take; the others what transformers' classes have allocated:
DynamicCache between two decode steps, DynamicCache after the prompt, StaticCache."""

LARGEST_SIZE = 2**40

L = TypeVar("L")


class CacheRequest(NamedTuple):
    """What a cache is sized for.

    Attributes:
        context: tokens a sequence; those of the prompt after a prompt, and `max_cache_len` of a StaticCache.
        batch: sequences.
        element_bits: bits of a cached value.
        cache: how it is weighed.
        encoder_tokens: the encoder's input, for encoder-decoders; as long as the context where it is not given.
    """

    context: int
    batch: int
    element_bits: int
    cache: Cache = "held"
    encoder_tokens: int | None = None


class LayerSource(NamedTuple):
    """What a layer is read from.

    Attributes:
        values: the language part's values as this layer sees them, under transformers' standard key names.
        facts: what its model type does otherwise than others (`cache` of inspector/data/configs.json).
        image_tokens: of one image of the largest size, for layers that attend to images; None where not known.
    """

    values: Mapping[str, Any]
    facts: Mapping[str, Any]
    image_tokens: int | None = None

    def whole(self, key: str) -> int | None:
        """A whole number that a size can have, or None.

        Raises:
            LookupError: the key is never read of a config, so that no layer could have it.
        """
        if key not in self.values:
            raise LookupError(f"'{key}' is not read of configs: name it in KEYS of inspector/model/config/text.py")
        return whole(self.values, key)


@dataclass(frozen=True, slots=True)
class StateTensor:
    """A fixed-size state of one sequence; `dtype` is a safetensors dtype or "compute" for the run's own.

    `spare` values beside it stay allocated after a decode step, where the state is a view of more.
    """

    shape: tuple[int, ...]
    dtype: str
    spare: int = 0


class Layer:
    """A kind of layer: root of the mechanisms, each a frozen dataclass that is sized from its fields.

    A mechanism gives its `kind`, `values_per_token` and `read`; what it does not give is answered by these defaults,
    which never say more than is known. An engine finds its rule for a layer by the class and has none for a new one.
    """

    __slots__ = ()

    kind: ClassVar[str]
    """Its name in JSON's `layer_kinds`."""
    prefill_measured: ClassVar[bool] = False
    """The working memory of transformers' pass over the prompt was measured with such layers."""
    states: tuple[StateTensor, ...] = ()
    """What it keeps whatever the context."""

    @classmethod
    def read(cls, name: str, source: LayerSource) -> Layer | None:
        """The layer of a config, or None where the config does not give its sizes.

        Args:
            name: what `layer_types` calls it; some mechanisms answer to several names.
            source: the config's values and the facts of its type.
        """
        raise NotImplementedError

    @property
    def title(self) -> str:
        """The kind as a table shows it."""
        return self.kind

    @property
    def values_per_token(self) -> int | None:
        """Values that one token adds to the cache, until a window is full; None where that is unknown."""
        return None

    @property
    def rows(self) -> Layer | None:
        """The part that caches a row a token as plain or latent attention does; None where it has none."""
        return None

    @property
    def key_value_heads(self) -> int | None:
        """Heads whose rows are cached, which ranks divide; None where it has none, or one row for all heads."""
        return None

    @property
    def window(self) -> int | None:
        """Tokens that bound the rows, a window's or a chunk's; None where all are kept."""
        return None

    @property
    def config_keys(self) -> tuple[str, ...]:
        """The standard config keys that its cache is sized from, `layer_types` and the like apart.

        A type's config may have them under names of its own (`n_head`), or leave them to its class.
        """
        return ()

    @property
    def widths(self) -> Mapping[str, int]:
        """Config key -> width of what its projections make beside heads of one width (latents)."""
        return {}

    @property
    def rotary_width(self) -> int:
        """Values of a head that positions rotate, where the model rotates any."""
        return 0

    @property
    def output_width(self) -> int | None:
        """Values that a head hands to the output projection; None where that is not known."""
        return None

    def projections(self, heads: int, ranks: int) -> Mapping[str, tuple[int, ...]]:
        """What a rank's projections make of a token, those of merged layers side by side, by their name in servers.

        Args:
            heads: attention heads of the rank.
            ranks: that divide the key/value heads; fewer heads than ranks are repeated.
        """
        del heads, ranks
        return {}

    @property
    def quantized_widths(self) -> tuple[int, int] | None:
        """Values of a token's keys, and of its values, that transformers' QuantizedCache packs; None: it refuses."""
        return None

    def prefill_width(self, heads: int) -> int | None:
        """Values a token that the pass over the prompt makes of its row; None where they are as plain attention's."""
        del heads
        return None

    def decode_width(self, heads: int) -> int | None:
        """Values a cached token that a decode step makes of its row; None where they are as plain attention's."""
        del heads
        return None

    def bits_per_token(self, element_bits: int) -> int | None:
        """Bits that one token of one sequence takes, as long as no window is full."""
        values = self.values_per_token
        return None if values is None else values * element_bits

    def tokens_held(self, request: CacheRequest) -> int:
        """Rows of one sequence."""
        return request.context

    def values_held(self, request: CacheRequest) -> int | None:
        """Cached values of one sequence, fixed states apart; None where that is unknown."""
        width = self.values_per_token
        return None if width is None else self.tokens_held(request) * width

    def cache_bytes(self, request: CacheRequest) -> int | None:
        """Bytes of all sequences, fixed states included; None where that is unknown."""
        values = self.values_held(request)
        if values is None:
            return None
        total = size_in_bytes(request.batch * values, request.element_bits)
        for state in self.states:
            size = math.prod(state.shape) + (state.spare if request.cache in ("dynamic", "static") else 0)
            total += size_in_bytes(request.batch * size, DTYPE_BITS.get(state.dtype, request.element_bits))
        return total

    def counters(self, cache: Cache) -> int | None:
        """Whole numbers that transformers' cache layer keeps as tensors, one for all sequences: its length
        (StaticLayer), or its window's width (DynamicSlidingWindowLayer). None where it is not known what transformers
        allocates for this kind, or where the cache has no class for it."""
        del cache
        return None

    def equation(self, request: CacheRequest) -> str:
        """What the cache holds, with its numbers in it."""
        bits = request.element_bits
        size = f"{bits // 8} B" if bits >= 8 else f"{bits} bits"
        states = f" + batch {request.batch} x {states_text(self.states)}" if self.states else ""
        return f"batch {request.batch} x {self.sequence_text(request)} x {size}{states}"

    def sequence_text(self, request: CacheRequest) -> str:
        """What one sequence keeps, in numbers."""
        return f"{self.tokens_held(request):,} tokens x ({self.row_text})"

    @property
    def row_text(self) -> str:
        """What one token's row is made of, and what bounds the number of rows."""
        return f"{self.values_per_token} values"


def distinct(layers: Iterable[L]) -> Iterable[L]:
    """The layers, each object once: equal layers of a model are mostly one object, and so cost one look."""
    return {id(layer): layer for layer in layers}.values()


def window_rows(window: int, request: CacheRequest) -> int:
    """Rows that a window's cache holds, or has allocated.

    A window of w keeps w - 1 tokens, since the next token brings its own row
    (transformers.cache_utils.DynamicSlidingWindowLayer, which serves chunks, too): they are a view of the whole prompt
    after it, and of w rows after a step. StaticSlidingWindowLayer has w rows. A window of 1 keeps everything: its
    slice from -0 on is the whole.
    """
    if request.cache == "dynamic_after_prefill" or (window == 1 and request.cache != "static"):
        return request.context
    return min(request.context, window - 1 if request.cache == "held" else window)


def states_text(states: tuple[StateTensor, ...]) -> str:
    """Fixed states, with their shapes and dtypes."""
    return "states of " + " + ".join(f"{'x'.join(map(str, state.shape))} {state.dtype}" for state in states)


def size_in_bytes(count: int, bits: int) -> int:
    """Bytes that `count` values of `bits` bits take, rounded up to a whole byte."""
    return (count * bits + 7) // 8


def whole(values: Mapping[str, Any], key: str) -> int | None:
    """A whole number that a size can have, or None."""
    value = values.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_SIZE else None
