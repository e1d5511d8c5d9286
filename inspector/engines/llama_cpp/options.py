"""What a user may tell llama.cpp. None takes its own default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inspector.engines.common.options import version
from inspector.settings import setting

if TYPE_CHECKING:
    from inspector.engines.common.heads import DraftHead
    from inspector.model import Model


@dataclass(frozen=True)
class LlamaCppOptions:
    """llama.cpp's options, under its own names; each says of itself what it is.

    Attributes:
        draft: the draft model of speculative decoding, read.
        projector: bytes of the tensors of an encoder's own file (mmproj); None without one.
    """

    version: str | None = version()
    n_gpu_layers: int | None = setting(
        None,
        help="Layers that llama.cpp has on the GPUs. Default: all.",
        docs="layers on the GPUs, the output being one of them; default all",
        metavar="N",
        least=0,
    )
    n_ubatch: int | None = setting(
        None,
        help="llama.cpp's tokens per step. Default: 512.",
        docs="tokens per step; default 512",
        unit="tokens",
        metavar="N",
        least=1,
    )
    cache_type_k: str | None = setting(
        None,
        help="Type of llama.cpp's cached keys: f16 (default), q8_0, q4_0, ...",
        docs="of keys: `f16` (default), `bf16`, `f32`, `q8_0`, `q5_1`, `q5_0`, `q4_1`, `q4_0`, `iq4_nl`",
        metavar="TYPE",
    )
    cache_type_v: str | None = setting(
        None, help="Type of its cached values, likewise.", docs="of values, likewise", metavar="TYPE"
    )
    n_cpu_moe: int | None = setting(
        None,
        help="Layers whose experts llama.cpp leaves with the CPU.",
        docs="layers, the first ones, whose experts stay with the CPU; their attention and cache do not",
        metavar="N",
        least=0,
        most=10_000,
    )
    cpu_moe: bool = setting(False, help="All layers' experts are with the CPU.")
    override_tensor: str | None = setting(
        None,
        help="Where llama.cpp puts tensors by name: exps=CPU, ...",
        docs="where tensors lie by patterns of their names, of which the first that matches counts: `exps=CPU`,"
        " `ffn_up=CUDA1`, ...",
        metavar="PATTERN=BUFFER,...",
    )
    tensor_split: str | None = setting(
        None,
        help="Shares of the GPUs for llama.cpp's layers: 3,1.",
        docs="shares of the GPUs in the layers: `3,1`; default by their free memory",
        metavar="N,...",
    )
    flash_attn: str = setting(
        "auto",
        help="llama.cpp's flash attention: on, off, auto (on).",
        docs="flash attention: `on`, `off`, or `auto` (default, counted as on)",
        choices=("on", "off", "auto"),
        metavar="WHEN",
    )
    kv_unified: bool = setting(
        False,
        help="llama.cpp's --batch sequences share the cache of one.",
        docs="the sequences of `--batch` share one cache of `--context` tokens",
    )
    swa_full: bool = setting(
        False,
        help="llama.cpp's windows get full-size caches.",
        docs="layers with a sliding window get full-size caches",
    )
    no_kv_offload: bool = setting(
        False, help="llama.cpp's cache stays with the CPU.", docs="the cache stays with the CPU"
    )
    draft: Model | DraftHead | None = None
    projector: int | None = None
