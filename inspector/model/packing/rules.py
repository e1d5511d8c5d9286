"""How many parameters a packed tensor stands for: one small function a way of packing.

Every rule gets the stored tensor, all that is stored of the same parameter (its parts), and what the recipe says of its
module. Shapes beat the recipe: where the scales or the zero points beside a weight tell its width, no config is asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from inspector.hub.dtypes import DTYPE_BITS
from inspector.model.parameters.names import Group

PLAIN = frozenset({"F64", "F32", "F16", "BF16"})
"""What an unquantized weight is stored in."""

WHOLE_BITS = range(1, 9)


class Scheme(NamedTuple):
    """What the recipe says of one module: bits a value, values a scale, vector length, and for compressed-tensors
    whether its words are packed without gaps (None: it does not say)."""

    bits: int | None = None
    group_size: int | None = None
    vector: int | None = None
    gapless: bool | None = None
    shape: tuple[int, int] | None = None


Parts = Mapping[str, Group]
Rule = Callable[[Group, Parts, Scheme], int | None]
"""(stored tensor, all parts of its parameter by the key of the method's table, scheme) -> parameters, 0 for scales and
the like, None where that cannot be told."""


def overhead(stored: Group, parts: Parts, scheme: Scheme) -> int:
    """Scales, zero points, group indices, codebooks, metadata: no parameters."""
    del stored, parts, scheme
    return 0


def plain(stored: Group, parts: Parts, scheme: Scheme) -> int:
    """One stored element a parameter: FP8, int8, and what was left unquantized."""
    del parts, scheme
    return stored.numel


def gptq(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """qweight (in * bits / word, out), words packed without gaps: at 3 bits, 32 values fill 3 int32.

    g_idx has one entry an input, and qzeros (groups, out * bits / word) is packed as the weight is, beside scales
    (groups, out): either tells the bits. Source: the buffers of GPTQModel's and AutoGPTQ's QuantLinear; v2 has
    other values only.
    """
    word = DTYPE_BITS[stored.dtype]
    if stored.dtype in PLAIN or len(stored.shape) < 2:
        return stored.numel if stored.dtype in PLAIN else None
    rows, out = stored.shape[-2:]
    stack = math.prod(stored.shape[:-2])
    index, zeros, scales = parts.get("g_idx"), parts.get("qzeros"), parts.get("scales")
    if index is not None and index.shape[-1:] and _bits(rows * word, index.shape[-1]):
        return stack * index.shape[-1] * out
    bits = scheme.bits
    if zeros is not None and scales is not None and zeros.dtype not in PLAIN and scales.shape[-1:] == (out,):
        bits = _bits(zeros.shape[-1] * DTYPE_BITS[zeros.dtype], out) or bits
    return stored.numel * word // bits if bits and bits <= word else None


def awq(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """gemm: qweight (in, out * bits / 32) beside scales (groups, out). gemv: (out, in * bits / 32); gemv_fast: int16
    words, 4 rows interleaved. Source: AutoAWQ's WQLinear_GEMM, WQLinear_GEMV and WQLinear_GEMVFast.
    """
    word = DTYPE_BITS[stored.dtype]
    if stored.dtype in PLAIN or len(stored.shape) < 2:
        return stored.numel if stored.dtype in PLAIN else None
    scales, zeros = parts.get("scales"), parts.get("qzeros")
    if scales is not None and zeros is not None and len(scales.shape) == len(zeros.shape) == len(stored.shape):
        into, columns = stored.shape[-2:]
        packed_zeros = zeros.shape[-1] == columns and zeros.shape[-2] == scales.shape[-2]
        if packed_zeros and _bits(columns * word, scales.shape[-1]) and into % max(1, scales.shape[-2]) == 0:
            return math.prod(stored.shape[:-1]) * scales.shape[-1]
    bits = scheme.bits or 4
    return stored.numel * word // bits if bits <= word else None


def auto_round(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """GPTQ's layout or AWQ's, whichever the recipe's packing_format names; the shapes tell which: only AWQ's zero
    points have the weight's own columns."""
    zeros = parts.get("qzeros")
    as_awq = zeros is not None and zeros.shape[-1:] == stored.shape[-1:] and "g_idx" not in parts
    return (awq if as_awq else gptq)(stored, parts, scheme)


def marlin(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """AutoGPTQ's Marlin format: B (in / 16, out * 2) int32, 4 bits always. Source: auto_gptq's qlinear_marlin.py."""
    del parts, scheme
    return stored.numel * 8 if stored.dtype == "I32" else None


def exl3(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """trellis (in / 16, out / 16, 16 * bits) int16: tiles of 16 x 16 weights. Source: GPTQModel's EXL3 layers."""
    del parts, scheme
    return 256 * math.prod(stored.shape[:2]) if len(stored.shape) == 3 else None


def bitsandbytes(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """nf4 and fp4: two values a byte in a column (bytes / element, 1), whose storage type may be any; the blocks'
    absmax beside it gives it away. int8 and what was skipped: one value an element."""
    column = len(stored.shape) == 2 and stored.shape[1] == 1
    if ".absmax" in parts or (stored.dtype == "U8" and column and scheme.bits != 8):
        return 2 * stored.nbytes
    return stored.numel if stored.dtype in PLAIN or stored.dtype in ("I8", "F8_E4M3") else None


def compressed(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """compressed-tensors' weight_packed: pack-quantized (int32), nvfp4, mxfp4 and mxfp6 (bytes), marlin-24.

    pack-quantized has (out, words of a row). In older versions a word holds 32 // bits values, later ones have no gaps:
    the same at 2, 4 and 8 bits. A scale a group tells the row's width, whatever the bits and the padding.
    marlin-24 keeps two of four values, and 2 bits of metadata for each: meta (int16) has 1 element for 16 weights.
    Source: the compressors of compressed-tensors 0.11 and 0.20.
    """
    if "meta" in parts:
        return 16 * parts["meta"].numel if parts["meta"].dtype == "I16" else None
    if stored.dtype == "U8":
        return stored.numel * 4 // 3 if scheme.bits == 6 else 2 * stored.numel
    if stored.dtype != "I32" or not stored.shape:
        return None
    rows, words = math.prod(stored.shape[:-1]), stored.shape[-1]
    scale, size = parts.get("weight_scale"), scheme.group_size
    if scale is not None and size and len(scale.shape) == len(stored.shape) and scale.shape[-1] > 1:
        width = scale.shape[-1] * size
        if any(words in (-(-width * bits // 32), -(-width // (32 // bits))) for bits in WHOLE_BITS):
            return rows * width
    if not scheme.bits or scheme.bits > 32:
        return None
    if 32 % scheme.bits == 0:
        return rows * words * (32 // scheme.bits)
    if scheme.gapless is None:
        return None
    return rows * (words * 32 // scheme.bits if scheme.gapless else words * (32 // scheme.bits))


def kept_values(stored: Group, parts: Parts, scheme: Scheme) -> int:
    """Sparse formats' `compressed`: the values that are not zero; their bitmask has one bit a parameter.

    2:4 sparse keeps exactly half. Otherwise a row's bits are padded to bytes: exact for widths that 8 divides.
    """
    del scheme
    mask = parts.get("bitmask") or parts.get(".bitmask")
    if mask is None:
        return 2 * stored.numel
    width = mask.shape[-1] * 8 if mask.shape else 0
    halves = 2 * stored.numel
    rows = mask.numel // mask.shape[-1] if width else 0
    return halves if rows and 0 <= width * rows - halves < 8 * rows and len(stored.shape) == 2 else mask.numel * 8


def two_a_byte(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """4-bit floats and integers in bytes (NVFP4, MXFP4, modelopt's int4); anything else one value an element.

    Source: OCP Microscaling Formats v1.0, 5.3.3; modelopt's export/quant_utils.py.
    """
    del parts, scheme
    if stored.dtype in ("I32", "I64", "I16"):
        return None
    return 2 * stored.numel if stored.dtype == "U8" else stored.numel


def no_recipe(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """A weight whose config names no method: what is beside it tells."""
    if ".absmax" in parts or "SCB" in parts:
        return bitsandbytes(stored, parts, scheme)
    if stored.dtype == "U8" and not {"weight_scale", "weight_scale_2", "_weight_scale"} & parts.keys():
        return None
    return two_a_byte(stored, parts, scheme)


def fp8(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """One value an element, or FP4 experts (DeepSeek-V4) two a byte with a scale for 32 inputs: then the bytes of a row
    are 16 times its scales. Source: FP8Experts of transformers, expert_dtype "fp4"."""
    del scheme
    if stored.dtype not in ("I8", "U8") or not stored.shape:
        return stored.numel
    for key in ("weight_scale_inv", "scale", "_scale_inv", "weight_scale"):
        scale = parts.get(key)
        if scale is not None and scale.shape[-1:] and 16 * scale.shape[-1] == stored.shape[-1]:
            return 2 * stored.numel
    return stored.numel if stored.dtype == "I8" else None


def quark(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """AMD Quark: int32 words of 32 // bits values, or bytes: two 4-bit floats each, or four 6-bit ones in three.

    Source: quark/torch/utils/pack.py.
    """
    del parts
    if stored.dtype == "I32":
        return stored.numel * (32 // scheme.bits) if scheme.bits and 32 % scheme.bits == 0 else None
    if stored.dtype == "U8":
        per_byte = {2: (4, 1), 4: (2, 1), 6: (4, 3), 8: (1, 1)}.get(scheme.bits or 4)
        return stored.numel * per_byte[0] // per_byte[1] if per_byte else None
    return stored.numel


def mlx(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """MLX and Metal: weight (out, in * bits / 32) uint32 beside scales (out, in / group size): in = scales * group
    size, where that gives whole bits. Source: mlx.nn.QuantizedLinear; MetalLinear of transformers."""
    if stored.dtype not in ("U32", "I32") or not stored.shape:
        return stored.numel
    rows, words = math.prod(stored.shape[:-1]), stored.shape[-1]
    scales = parts.get("scales")
    if scales is not None and scales.shape[:-1] == stored.shape[:-1] and scheme.group_size:
        width = scales.shape[-1] * scheme.group_size
        if _bits(words * 32, width):
            return rows * width
    return rows * words * 32 // scheme.bits if scheme.bits and scheme.bits <= 32 else None


def torchao(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """qdata: int4 eight an int32 (plain, or tiled in four dimensions) or two a byte; int8 and FP8 as they are.

    Source: torchao 0.18, Int4Tensor, Int4PlainInt32Tensor, Int4TilePackedTo4dTensor, Int8Tensor, Float8Tensor,
    IntxUnpackedToInt8Tensor, MXTensor. The tiled layout pads its inputs to 1024: exact for multiples of it.
    """
    del parts, scheme
    return stored.numel * {"I32": 8, "U8": 2}.get(stored.dtype, 1)


def hqq(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """W_q: 8 // bits values a byte, at 3 bits ten an int32, of which the last may be padded: there a scale for each
    group tells the number. Source: hqq.core.bitpack; a W_q viewed as floats has the same bytes."""
    if scheme.bits is None:
        return None
    scale = parts.get("scale")
    if scheme.bits == 3:
        capacity = stored.nbytes // 4 * 10
        if scale is not None and scheme.group_size and 0 < scale.numel * scheme.group_size <= capacity:
            return scale.numel * scheme.group_size
        return None if stored.dtype not in ("I32", "F32") else capacity
    return stored.nbytes * (8 // min(scheme.bits, 8)) if scheme.bits in (1, 2, 4) else stored.nbytes


def quanto(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """_data: int8 and FP8 as they are; int4 two and int2 four a byte. Source: optimum.quanto's PackedTensor."""
    del parts
    if stored.dtype != "U8":
        return stored.numel
    return stored.numel * (8 // scheme.bits) if scheme.bits in (2, 4, 8) else None


def aqlm(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """codes (out groups, in groups, codebooks) and codebooks (n, 2^bits, out group, in group): in * out by both shapes.

    Source: aqlm.QuantizedLinear.
    """
    del scheme
    books = parts.get("codebooks")
    if books is None or len(books.shape) != 4 or len(stored.shape) != 3:
        return None
    return stored.shape[0] * stored.shape[1] * books.shape[2] * books.shape[3]


def vptq(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """indices (codebooks, out / vector length, packed): the recipe gives in and out features of every layer; else the
    width is that of the permutation or the norm, and the height a multiple of the vector length.

    Source: vptq.VQuantLinear. A height that the vector length does not divide is padded.
    """
    width, (into, out) = parts.get("perm") or parts.get("weight_scale"), scheme.shape or (0, 0)
    if len(stored.shape) != 3 or not scheme.vector:
        return None
    height = stored.shape[1] * scheme.vector
    if 0 <= height - out < scheme.vector and (width is None or width.numel == into):
        return into * out
    return None if width is None else height * width.numel


def bitnet(stored: Group, parts: Parts, scheme: Scheme) -> int:
    """weight (out / 4, in): four ternary values a byte. Source: BitLinear of transformers."""
    del parts, scheme
    return stored.numel * (4 if stored.dtype == "U8" else 1)


def higgs(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """weight (out * bits / 16, in) int16 beside tables (2^bits). Source: HiggsLinear of transformers."""
    if stored.dtype != "I16":
        return stored.numel if stored.dtype in PLAIN else None
    tables = parts.get("tables")
    bits = (tables.shape[0].bit_length() - 1) if tables is not None and tables.shape else scheme.bits
    return stored.numel * 16 // bits if bits else None


def spqr(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """dense_weights: a word of 64 bits for each tile row of 16 weights of 3 bits, with their scale and zero point.

    Source: spqr_quant.QuantizedLinear. Tiles at the edges are padded: exact for multiples of 16.
    """
    del parts, scheme
    return 16 * stored.numel if stored.dtype == "I64" else None


def gemma(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """Bytes of 2 or 4 bits; int8 as it is. Source: QuantizedLinear and QuantizedEmbedding of gemma_quant in
    transformers."""
    del parts
    if stored.dtype != "U8":
        return stored.numel
    return stored.numel * (8 // scheme.bits) if scheme.bits in (2, 4) else None


def _bits(width: int, values: int) -> int | None:
    """Bits a value where `width` bits hold `values` of them with no gaps: a whole number up to 8, or None."""
    bits, rest = divmod(width, values) if values > 0 else (0, 1)
    return bits if not rest and bits in WHOLE_BITS else None
