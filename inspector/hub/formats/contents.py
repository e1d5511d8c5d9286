"""What a repo or folder without readable weights holds instead, in a sentence, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Collection, Container, Iterable

from inspector.errors import UnsupportedFormat
from inspector.hub.checkpoint import File
from inspector.hub.formats.documents import ADAPTER_CONFIG

FORMATS: dict[str, str] = {
    ".bin": "PyTorch .bin",
    ".pt": "PyTorch .pt",
    ".pth": "PyTorch .pth",
    ".ckpt": "checkpoint .ckpt",
    ".gguf": "GGUF",
    ".ggml": "GGML",
    ".h5": "TensorFlow .h5",
    ".keras": "Keras",
    ".pb": "TensorFlow SavedModel",
    ".msgpack": "Flax .msgpack",
    ".onnx": "ONNX",
    ".onnx_data": "ONNX",
    ".tflite": "TFLite",
    ".task": "MediaPipe",
    ".litertlm": "LiteRT-LM",
    ".mlmodel": "Core ML",
    ".npz": "NumPy .npz",
    ".nemo": "NeMo",
    ".pdparams": "PaddlePaddle",
    ".engine": "TensorRT",
    ".ftz": "fastText",
    ".ot": "Rust .ot",
    ".safetensors": "safetensors under other names",
}
"""Endings of weight files and what to call them. `.bin` is PyTorch's by far the most often."""
CORE_ML_FOLDERS = (".mlpackage/", ".mlmodelc/")
TENSORFLOW_PARTS = (".data-00000-of-00001", ".ckpt.index", ".ckpt.meta")
"""Ends of what TensorFlow 1 and SavedModels keep their variables in."""

CTRANSLATE2_VOCABULARIES = tuple(
    f"{kind}vocabulary.{ending}" for kind in ("", "shared_", "source_") for ending in ("json", "txt")
)
"""What CTranslate2 writes beside its model.bin."""
_FASTTEXT = re.compile(r"cc\.[a-z]{2,3}\.\d+\.bin|lid\.\d+\.bin|wiki\.[a-z]{2,3}\.bin")
"""Names of fastText's published models; others are called model.bin, without a config."""

_NO_WEIGHTS = ("training_args.bin", "optimizer.bin", "optimizer.pt", "scheduler.bin", "scheduler.pt", "scaler.pt")
_READABLE = "safetensors, PyTorch and GGUF files can be read"
_CONVERTED = f"Only {_READABLE}: look for a converted copy, or a refs/pr/N revision with one."
_UNITS = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


def unsupported(files: Iterable[File] | None, where: str) -> UnsupportedFormat:
    """The error for a place that has no weights under the names that can be read.

    Args:
        files: what it holds; None where that cannot be told.
    """
    if files is None:
        return UnsupportedFormat(f"{where} has no model.safetensors and no index", _CONVERTED)
    files = tuple(files)
    names = {file.name for file in files}
    formats = _formats(files)
    held = ", ".join(_described(name, group) for name, group in formats.items())
    missing = f"{where} has no model.safetensors and no index"
    if ADAPTER_CONFIG in names:
        return UnsupportedFormat(
            f"{where} has an {ADAPTER_CONFIG} (PEFT), and no adapter_model.safetensors or .bin"
            + (f": it holds {held}" if held else ""),
            f"Ask for its base model; {ADAPTER_CONFIG} names it.",
        )
    if not formats:
        what = "only a config" if "config.json" in names else "no weights" if names else "no files"
        return UnsupportedFormat(f"{missing}: it holds {what}", "Ask for the repo that has the weights.")
    return UnsupportedFormat(f"{missing}; it holds {held}", _hint(formats))


def _foreign_bin(base: str, beside: Container[str]) -> str | None:
    """Whose a `.bin` is that is not PyTorch's, by its name and the files beside it; None where nothing tells."""
    if base.startswith("params_shard_"):
        return "MLC"
    if base != "model.bin" and not _FASTTEXT.fullmatch(base):
        return None
    if any(name in beside for name in CTRANSLATE2_VOCABULARIES):
        return "CTranslate2"
    return "fastText" if "config.json" not in beside else None


def _formats(files: tuple[File, ...]) -> dict[str, list[File]]:
    formats: dict[str, list[File]] = {}
    names = {file.name for file in files}
    for file in files:
        name = _format(file.name.lower(), file.name, names)
        if name is not None:
            formats.setdefault(name, []).append(file)
    return formats


def _format(lowered: str, name: str, names: Collection[str]) -> str | None:
    """What to call a file's format, None where it holds no weights."""
    base = lowered.rsplit("/", 1)[-1]
    if base in _NO_WEIGHTS:
        return None
    if any(folder in lowered for folder in CORE_ML_FOLDERS):
        return "Core ML"
    if base.endswith(".bin") and f"{name[:-4]}.xml" in names:
        return "OpenVINO"
    if base.endswith(".bin"):
        folder = name[: len(name) - len(base)]
        foreign = _foreign_bin(base, {each.removeprefix(folder) for each in names if each.startswith(folder)})
        if foreign is not None:
            return foreign
    if base.endswith(TENSORFLOW_PARTS):
        return "TensorFlow checkpoint" if ".ckpt" in base else "TensorFlow SavedModel"
    if base.endswith((".onnx.data", ".onnx_data")) or ".onnx_data_" in base:
        return "ONNX"
    return FORMATS.get("." + base.rsplit(".", 1)[-1])


def _described(name: str, files: list[File]) -> str:
    """`GGUF (8 files, 13.5 GB)`."""
    count = "1 file" if len(files) == 1 else f"{len(files)} files"
    sizes: list[int] = [file.size for file in files if file.size is not None]
    size = sum(sizes)
    total = f", {size_text(size)}" if len(sizes) == len(files) and size else ""
    example = f", such as {files[0].name[:80]}" if name == FORMATS[".safetensors"] else ""
    return f"{name} ({count}{total}{example})"


def _hint(formats: dict[str, list[File]]) -> str:
    if any(name.startswith(("PyTorch", "checkpoint", "GGUF")) for name in formats):
        return "Name the file to read: org/name:FILE, or its path where it is on this disk."
    return _CONVERTED


def size_text(count: int) -> str:
    """Bytes in the decimal units of the Hub's own pages: an error's text, no report."""
    for unit, name in _UNITS:
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} B"
