"""vLLM's start-up log, from version 0.5 on: its lines, whatever stands before them on each.

The messages are those of vllm/v1/worker/gpu_worker.py and gpu_model_runner.py, v1/core/kv_cache_utils.py and
v1/engine/core.py, of V0's worker/worker.py, model_runner.py and executor_base.py, and of
entrypoints/openai/api_server.py; GB in them are GiB.
"""

from __future__ import annotations

import re

from inspector.engines.common.log import Collection, count, gib, number, plain

TRIGGERS = (
    " took ",
    "KV cache size",
    "KV cache memory",
    "for KV Cache",
    "kv_cache",
    "Maximum concurrency",
    "blocks:",
    "_memory",
    "peak memory",
    "gpu-memory-utilization",
    "graph memory",
    "Free memory",
    "GPU memory",
    "Actual usage",
    "weights take",
    "LLM engine",
    "version ",
    "args: ",
    "max_num_batched_tokens=",
    "max model len",
    "device_name=",
    "GPU 0: ",
)
"""One of these is in every line that matters."""

_SETTINGS = (
    "model",
    "max_model_len",
    "max_seq_len",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "data_parallel_size",
    "enable_expert_parallel",
    "dtype",
    "quantization",
    "kv_cache_dtype",
    "gpu_memory_utilization",
    "max_num_batched_tokens",
    "max_num_seqs",
    "enforce_eager",
    "block_size",
    "cpu_offload_gb",
    "kv_cache_memory_bytes",
    "speculative_config",
    "enable_lora",
    "max_loras",
    "max_lora_rank",
    "enable_prefix_caching",
    "decode_context_parallel_size",
    "language_model_only",
    "mm_encoder_tp_mode",
    "mamba_ssm_cache_dtype",
)
_NAMES = "|".join(sorted(_SETTINGS, key=len, reverse=True))
_KEYWORD = re.compile(rf"(?<![\w'.])({_NAMES})=('[^']{{0,500}}'|\"[^\"]{{0,500}}\"|[^,\s)]{{1,200}})")
_ITEM = re.compile(rf"'({_NAMES})': ('[^']{{0,500}}'|[^,}}\s]{{1,200}})")

_DRAFT = re.compile(
    r"speculative_config=SpeculativeConfig\(([^()]{1,1000})\)|'speculative_config': \{([^{}]{1,1000})\}"
)
_DRAFT_ITEM = re.compile(r"\b(method|model)'?[=:] ?'([^']{1,500})'")
_DRAFTS = ("draft_model", "eagle", "eagle3", "mtp")
"""Methods with weights that a plan here has (vllm/config/speculative.py: SpeculativeMethod)."""

_SIZES = tuple(
    (part, re.compile(pattern))
    for part, pattern in (
        ("weights", r"(?:Model loading|Loading model weights) took (-?[\d.]+) Gi?B"),
        ("weights_profiled", r"model weights take\s+([\d.]+)\s*GiB"),
        ("non_torch", r"non_torch_memory(?: takes)?\s+([\d.]+)\s*GiB"),
        ("activations", r"PyTorch activation peak memory(?: takes)?\s+([\d.]+)\s*GiB"),
        ("kv_pool", r"reserved for KV Cache is\s+(-?[\d.]+)\s*GiB"),
        ("kv_pool", r"available_kv_cache_memory\s+(-?[\d.]+)\s*GiB"),
        ("kv_pool", r"Available KV cache memory: (-?[\d.]+) GiB"),
        ("graphs", r"Graph capturing finished in [\d.]+ secs?, took (-?[\d.]+) GiB"),
        ("graphs_estimated", r"Estimated CUDA graph memory: (-?[\d.]+) GiB"),
    )
)
_USAGE = re.compile(
    r"Actual usage is ([\d.]+) GiB for (?:weights?|consumption)[^,]{0,40}, ([\d.]+) GiB for peak activation, "
    r"([\d.]+) GiB for non-torch memory(?:, and (-?[\d.]+) GiB for CUDAGraph)?"
)
_TOKENS = re.compile(r"GPU KV cache size: ([\d,]{1,20}) tokens")
_CONCURRENCY = re.compile(r"Maximum concurrency for ([\d,]{1,20}) tokens per request: ([\d.,]{1,20})x")
_BLOCKS = re.compile(r"# (?:GPU|CUDA|cuda|gpu) blocks: (\d{1,15})")
_BUDGET = re.compile(r"total_gpu_memory \(([\d.]+)GiB\) x gpu_memory_utilization \(([\d.]+)\)")
_TOTAL = re.compile(r"total_gpu_memory\s+([\d.]+)GiB")
_SHARE = re.compile(r"(?<![\w.=-])gpu_memory_utilization\s+(0?\.\d+|1\.0+)\b")
_FREE = re.compile(r"Free memory on device (?:\S{1,20} )?\((-?[\d.]+)/([\d.]+) GiB\)")
_DESIRED = re.compile(r"[Dd]esired GPU memory utilization (?:is )?\((0?\.\d+|1\.0+), ")
_EQUIVALENT = re.compile(r"--gpu-memory-utilization[= ](?:from )?(0\.\d+|1\.0+) (?:to|is equivalent)")
_VERSION = re.compile(
    r"(?:vLLM API server version|LLM engine \(v?|[\u2580-\u259f].{0,60}\bversion)\s*v?(\d+\.\d+[\w.+-]{0,40})"
)
_ENGINE = re.compile(r"Initializing an? (?:(V[01]) )?LLM engine")
_MAX_LEN = re.compile(r"Using max model len (\d{1,12})")
_DEVICE = re.compile(
    r"device_name=([A-Za-z0-9_.-]{3,60}?)(?:\.json|,|\s)|\bGPU \d+: ([A-Za-z][\w .-]{2,60}?)(?: \(UUID|\s*$)"
)

_V0 = ("non_torch_memory", "PyTorch activation peak memory")
"""What V0's profile alone prints (worker/worker.py)."""

_CONFIG_LINES = 3
"""Lines after "with config:" that may go on with it, where a terminal or an issue broke it."""


class VllmLog:
    """Reads line after line; `result` is what they said."""

    def __init__(self) -> None:
        self.found = Collection("vllm")
        self._config = 0

    def feed(self, line: str) -> None:
        """Take what one line says."""
        if self._config:
            self._config = 0 if "INFO" in line or "WARNING" in line else self._config - 1
            if self._config:
                self._settings(line)
        if not any(trigger in line for trigger in TRIGGERS):
            return
        self._start(line)
        if "args: " in line or "max_num_batched_tokens=" in line:
            self._settings(line)
        self._sizes(line)
        self._budget(line)
        if match := _DEVICE.search(line):
            self.found.gpu = self.found.gpu or (match[1] or match[2]).replace("_", " ")

    def _start(self, line: str) -> None:
        found = self.found
        begins = "vLLM API server version" in line or ("LLM engine" in line and _ENGINE.search(line) is not None)
        served = "kv_tokens" in found.values or "kv_blocks" in found.values
        if begins and (served or not found.starts):
            found.starts += 1
            if found.starts > 1:
                found.forget()
        if match := _VERSION.search(line):
            found.version = match[1].rstrip(".,)")
        if match := _ENGINE.search(line):
            if match[1]:
                found.settings["v1"] = match[1] == "V1"
            if "with config" in line:
                self._config = _CONFIG_LINES + 1
                self._settings(line)
        if match := _MAX_LEN.search(line):
            found.settings["max_model_len"] = int(match[1])

    def _settings(self, line: str) -> None:
        line = _DRAFT.sub(self._draft, line)
        for pattern in (_KEYWORD, _ITEM):
            for match in pattern.finditer(line):
                name, value = match[1], plain(match[2])
                name = "max_model_len" if name == "max_seq_len" else name
                if value is not None and value != "":
                    self.found.settings[name] = value

    def _draft(self, match: re.Match[str]) -> str:
        """Takes what drafts; what then stands for it in the line, whose other settings have the same names."""
        told = dict(_DRAFT_ITEM.findall(match[1] or match[2]))
        method = told.get("method", "draft_model")
        method = "mtp" if method.endswith("mtp") else method
        if method in _DRAFTS:
            self.found.settings["draft"] = method if method == "mtp" else told.get("model")
        return f"speculative_config='{method}'"

    def _sizes(self, line: str) -> None:
        found = self.found
        for part, pattern in _SIZES:
            if match := pattern.search(line):
                found.put(part, gib(match[1]))
        if any(word in line for word in _V0):
            found.settings.setdefault("v1", False)
        if match := _USAGE.search(line):
            for part, text in zip(("weights_profiled", "activations", "non_torch"), match.groups(), strict=False):
                found.put(part, gib(text))
        if match := _TOKENS.search(line):
            found.put("kv_tokens", count(match[1]))
        if match := _CONCURRENCY.search(line):
            found.put("max_concurrency", number(match[2]))
            found.settings["max_model_len"] = count(match[1])
        if match := _BLOCKS.search(line):
            found.put("kv_blocks", int(match[1]))

    def _budget(self, line: str) -> None:
        found = self.found
        if match := _BUDGET.search(line):
            found.gpu_memory, found.settings["gpu_memory_utilization"] = gib(match[1]), number(match[2])
        elif match := _TOTAL.search(line):
            found.gpu_memory = gib(match[1])
        elif match := _SHARE.search(line):
            found.settings["gpu_memory_utilization"] = number(match[1])
        if match := _FREE.search(line):
            found.gpu_memory = gib(match[2])
            found.settings["free_at_start"] = gib(match[1])
        for pattern in (_DESIRED, _EQUIVALENT):
            if match := pattern.search(line):
                found.settings["gpu_memory_utilization"] = number(match[1])

    def finish(self) -> Collection:
        """What was found; a part printed twice, finer and coarser, once."""
        values = self.found.values
        profiled = values.pop("weights_profiled", None)
        if profiled and "weights" not in values:
            values["weights"] = profiled
        estimated = values.pop("graphs_estimated", None)
        if estimated and "graphs" not in values:
            values["graphs"] = estimated
        return self.found
