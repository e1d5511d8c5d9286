"""What every way of packing weights has: the tensors it stores, how its recipe is read, what engines ask of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

from inspector.hub.checkpoint import Tensor
from inspector.model.parameters.names import Group

PLAIN = frozenset({"F64", "F32", "F16", "BF16"})
"""What an unquantized weight is stored in."""

WHOLE_BITS = range(1, 9)

BITS = ("bits", "w_bit", "nbits", "num_bits", "wbits")
SIZES = ("group_size", "q_group_size", "weight_block_size")
IGNORED = (
    "modules_to_not_convert",
    "ignore",
    "ignored_layers",
    "exclude",
    "exclude_modules",
    "llm_int8_skip_modules",
    "skip_modules",
    "linear_weights_not_to_quantize",
)

MAX_LISTED = 10_000
MAX_WHOLE = 2**31
"""No width, group or length of a layer is as large; the product of two still fits 64 bits."""


class Scheme(NamedTuple):
    """What the recipe says of one module: bits a value, values a scale, vector length, and for compressed-tensors
    whether its words are packed without gaps (None: it does not say)."""

    bits: int | None = None
    group_size: int | None = None
    vector: int | None = None
    gapless: bool | None = None
    shape: tuple[int, int] | None = None


class Schemes(NamedTuple):
    """What a recipe says of its modules. Single ones are only asked for where what all share leaves a number open.

    Attributes:
        shared: of all of them.
        find: a module's name in the file -> what is said of it in particular; None for nothing.
        default: of a module of which nothing is said in particular.
    """

    shared: Scheme
    default: Scheme
    find: Callable[[str], Scheme | None] | None = None


Parts = Mapping[str, Group]
Rule = Callable[[Group, Parts, Scheme], int | None]
"""(stored tensor, all parts of its parameter by the key of the packing's table, scheme) -> parameters, 0 for scales and
the like, None where that cannot be told. Shapes beat the recipe: where the scales or the zero points beside a weight
tell its width, no config is asked."""

Rules = Mapping[str, Rule]

Stored = Mapping[str, tuple[str, tuple[int, ...]]]
"""What a weight is stored as: key of the packing's table -> dtype and shape."""

NO_LAYERS = frozenset({"embedding", "head", "norm", "router", "other"})
TOWERS = frozenset({"vision", "audio", "projector"})


class Packing:
    """One way of packing weights, and its defaults: a subclass says what is its own. It has no state.

    Attributes:
        tensors: the stored tensors of a parameter, and the rule that counts each. Keys say how a stored name follows
            from the parameter's: "qweight" stands in place of "weight", ".absmax" comes after the whole name, "_blocks"
            is added to its last part, "_*_qdata" is put around it, "meta.*" stands for any name inside "meta"; "weight"
            is the parameter under its own name. What is left out is a plain tensor that counts as it is.
        bits / group_size: of its checkpoints whose recipe does not say.
        signs: ends of names that tell it where a config has no recipe (`inspector.model.config.read.SIGNS` has them,
            too); None where it never comes without one, and () where its tensors may, but do not tell it.
        marks: keys of `tensors` that a weight of this method has all of, and no other's, so that they tell it where a
            config has no recipe; where dtypes and shapes count, too, `told_by` says it.
        counts_alone: each tensor's dtype and own shape tell its number, so that modules of one template need not be
            told apart.
        grouped: its groups along the inputs have to be whole on a rank.
        marlin: engines have Marlin's kernels of integers for it, and no others that take any width.
        one_rank_only: its packed tensors cannot be cut, which keeps old engines to one rank.
        padded_experts: kernels of its own hold a mixture's experts padded, and make no copies of them.
        stacks: `stored` is of a stack of experts, [experts, inputs, outputs], and not of one matrix.
        under_adapters: QLoRA's base is packed so: such a checkpoint is trained as it is.
    """

    tensors: ClassVar[Rules] = {}
    bits: ClassVar[int | None] = None
    group_size: ClassVar[int | None] = None
    signs: ClassVar[tuple[str, ...] | None] = None
    marks: ClassVar[tuple[str, ...]] = ()
    counts_alone: ClassVar[bool] = False
    grouped: ClassVar[bool] = False
    marlin: ClassVar[bool] = False
    one_rank_only: ClassVar[bool] = False
    padded_experts: ClassVar[bool] = False
    stacks: ClassVar[bool] = False
    under_adapters: ClassVar[bool] = False

    def scheme(self, recipe: Mapping[str, Any]) -> Scheme:
        """What the recipe says of all modules; never raises, whatever is in it."""
        return scheme_in(recipe, Scheme(self.bits, self.group_size))

    def schemes(self, recipe: Mapping[str, Any]) -> Schemes:
        """What the recipe says of all modules, and of single ones."""
        default = self.scheme(recipe)
        exact = {
            name: scheme_in(value, default)
            for name, value in self.by_name(recipe).items()
            if isinstance(value, Mapping)
        }
        if not exact:
            return Schemes(default, default)
        return Schemes(shared([default, *exact.values()]), default, exact.get)

    def told_by(self, parts: Parts) -> bool:
        """Whether a weight's tensors are this method's and no other's."""
        return bool(self.marks) and all(mark in parts for mark in self.marks)

    def recipe_of(self, bits: int, group_size: int | None) -> dict[str, Any]:
        """A recipe, as the method has it, of one width for all modules."""
        return {"bits": bits, "group_size": group_size}

    def converts(self, component: str) -> bool:
        """Whether it packs the matrices of such a component (`parameters.names.component`) that a recipe does not
        leave out: all linear layers but the head."""
        return component not in NO_LAYERS

    def stored(self, weight: Tensor, scheme: Scheme, recipe: Mapping[str, Any]) -> Stored | None:
        """What a plain weight [outputs, inputs] becomes: what `tensors` counts, the other way round. None where that is
        not known of such a recipe.

        Source: that of the method's own rule in `tensors`; tests/model/test_packed.py compares both.
        """
        del weight, scheme, recipe
        return None

    def by_name(self, recipe: Mapping[str, Any]) -> Mapping[str, Any]:
        """The part of the recipe whose keys are modules' whole names; values that are no objects say nothing."""
        del recipe
        return {}

    def left_plain(self, recipe: Mapping[str, Any]) -> Iterator[str]:
        """The recipe's own words for what it leaves unquantized. Tools write each other's keys: all are read."""
        for key in IGNORED:
            entries = recipe.get(key)
            for entry in entries[:MAX_LISTED] if isinstance(entries, list) else ():
                if isinstance(entry, str) and entry:
                    yield entry
        for pattern in mapping(recipe.get("dynamic")):
            if pattern.startswith("-:"):
                yield pattern
        for name, value in mapping(recipe.get("extra_config")).items():
            if isinstance(value, Mapping) and (whole(value.get("bits")) or 0) >= 16:
                yield name


def every(rule: Rule, names: str) -> Rules:
    """A table of one rule for all names, which are separated by blanks."""
    return dict.fromkeys(names.split(), rule)


def overhead(stored: Group, parts: Parts, scheme: Scheme) -> int:
    """Scales, zero points, group indices, codebooks, metadata: no parameters."""
    del stored, parts, scheme
    return 0


def plain(stored: Group, parts: Parts, scheme: Scheme) -> int:
    """One stored element a parameter: FP8, int8, and what was left unquantized."""
    del parts, scheme
    return stored.numel


def two_a_byte(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """4-bit floats and integers in bytes (NVFP4, MXFP4, modelopt's int4); anything else one value an element.

    Source: OCP Microscaling Formats v1.0, 5.3.3; modelopt's export/quant_utils.py.
    """
    del parts, scheme
    if stored.dtype in ("I32", "I64", "I16"):
        return None
    return 2 * stored.numel if stored.dtype == "U8" else stored.numel


def beside(stored: Group, parts: Parts, scheme: Scheme) -> int:
    """Overhead where a packed weight is beside it; by itself, a name that models use for parameters, too."""
    return overhead(stored, parts, scheme)


SCALES: Rules = every(
    overhead,
    "weight_scale_inv weight_scale weight_scale_2 input_scale activation_scale output_scale k_scale v_scale q_scale "
    "prob_scale scale_inv input_scale_ub weight_zero_point input_zero_point output_zero_point weight_global_scale "
    "input_global_scale k_zero_point v_zero_point k_cache_scale v_cache_scale",
)
"""Scales beside a weight and of the cache; they may come without a recipe, too."""

TAILS: Rules = every(
    beside, "_scale_inv _scale _weight_scale _weight_scale_inv _weight_scale_2 _input_scale _input_scale_inv"
)
"""Scales of experts that are one stacked parameter."""


def whole_bits(width: int, values: int) -> int | None:
    """Bits a value where `width` bits hold `values` of them with no gaps: a whole number up to 8, or None."""
    bits, rest = divmod(width, values) if values > 0 else (0, 1)
    return bits if not rest and bits in WHOLE_BITS else None


def by_pattern(default: Scheme, patterns: Mapping[str, Scheme], matches: Callable[[str, str], bool | None]) -> Schemes:
    """The first pattern that matches decides; one that cannot be understood might have, and so leaves it open."""

    def find(name: str) -> Scheme | None:
        for pattern, scheme in patterns.items():
            matched = matches(pattern, name)
            if matched is None:
                return Scheme()
            if matched:
                return scheme
        return None

    return Schemes(shared([default, *patterns.values()]), default, find)


def whole(value: Any) -> int | None:
    """A positive whole number that a layer can have, or None for anything else."""
    return value if type(value) is int and 0 < value < MAX_WHOLE else None


def scheme_in(found: Any, default: Scheme | None = None) -> Scheme:
    """What an object of a recipe says under the usual names; the default's where it says nothing, or is no object."""
    found = mapping(found)
    default = default or Scheme()
    lengths = found.get("vector_lens")
    into, out = whole(found.get("in_features")), whole(found.get("out_features"))
    return Scheme(
        first(found, BITS) or default.bits,
        first(found, SIZES) or default.group_size,
        whole(lengths[1]) if isinstance(lengths, list) and len(lengths) == 2 else default.vector,
        default.gapless,
        (into, out) if into and out else None,
    )


def blocks(size: int, block: int | None) -> int:
    """How many blocks a dimension has; one where the block is the whole of it."""
    return -(-size // block) if block else 1


def first(found: Mapping[str, Any], keys: tuple[str, ...]) -> int | None:
    """The first of the keys' values that is a whole number."""
    return next((value for key in keys if (value := whole(found.get(key)))), None)


def mapping(value: Any) -> Mapping[str, Any]:
    """A JSON object with names for keys, or an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def shared(schemes: list[Scheme]) -> Scheme:
    """What all schemes agree on."""
    if not schemes:
        return Scheme()
    return Scheme(*(values[0] if len(set(values)) == 1 else None for values in zip(*schemes, strict=True)))
