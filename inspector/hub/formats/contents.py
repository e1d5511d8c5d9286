"""What a repo or folder without readable weights holds instead, in a sentence, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Collection, Container, Iterable

from inspector.errors import UnsupportedFormat
from inspector.hub.checkpoint import File
from inspector.hub.formats.documents import ADAPTER_CONFIG

DCP = "PyTorch distributed checkpoint (.distcp)"
"""Of FSDP, DeepSpeed, Megatron and NeMo: shards that no single name says the tensors of."""

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
    ".distcp": DCP,
    ".plan": "TensorRT",
    ".trt": "TensorRT",
    ".hdf5": "TensorFlow .h5",
    ".nnet": "Kaldi",
    ".pdiparams": "PaddlePaddle",
    ".pdmodel": "PaddlePaddle",
    ".llamafile": "llamafile",
    ".pt2": "torch.export .pt2",
    ".ptl": "PyTorch Mobile",
    ".pte": "ExecuTorch",
    ".ort": "ONNX Runtime",
    ".mnn": "MNN",
    ".rknn": "RKNN",
    ".dlc": "Qualcomm DLC",
    ".caffemodel": "Caffe",
    ".params": "MXNet",
    ".npy": "NumPy .npy",
    ".joblib": "joblib (a pickle)",
    ".pkl": "pickle",
    ".pickle": "pickle",
    ".skops": "skops",
    ".cbm": "CatBoost",
    ".mar": "TorchServe",
    ".rten": "RTen",
    ".q4f16_1": "MLC",
}
"""Endings of weight files and what to call them. `.bin` is PyTorch's by far the most often."""

PATTERNS: dict[str, str] = {
    r".*\.(mlpackage|mlmodelc)/.*": "Core ML",
    r".*\.ckpt(-\d+)?\.(data-\d{5}-of-\d{5}|index|meta)": "TensorFlow checkpoint",
    r".*\.data-\d{5}-of-\d{5}": "TensorFlow SavedModel",
    r".*\.onnx(\.data|_data(_\d+)?)": "ONNX",
    r".*\.mnn\.weight": "MNN",
    r"(.*/)?(params_shard_\d+\.bin|ndarray-cache\.json)": "MLC",
    r"(.*/)?ggml-[^/]*\.bin|.*\.ggml(v\d)?(\.q\w+)?\.bin": "GGML",
    r"(.*/)?rwkv[^/]*\.pth": "RWKV .pth",
    r"(.*/)?([^/]*zero_pp_rank_\d+[^/]*|(mp_rank|layer)_\d+[^/]*model_states)\.pt": "DeepSpeed checkpoint",
    r"(.*/)?bf16_zero_pp_rank_\d+[^/]*\.pt": "DeepSpeed checkpoint",
    r".*mp_rank_\d+(_\d+)*/(model_optim_rng|model_rng|distrib_optim)\.pt": "Megatron checkpoint",
    r"(.*/)?(manifest\.ocdbt|ocdbt\.process_\d+/.*|_checkpoint_metadata)": "Orbax checkpoint",
    r"(.*/)?rank\d+\.(engine|safetensors)": "TensorRT-LLM",
    r"(.*/)?(ner|tagger|parser|tok2vec|transformer|textcat|lemmatizer|morphologizer)/model": "spaCy",
    r"[^/]+-any-py3-none-any\.whl": "spaCy",
    r"(.*/)?qmodel\.pt": "HQQ .pt",
    r"(.*/)?[^/]*gptq[^/]*\.pt|(.*/)?[^/]*[-_]\d-?bit[^/]*\.pt": "GPTQ .pt",
}
"""Paths in lower case, and what to call the format where the ending alone does not tell."""

CTRANSLATE2_VOCABULARIES = tuple(
    f"{kind}vocabulary.{ending}" for kind in ("", "shared_", "source_") for ending in ("json", "txt")
)
"""What CTranslate2 writes beside its model.bin."""
_FASTTEXT = re.compile(r"cc\.[a-z]{2,3}\.\d+\.bin|lid\.\d+\.bin|wiki\.[a-z]{2,3}\.bin")
"""Names of fastText's published models; others are called model.bin, without a config."""

_NO_WEIGHTS = re.compile(
    r"training_args\.bin|(optimizer|scheduler|scaler)\.(bin|pt)|rng_state(_\d+)?\.pth|random_states_\d+\.pkl|common\.pt"
)
_READABLE = "safetensors, PyTorch and GGUF files can be read"
_CONVERTED = f"Only {_READABLE}: look for a converted copy, or a refs/pr/N revision with one."
HINTS = {
    "DeepSpeed checkpoint": "Run its zero_to_fp32.py, or ask for the repo with the converted weights.",
    DCP: "Convert it (python -m torch.distributed.checkpoint.format_utils dcp_to_torch), or ask for a converted copy.",
    "Megatron checkpoint": "Convert it to Hugging Face's form, or ask for a converted copy.",
    "llamafile": "Ask for the GGUF that is in it.",
}
"""What to do about formats that can be converted."""
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


def holds_no_weights(files: Iterable[File]) -> bool:
    """Whether a place holds weights in no format at all, and no adapter's document either."""
    files = tuple(files)
    return not _formats(files) and all(file.name != ADAPTER_CONFIG for file in files)


def _foreign_bin(base: str, beside: Container[str]) -> str | None:
    """Whose a `.bin` is that is not PyTorch's, by its name and the files beside it; None where nothing tells."""
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
    if _NO_WEIGHTS.fullmatch(base):
        return None
    pattern = next((named for pattern, named in PATTERNS.items() if re.fullmatch(pattern, lowered)), None)
    if pattern is not None:
        return pattern
    if base.endswith(".bin") and f"{name[:-4]}.xml" in names:
        return "OpenVINO"
    if base.endswith(".bin"):
        folder = name[: len(name) - len(base)]
        foreign = _foreign_bin(base, {each.removeprefix(folder) for each in names if each.startswith(folder)})
        if foreign is not None:
            return foreign
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
    for name, hint in HINTS.items():
        if name in formats:
            return hint
    if any(name.startswith(("PyTorch", "checkpoint", "GGUF", "RWKV", "GPTQ", "HQQ")) for name in formats):
        return "Name the file to read: org/name:FILE, or its path where it is on this disk."
    return _CONVERTED


def size_text(count: int) -> str:
    """Bytes in the decimal units of the Hub's own pages: an error's text, no report."""
    for unit, name in _UNITS:
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} B"
