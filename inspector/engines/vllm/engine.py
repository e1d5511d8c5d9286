"""vLLM as an engine: its options, and where its plan, its log reader and its comparison are."""

from __future__ import annotations

from inspector.engines.engine import Engine
from inspector.engines.vllm.options import VllmOptions


class Vllm(Engine):
    """A profiling run decides what the KV cache gets of a share of the device."""

    name = "vllm"
    title = "vLLM"
    options = VllmOptions
    device_kinds = ("cuda", "rocm")
    counts_images = True
    makes_file_types = False


ENGINE = Vllm()
