"""torchao's tensor subclasses."""

from __future__ import annotations

from typing import ClassVar

from inspector.model.packing.packing import Packing, Parts, Rules, Scheme, beside, every
from inspector.model.parameters.names import Group


def torchao(stored: Group, parts: Parts, scheme: Scheme) -> int | None:
    """qdata: int4 eight an int32 (plain, or tiled in four dimensions) or two a byte; int8 and FP8 as they are.

    Source: torchao 0.18, Int4Tensor, Int4PlainInt32Tensor, Int4TilePackedTo4dTensor, Int8Tensor, Float8Tensor,
    IntxUnpackedToInt8Tensor, MXTensor. The tiled layout pads its inputs to 1024: exact for multiples of it.
    """
    del parts, scheme
    return stored.numel * {"I32": 8, "U8": 2}.get(stored.dtype, 1)


class Torchao(Packing):
    """The parts of a tensor subclass, each around the parameter's name."""

    tensors: ClassVar[Rules] = {
        "_*_qdata": torchao,
        **every(
            beside,
            "_*_scale _*_zero_point _*_scale_and_zero _*_per_tensor_scale _*_act_pre_scale _*_act_per_tensor_scale "
            "_*_act_quant_scale",
        ),
    }
    signs = ("_qdata",)
