"""llama.cpp's start-up log, of all programs built on it: its lines, whatever stands before them on each.

The messages are those of src/llama-model.cpp, llama-context.cpp, llama-kv-cache.cpp, llama-memory-recurrent.cpp and
ggml-cuda.cu, under the names that these had (llm_load_tensors, llama_new_context_with_model, llama_kv_cache_init,
sched_reserve); sizes are MiB.
"""

from __future__ import annotations

import re
from typing import Any

from inspector.engines.common.log import Collection, mib

TRIGGERS = (
    "buffer size",
    "KV self size",
    "llama_kv_cache",
    "n_ctx",
    "n_batch",
    "n_ubatch",
    "n_seq_max",
    "n_outputs_max",
    "flash_attn",
    "Flash Attention",
    "kv_unified",
    "offloaded ",
    "loaded meta data",
    "build:",
    "build ",
    "build_info",
    "version: ",
    "Device ",
    "using device",
    "pipeline parallelism",
    "general.name",
    "file type",
    "sched copies",
    "buffer type overrid",
)

_BUFFER = re.compile(r"(\w{1,60}):\s+(\S{1,60})\s+(model |KV |RS |compute |output |)buffer size\s*=\s*([\d.]+) Mi?B")
_SELF = re.compile(r"KV self size\s*=\s*([\d.]+) MiB(?:, K \((\w+)\):\s*[\d.]+ MiB, V \((\w+)\))?")
_CACHE = re.compile(
    r"llama_kv_cache\w*: size =\s*([\d.]+) MiB \(\s*(\d+) cells,\s*(\d+) layers,\s*(\d+)(?:/\s*(\d+))? seqs\)"
    r"(?:, K \((\w+)\):\s*[\d.]+ MiB, V \((\w+)\))?"
)
_TYPES = re.compile(r"type_k = '(\w+)', type_v = '(\w+)'")
_SETTING = re.compile(r"\b(n_ctx|n_batch|n_ubatch|n_seq_max|n_outputs_max|flash_attn|kv_unified)\s*=\s*(\w{1,20})")
_FLASH = re.compile(r"Flash Attention (?:was auto, set to )?(enabled|disabled)")
_LAYERS = re.compile(r"offloaded (\d{1,6})/(\d{1,6}) layers")
_BUILD = re.compile(r"(?:build(?:_info)?\s*[:=]\s*|version: )b?(\d{3,6})\b")
_DEVICE = re.compile(r"Device (\d+): ([^,\n]{2,80}), compute capability")
_USING = re.compile(r"using device (\S{1,20}) \(([^)\n]{2,80})\)(?: \([^)]{0,40}\))? - (\d{1,8}) MiB free")
_NAME = re.compile(r"general\.name\s+(?:str\s+)?=\s*(\S.{0,199})")
_OVERRIDDEN = re.compile(r"tensor (blk\.\d{1,5}\.[\w.]{1,100}) (?:\(.{0,40}\) )?buffer type overrid\w+ to (\w{1,20})")
_MAX_OVERRIDDEN = 20_000
_FILE_TYPE = re.compile(r"(?:file type|model ftype)\s+=\s*(\S.{0,60})")

_HOSTS = ("CPU", "Host", "_Host", "BLAS")


def is_host(device: str) -> bool:
    """Whether a buffer's name is that of the CPU's memory: CPU, CPU_Mapped, CUDA_Host, CPU_REPACK."""
    return device.startswith("CPU") or device.endswith("Host") or device in _HOSTS


class LlamaCppLog:
    """Reads line after line; `finish` is what they said of the largest model that was loaded.

    A server may load a model several times (to fit it) and a smaller one besides (to draft): each load is a run.
    """

    def __init__(self) -> None:
        self.found = Collection("llama.cpp")
        self._runs: list[dict[str, Any]] = []
        self._now = _new_run()

    def feed(self, line: str) -> None:
        """Take what one line says."""
        if not any(trigger in line for trigger in TRIGGERS):
            return
        if "loaded meta data" in line:
            self._keep()
        self._facts(line)
        self._context(line)
        self._buffers(line)

    def _keep(self) -> None:
        if self._now["model"]:
            if len(self._runs) >= 100:
                self._runs.sort(key=_loaded)
                del self._runs[0]
            self._runs.append(self._now)
        self._now = _new_run()

    def _facts(self, line: str) -> None:
        found, settings = self.found, self._now["settings"]
        if match := _BUILD.search(line):
            found.version = match[1]
        if match := _DEVICE.search(line):
            found.settings.setdefault("devices", {})[match[1][:3]] = match[2].strip()
            found.gpu = found.gpu or match[2].strip()
        if match := _USING.search(line):
            found.gpu = found.gpu or match[2].strip()
        if match := _LAYERS.search(line):
            settings["offloaded"], settings["layers"] = int(match[1]), int(match[2])
        if match := _OVERRIDDEN.search(line):
            moved = settings.setdefault("overridden", {})
            if len(moved) < _MAX_OVERRIDDEN:
                moved[match[1]] = match[2]
        if match := _NAME.search(line):
            settings["model"] = match[1].strip()
        if match := _FILE_TYPE.search(line):
            settings["file_type"] = match[1].strip()

    def _context(self, line: str) -> None:
        settings, context = self._now["settings"], self._now["context"]
        if "constructing llama_context" in line:
            self._now["context"] = context = {}
        for found in _SETTING.finditer(line) if "context" in line or "init_from_model" in line else ():
            if found[1] == "n_ctx" and any(key[0] in ("KV", "compute") for key in context):
                self._now["context"] = context = {}
            settings[found[1]] = int(found[2]) if found[2].isascii() and found[2].isdigit() else found[2]
        if match := _FLASH.search(line):
            settings["flash_attn"] = match[1]
        if match := _TYPES.search(line):
            settings["cache_type_k"], settings["cache_type_v"] = match[1], match[2]
        if "pipeline parallelism enabled" in line:
            settings["pipeline"] = True
        if match := _CACHE.search(line):
            if match[6]:
                settings["cache_type_k"], settings["cache_type_v"] = match[6], match[7]
            if match[5] is not None:
                settings["streams"] = int(match[5])
        if match := _SELF.search(line):
            context["self", ""] = mib(match[1])
            if match[2]:
                settings["cache_type_k"], settings["cache_type_v"] = match[2], match[3]

    def _buffers(self, line: str) -> None:
        if "buffer size" not in line or (match := _BUFFER.search(line)) is None:
            return
        function, device, kind, size = match[1], match[2], match[3].strip(), mib(match[4])
        if kind in ("model", "") and function.endswith("load_tensors"):
            self._now["model"][device] = self._now["model"].get(device, 0) + size
        elif kind in ("KV", "RS"):
            context = self._now["context"]
            context["KV", device] = context.get(("KV", device), 0) + size
        elif kind == "compute" and (function.startswith("llama") or function == "sched_reserve"):
            self._now["context"]["compute", device] = size

    def finish(self) -> Collection:
        """The run with the largest model, the last of them: sums over the GPUs, and over the CPU's buffers."""
        self._keep()
        found = self.found
        if not self._runs:
            return found
        most = max(map(_loaded, self._runs))
        run = [run for run in self._runs if _loaded(run) == most][-1]
        found.starts = 1
        found.settings |= run["settings"]
        for device, size in run["model"].items():
            found.values.setdefault("cpu_weights" if is_host(device) else "weights", []).append(size)
        for (kind, device), size in run["context"].items():
            part = {"KV": "kv_pool", "compute": "activations"}.get(kind)
            if part:
                found.values.setdefault(f"cpu_{part}" if is_host(device) else part, []).append(size)
        gpus = [device for device in run["model"] if not is_host(device)]
        found.settings["cards"] = len(gpus)
        total = run["context"].get(("self", ""))
        if total is not None and not any(name.endswith("kv_pool") for name in found.values):
            found.values["kv_pool" if gpus else "cpu_kv_pool"] = [total]
        for part in ("weights", "cpu_weights", "kv_pool", "cpu_kv_pool"):
            if part in found.values:
                found.values[part] = [sum(found.values[part])]
        return found


def _new_run() -> dict[str, Any]:
    return {"model": {}, "context": {}, "settings": {}}


def _loaded(run: dict[str, Any]) -> int:
    return sum(run["model"].values())
