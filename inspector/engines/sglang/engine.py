"""SGLang as an engine: its options, and where its plan, its log reader and its comparison are."""

from __future__ import annotations

from inspector.engines.engine import Engine
from inspector.engines.sglang.options import SglangOptions


class Sglang(Engine):
    """A static share of the device, of which the KV cache gets what the weights leave."""

    name = "sglang"
    title = "SGLang"
    options = SglangOptions
    device_kinds = ("cuda", "rocm")
    makes_file_types = False


ENGINE = Sglang()
