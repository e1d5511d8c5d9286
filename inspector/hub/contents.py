"""What a repo or folder without readable weights holds instead, in a sentence, and what to do about it."""

from __future__ import annotations

from collections.abc import Container, Iterable

from inspector.errors import UnsupportedFormat
from inspector.hub.checkpoint import File

ADAPTER_CONFIG = "adapter_config.json"
DIFFUSERS_INDEX = "model_index.json"

FORMATS: dict[str, str] = {
    ".bin": "PyTorch .bin",
    ".pt": "PyTorch .pt",
    ".pth": "PyTorch .pth",
    ".ckpt": "checkpoint .ckpt",
    ".gguf": "GGUF",
    ".ggml": "GGML",
    ".h5": "TensorFlow .h5",
    ".msgpack": "Flax .msgpack",
    ".onnx": "ONNX",
    ".tflite": "TFLite",
    ".mlmodel": "Core ML",
    ".mlpackage": "Core ML",
    ".npz": "NumPy .npz",
    ".nemo": "NeMo",
    ".engine": "TensorRT",
    ".ot": "Rust .ot",
    ".safetensors": "safetensors under other names",
}
"""Endings of weight files and what to call them. `.bin` is PyTorch's by far the most often."""

_NO_WEIGHTS = ("training_args.bin", "optimizer.bin", "optimizer.pt", "scheduler.bin", "scheduler.pt", "scaler.pt")
_READABLE = "safetensors, PyTorch and GGUF files can be read"
_CONVERTED = f"Only {_READABLE}: look for a converted copy, or a refs/pr/N revision with one."
_UNITS = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


def is_part_of_a_model(names: Container[str]) -> bool:
    """Whether these are the files of an adapter, or of a pipeline of several models."""
    return ADAPTER_CONFIG in names or DIFFUSERS_INDEX in names


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
            f"{where} is an adapter (PEFT), no whole model" + (f": {held}" if held else ""),
            f"Ask for its base model; {ADAPTER_CONFIG} names it.",
        )
    if DIFFUSERS_INDEX in names:
        return UnsupportedFormat(
            f"{where} is a diffusers pipeline of several models" + (f": {held}" if held else ""),
            "Only language models are read so far.",
        )
    if not formats:
        what = "only a config" if "config.json" in names else "no weights" if names else "no files"
        return UnsupportedFormat(f"{missing}: it holds {what}", "Ask for the repo that has the weights.")
    return UnsupportedFormat(f"{missing}; it holds {held}", _hint(formats))


def _formats(files: tuple[File, ...]) -> dict[str, list[File]]:
    formats: dict[str, list[File]] = {}
    for file in files:
        base = file.name.rsplit("/", 1)[-1].lower()
        ending = "." + base.rsplit(".", 1)[-1]
        if ending in FORMATS and base not in _NO_WEIGHTS:
            formats.setdefault(FORMATS[ending], []).append(file)
    return formats


def _described(name: str, files: list[File]) -> str:
    """`GGUF (8 files, 13.5 GB)`."""
    count = "1 file" if len(files) == 1 else f"{len(files)} files"
    sizes: list[int] = [file.size for file in files if file.size is not None]
    size = sum(sizes)
    total = f", {size_text(size)}" if len(sizes) == len(files) and size else ""
    example = f", such as {files[0].name[:80]}" if name == FORMATS[".safetensors"] else ""
    return f"{name} ({count}{total}{example})"


def _hint(formats: dict[str, list[File]]) -> str:
    own = formats.get(FORMATS[".safetensors"])
    if own:
        return "Download one of these files and give its path, or ask for the repo in transformers' layout."
    if any(name.startswith(("PyTorch", "checkpoint", "GGUF")) for name in formats):
        return "Name the file to read: org/name:FILE, or its path where it is on this disk."
    return _CONVERTED


def size_text(count: int) -> str:
    """Bytes in the decimal units of the Hub's own pages: an error's text, no report."""
    for unit, name in _UNITS:
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} B"
