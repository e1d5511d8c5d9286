"""How llama-server and llama-cli are read (common/arg.cpp)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inspector.engines.common.commands import Commands, Given, number_of

_NAMES = {
    "context": ("ctx-size", "c"),
    "batch": ("parallel", "np"),
    "file": ("hf-file", "hff"),
    "repo": ("hf-repo", "hf", "hfr"),
    "path": ("model", "m"),
    "draft": ("model-draft", "md", "hf-repo-draft", "hfd"),
    "mmproj": ("mmproj", "mm", "mmproj-url"),
    "layers": ("n-gpu-layers", "ngl", "gpu-layers"),
    "flash": ("flash-attn", "fa"),
}


def _read(given: Given, serving: dict[str, Any]) -> Mapping[str, Any]:
    """The file, the context of a sequence, how many there are, and how many layers are on the GPUs."""
    said = {
        name: next((given[option] for option in options if option in given), None) for name, options in _NAMES.items()
    }
    found: dict[str, Any] = {"read": {option for options in _NAMES.values() for option in options}}
    repo, file = said["repo"], said["file"]
    if isinstance(repo, str):
        found["model"] = f"{repo.partition(':')[0]}:{file}" if isinstance(file, str) else repo
    elif isinstance(said["path"], str):
        found["model"] = said["path"]
    found |= {name: said[name] for name in ("draft", "mmproj") if isinstance(said[name], str)}
    batch, cells = (number_of(given, *_NAMES[name]) or 0 for name in ("batch", "context"))
    batch = max(1, batch)
    if batch > 1:
        found["batch"] = batch
    if cells > 0:
        found["context"] = cells if serving.get("kv_unified") else max(1, cells // batch)
    layers = str(said["layers"])
    if layers.isascii() and layers.isdigit():
        serving["n_gpu_layers"] = int(layers)
    if said["flash"] is not None:
        serving["flash_attn"] = {"0": "off", "off": "off", "false": "off"}.get(str(said["flash"]).lower(), "on")
    return found


COMMANDS = Commands(
    starts=(("llama-server",), ("llama-cli",), ("llama-server.exe",), ("llama-cli.exe",), ("server",)),
    images=("ggml-org/llama.cpp",),
    model=("model",),
    aliases={
        "ub": "n_ubatch",
        "ubatch-size": "n_ubatch",
        "ctk": "cache_type_k",
        "ctv": "cache_type_v",
        "ncmoe": "n_cpu_moe",
        "cmoe": "cpu_moe",
        "ot": "override_tensor",
        "ts": "tensor_split",
        "kvu": "kv_unified",
        "nkvo": "no_kv_offload",
        "n-gpu-layers": "",
        "flash-attn": "",
    },
    flags=frozenset(
        ("cmoe", "kvu", "nkvo", "jinja", "no-mmap", "mlock", "cont-batching", "cb", "metrics", "no-mmproj")
    ),
    read=_read,
)
