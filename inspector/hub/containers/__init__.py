"""Weight files other than safetensors, read from their headers: PyTorch's zip archives and GGUF."""

from inspector.hub.containers.gguf import GGUFFile, GGUFTensor, Omitted, merge_parts, read_gguf
from inspector.hub.containers.gguf_config import gguf_config
from inspector.hub.containers.gguf_names import GGUFGroup, group_files, is_gguf, kind_of, quant_of
from inspector.hub.containers.pytorch import PytorchFile, read_pytorch
from inspector.hub.containers.reader import CachingReader, CountingReader, LocalFile, RangeReader

__all__ = [
    "CachingReader",
    "CountingReader",
    "GGUFFile",
    "GGUFGroup",
    "GGUFTensor",
    "LocalFile",
    "Omitted",
    "PytorchFile",
    "RangeReader",
    "gguf_config",
    "group_files",
    "is_gguf",
    "kind_of",
    "merge_parts",
    "quant_of",
    "read_gguf",
    "read_pytorch",
]
