"""SGLang's start-up log, from version 0.2 on: its lines, whatever stands before them on each.

The messages are those of sglang/srt/model_executor/model_runner.py, mem_cache/memory_pool.py, managers/scheduler.py and
entrypoints; GB in them are GiB.
"""

from __future__ import annotations

import re

from inspector.engines.common.log import Collection, count, gib, plain

TRIGGERS = ("mem usage", "avail mem", "allocated", "server_args=", "max_total_num_tokens=", "device_name=", "sglang")

_SETTINGS = (
    "model_path",
    "context_length",
    "tp_size",
    "pp_size",
    "dp_size",
    "ep_size",
    "mem_fraction_static",
    "chunked_prefill_size",
    "cuda_graph_max_bs",
    "kv_cache_dtype",
    "page_size",
    "quantization",
    "dtype",
    "disable_cuda_graph",
    "max_running_requests",
    "max_total_tokens",
    "cpu_offload_gb",
    "speculative_algorithm",
    "context_len",
    "enable_dp_attention",
    "disable_radix_cache",
    "mamba_full_memory_ratio",
    "max_mamba_cache_size",
    "mamba_ssm_dtype",
    "mamba_radix_cache_strategy",
    "swa_full_tokens_ratio",
)
_NAMES = "|".join(sorted(_SETTINGS, key=len, reverse=True))
_KEYWORD = re.compile(rf"(?<![\w'.])({_NAMES})=('[^']{{0,500}}'|\"[^\"]{{0,500}}\"|[^,\s)]{{1,200}})")

_RANK = re.compile(r"((?: (?:DP|TP|PP|EP|ATTN_TP|MOE_EP)\d+)+)\]")
_BEGIN = re.compile(r"Load weight begin\. avail mem=(-?[\d.]+) GB")
_END = re.compile(r"Load weight end\..{0,300}?avail mem=(-?[\d.]+) GB(?:, mem usage=(-?[\d.]+) GB)?")
_CACHE = re.compile(
    r"KV Cache is allocated\.(?:.{0,80}?#tokens: (\d{1,15}))?.{0,40}?"
    r"(?:K size: ([\d.]+) GB, V size: ([\d.]+) GB|KV size: ([\d.]+) GB)"
)
_STATES = re.compile(
    r"Mamba Cache is allocated\..{0,120}?conv_state size: ([\d.]+) ?GB.{0,40}?ssm_state size: ([\d.]+) ?GB"
)
_GRAPHS = re.compile(r"Capture (?:cuda|npu|decode cuda) graph end\..{0,120}?mem usage=(-?[\d.]+) GB")
_TOTAL = re.compile(r"max_total_num_tokens=(\d{1,15})")
_VERSION = re.compile(r"\bsglang(?:==| version:? |\s+v)v?(\d+\.\d+[\w.+-]{0,30})", re.IGNORECASE)
_DEVICE = re.compile(r"device_name=([A-Za-z0-9_.-]{3,60}?)(?:\.json|,|\s)")


class SglangLog:
    """Reads line after line; `finish` is what they said."""

    def __init__(self) -> None:
        self.found = Collection("sglang")
        self._begin: dict[str, int] = {}
        self._pools: dict[str, int] = {}

    def feed(self, line: str) -> None:
        """Take what one line says."""
        if not any(trigger in line for trigger in TRIGGERS):
            return
        found = self.found
        if "server_args=" in line:
            if found.values or not found.starts:
                found.starts += 1
                if found.starts > 1:
                    found.forget()
                    self._begin, self._pools = {}, {}
            self._settings(line)
        match = _RANK.search(line)
        rank = match[1].strip() if match else ""
        self._weights(line, rank)
        self._cache(line, rank)
        if match := _GRAPHS.search(line):
            found.put("graphs", gib(match[1]))
        if match := _VERSION.search(line):
            found.version = found.version or match[1].rstrip(".,)")
        if match := _DEVICE.search(line):
            found.gpu = found.gpu or match[1].replace("_", " ")

    def _settings(self, line: str) -> None:
        for match in _KEYWORD.finditer(line):
            value = plain(match[2])
            if value is not None and value != "":
                self.found.settings[match[1]] = value

    def _weights(self, line: str, rank: str) -> None:
        if match := _BEGIN.search(line):
            self._begin[rank] = gib(match[1])
            self.found.put("free_before", gib(match[1]))
        if match := _END.search(line):
            before = self._begin.get(rank)
            if match[2] is not None:
                self.found.put("weights", gib(match[2]))
            elif before is not None:
                self.found.put("weights", before - gib(match[1]))

    def _cache(self, line: str, rank: str) -> None:
        found = self.found
        if match := _CACHE.search(line):
            size = sum(gib(text) for text in match.groups()[1:] if text)
            self._pools[rank] = self._pools.get(rank, 0) + size
            if match[1]:
                found.put("cache_slots", int(match[1]))
        if match := _STATES.search(line):
            self._pools[rank] = self._pools.get(rank, 0) + gib(match[1]) + gib(match[2])
        if "max_total_num_tokens=" in line and (match := _TOTAL.search(line)):
            found.put("kv_tokens", count(match[1]))
            self._settings(line)

    def finish(self) -> Collection:
        """What was found: a rank's pools together, and the slots of the cache where no total was printed."""
        values = self.found.values
        if self._pools:
            values["kv_pool"] = list(self._pools.values())
        slots = values.pop("cache_slots", None)
        if slots and "kv_tokens" not in values:
            values["kv_tokens"] = slots
        free = values.pop("free_before", None)
        if free:
            self.found.settings["free_before"] = min(free)
        return self.found
