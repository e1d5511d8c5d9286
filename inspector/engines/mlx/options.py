"""What a user may tell mlx-lm. None takes its own default."""

from __future__ import annotations

from dataclasses import dataclass

from inspector.engines.common.options import tensor_parallel
from inspector.settings import setting


@dataclass(frozen=True)
class MlxOptions:
    """mlx-lm's options, under its own names; each says of itself what it is."""

    tensor_parallel: int | None = tensor_parallel()
    prefill_step_size: int | None = setting(
        None,
        help="Tokens of a prompt that mlx-lm computes at once.",
        docs="tokens of a prompt's chunk; default 2048",
        unit="tokens",
        metavar="N",
        least=1,
    )
    kv_bits: int | None = setting(
        None,
        help="Bits of mlx-lm's quantized cache: 8, 4, ...",
        docs="a quantized cache: bits (2, 3, 4, 5, 6, 8)",
        unit="bits",
        metavar="N",
        least=1,
    )
    kv_group_size: int | None = setting(
        None,
        help="Group size of mlx-lm's quantized cache. Default: 64.",
        docs="group size of a quantized cache (32, 64, 128; default 64)",
        metavar="N",
        least=1,
    )
    quantized_kv_start: int | None = setting(
        None,
        help="Tokens from which on mlx-lm quantizes its cache. Default: 5000.",
        docs="tokens from which on the cache is quantized (default 5000)",
        unit="tokens",
        metavar="N",
        least=0,
    )
