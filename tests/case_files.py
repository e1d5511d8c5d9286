"""The files of a case (tests/cases): text, JSON, beginnings of files, and the headers of safetensors and GGUF files by
patterns of their tensors' names.

    "config.json": {"json": {...}}
    "model.safetensors": {"tensors": {"BF16": {"model.layers.{0-31}.mlp.{gate,up}_proj.weight": [11008, 4096]}}}
    "model-Q8_0.gguf": {"gguf": {"general.architecture": "llama", ...}, "tensors": {"Q8_0": {...: [4096, 11008]}}}

A GGUF's sizes stand as in its file: the inputs first. A dtype of GGUF is its name in ggml.
"""

from __future__ import annotations

import base64
import itertools
import json
import math
import os
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

BITS = {"F64": 64, "I64": 64, "F32": 32, "I32": 32, "U32": 32, "BF16": 16, "F16": 16, "I16": 16}
BITS |= {"F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "I8": 8, "U8": 8, "BOOL": 8}
GGML = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20), "Q5_0": (6, 32, 22)}
GGML |= {"Q8_0": (8, 32, 34), "Q2_K": (10, 256, 84), "Q3_K": (11, 256, 110), "Q4_K": (12, 256, 144)}
GGML |= {"Q5_K": (13, 256, 176), "Q6_K": (14, 256, 210), "BF16": (30, 1, 2), "MXFP4": (39, 32, 17)}
"""Name of a ggml type -> its number, the values of a block and its bytes."""
ALIGNMENT = 32


def names(pattern: str) -> Iterator[str]:
    """The names of a pattern: "{0-3}" is a range, "{0-9:3}" one of every third, "{q,k,v}" a list."""
    parts = re.split(r"\{([^{}]+)\}", pattern)
    choices = [list(_choices(part)) if index % 2 else [part] for index, part in enumerate(parts)]
    return ("".join(chosen) for chosen in itertools.product(*choices))


def _choices(text: str) -> Iterator[str]:
    for part in text.split(","):
        found = re.fullmatch(r"(\d+)-(\d+)(?::(\d+))?", part)
        if found is None:
            yield part
        else:
            yield from map(str, range(int(found[1]), int(found[2]) + 1, int(found[3] or 1)))


def lay_out(files: Mapping[str, Any], folder: Path) -> Path:
    """Writes a case's files; what to inspect of them."""
    for name, spec in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data, size = _contents(spec)
        path.write_bytes(data)
        os.truncate(path, spec.get("size", size))
    return next(iter(sorted(folder.glob("*.gguf"))), folder)


def _contents(spec: Mapping[str, Any]) -> tuple[bytes, int]:
    """The beginning of a file, and its size."""
    if "gguf" in spec:
        return gguf(spec["gguf"], spec["tensors"])
    if "tensors" in spec:
        return safetensors(spec["tensors"])
    if "json" in spec:
        data = json.dumps(spec["json"]).encode()
    elif "text" in spec:
        data = spec["text"].encode()
    else:
        data = zlib.decompress(base64.b64decode(spec["zb64"]))
    return data, len(data)


def safetensors(tensors: Mapping[str, Mapping[str, list[int]]]) -> tuple[bytes, int]:
    """The header of a safetensors file, and the file's size."""
    header: dict[str, Any] = {}
    end = 0
    for dtype, patterns in tensors.items():
        for pattern, shape in patterns.items():
            for name in names(pattern):
                begin, end = end, end + math.prod(shape) * BITS[dtype] // 8
                header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text)) + text, 8 + len(text) + end


def gguf(metadata: Mapping[str, Any], tensors: Mapping[str, Mapping[str, list[int]]]) -> tuple[bytes, int]:
    """The header of a GGUF file, version 3, and the file's size."""
    infos, end = [], 0
    for dtype, patterns in tensors.items():
        number, block, size = GGML[dtype]
        for pattern, shape in patterns.items():
            for name in names(pattern):
                infos.append(
                    _text(name)
                    + struct.pack("<I", len(shape))
                    + struct.pack(f"<{len(shape)}Q", *shape)
                    + struct.pack("<IQ", number, end)
                )
                end += -(-math.prod(shape) // block * size // ALIGNMENT) * ALIGNMENT
    values = b"".join(_text(key) + _value(value) for key, value in metadata.items())
    data = b"GGUF" + struct.pack("<IQQ", 3, len(infos), len(metadata)) + values + b"".join(infos)
    data += b"\0" * (-len(data) % ALIGNMENT)
    return data, len(data) + end


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _value(value: Any) -> bytes:
    if isinstance(value, list):
        items = [_value(item) for item in value]
        kind = items[0][:4] if items else struct.pack("<I", 4)
        return struct.pack("<I", 9) + kind + struct.pack("<Q", len(items)) + b"".join(item[4:] for item in items)
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value) if value >= 0 else struct.pack("<Ii", 5, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    return struct.pack("<I", 8) + _text(value)
