"""Published runs (tests/memory/cases) as the log that the emitted command's run would have written: the figures are the
published ones, the settings those of the command that `fit --emit` prints for the same model, GPU and settings.

The wording of the lines is the engines' own (tests/logs/excerpts.py).
"""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import inspector
from inspector.devices.spec import parse_gpu
from inspector.errors import InspectError, UsageError

CASES = Path(__file__).parents[1] / "memory" / "cases"
EMITS = {"vllm": "vllm", "sglang": "sglang", "llama.cpp": "llama-server"}

OTHER_WEIGHTS = ("4-bit", "Unsloth", "ollama", "ik_llama", "mla)")
"""In a case's model or version: a fork, or weights that are not those of the repo that is named."""


@dataclass(frozen=True)
class Published:
    """A published run that can be replayed.

    Attributes:
        case: its facts, as the file has them.
        gpu: what `--gpu` takes.
    """

    case: Mapping[str, Any]
    gpu: str

    @property
    def id(self) -> str:
        return str(self.case["id"])

    @property
    def engine(self) -> str:
        return str(self.case["engine"])

    @property
    def model(self) -> str:
        return str(self.case["model_id"]).split(" ")[0]

    @property
    def version(self) -> str:
        """The number alone of "0.11.0 (as the recipe says)"; with V0, where the case says so."""
        text = str(self.case["engine_version"])
        found = re.search(r"\d+\.\d+(\.\d+)*", text)
        number = found[0] if found else ""
        return f"{number} (V0)" if number and "V0" in text else number

    def fit(self) -> list[str]:
        """The arguments of `fit` for the same run."""
        case, given = self.case, self.case["settings"]
        ranks, stages = case["tp"] or 1, case["pp"] or 1
        count = f"{ranks * stages}x" if ranks * stages > 1 else ""
        arguments = ["fit", self.model, "--engine", self.engine, "--gpu", f"{count}{self.gpu}", "--offline"]
        if self.engine != "llama.cpp" and self.version:
            arguments += ["--engine-version", self.version]
        if stages > 1:
            arguments += ["--tp", str(ranks), "--pp", str(stages)]
        if case["dtype"] == "float32":
            arguments += ["--dtype", "fp32"]
        names = {
            "max_model_len": "--context",
            "gpu_memory_utilization": "--gpu-memory-utilization",
            "mem_fraction_static": "--mem-fraction-static",
            "max_num_batched_tokens": "--max-num-batched-tokens",
            "max_num_seqs": "--max-num-seqs",
            "cache_type": "--kv-dtype",
            "n_ubatch": "--n-ubatch",
            "cache_type_k": "--cache-type-k",
            "cache_type_v": "--cache-type-v",
            "n_parallel": "--batch",
        }
        if "n_ctx" in given:  # of all sequences
            arguments += ["--context", str(given["n_ctx"] // given.get("n_parallel", 1))]
        for name, option in names.items():
            if type(given.get(name)) in (int, float) or (name.startswith("cache_type_") and name in given):
                arguments += [option, str(given[name])]
        if given.get("kv_cache_dtype", "auto") != "auto":
            arguments += ["--kv-dtype", "fp8"]
        return arguments + (["--enforce-eager"] if given.get("enforce_eager") else [])

    def log(self, command: str) -> str:
        """What the run of an emitted command wrote, with the published figures."""
        return "\n".join(LOGS[self.engine](self, _flags(command))) + "\n"


def published() -> tuple[list[Published], dict[str, str]]:
    """The cases that can be replayed; of the others why not, by their IDs."""
    runs, left_out = [], {}
    for file in sorted(CASES.glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            case = json.loads(line)
            found = _replayed(case)
            if isinstance(found, str):
                left_out[case["id"]] = found
            else:
                runs.append(found)
    return runs, left_out


def _replayed(case: Mapping[str, Any]) -> Published | str:
    said = f"{case['model_id']} {case['engine_version']}"
    if any(word in said for word in OTHER_WEIGHTS):
        return "a fork, or weights that the repo does not have"
    try:
        inspector.inspect(case["model_id"].split(" ")[0], offline=True)
    except InspectError:
        return "no bundled snapshot"
    if case.get("suspect"):
        return "its figures do not add up at the share that it states"
    if case["engine"] == "llama.cpp":
        return Published(case, "192GiB")  # what the cache takes does not hang on the GPU
    if case["settings"].get("gpu_memory_utilization", case["settings"].get("mem_fraction_static")) is None:
        return "its share of the GPU is not known"
    try:
        return Published(case, parse_gpu(case["gpu"] or "").name)
    except UsageError:
        size = case["gpu_mem_gib"]
        return "its GPU is not known" if size is None else Published(case, f"{size}GiB")


def _flags(command: str) -> dict[str, Any]:
    """The options of a command by their Python names, with their values."""
    words = shlex.split(command)
    found: dict[str, Any] = {}
    for name, value in zip(words, [*words[1:], "--"], strict=True):
        if name.startswith("--"):
            found[name[2:].replace("-", "_")] = True if value.startswith("--") else _value(value)
    return found


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def _vllm(run: Published, given: Mapping[str, Any]) -> Iterator[str]:
    measured, case = run.case["measured"], run.case
    version, _, v0 = run.version.partition(" ")
    told = {"model": run.model, **given}
    settings = {"tensor_parallel_size": 1, "pipeline_parallel_size": 1, "kv_cache_dtype": "auto", **told}
    shown = ", ".join(f"{name}={value!r}" for name, value in settings.items() if name != "dtype")
    if version:
        yield f"INFO 12-01 19:48:00 [api_server.py:1977] vLLM API server version {version}"
    yield f"INFO 12-01 19:48:00 [utils.py:253] non-default args: {told}"
    engine = f"Initializing a {'V0' if v0 else 'V1'} LLM engine with config"
    yield f"INFO 12-01 19:48:01 [core.py:93] {engine}: {shown}, dtype=torch.{given.get('dtype', case['dtype'])}"
    if (tokens := given.get("max_num_batched_tokens")) is not None:
        yield f"INFO 12-01 19:48:01 Chunked prefill is enabled with max_num_batched_tokens={tokens}."
    if case["gpu_mem_gib"] is not None:
        share = given.get("gpu_memory_utilization", case["settings"]["gpu_memory_utilization"])
        budget = f"total_gpu_memory ({case['gpu_mem_gib']:.2f}GiB) x gpu_memory_utilization ({share:.4f})"
        yield f"INFO the current vLLM instance can use {budget}"
    if "weights_gib" in measured:
        yield f"INFO 12-01 19:48:40 Model loading took {measured['weights_gib']} GiB memory and 3.24 seconds"
    if "kv_cache_gib" in measured:
        yield f"INFO Available KV cache memory: {measured['kv_cache_gib']} GiB"
    if "kv_tokens" in measured:
        yield f"INFO [kv_cache_utils.py:1291] GPU KV cache size: {measured['kv_tokens']:,} tokens"
    elif "kv_blocks" in measured:
        yield f"INFO # GPU blocks: {measured['kv_blocks']}, # CPU blocks: 2048"
    if "max_concurrency_x" in measured:
        request = f"{given['max_model_len']:,} tokens per request"
        yield f"INFO Maximum concurrency for {request}: {measured['max_concurrency_x']}x"


def _sglang(run: Published, given: Mapping[str, Any]) -> Iterator[str]:
    measured = run.case["measured"]
    settings = {
        "model_path": run.model,
        "context_length": given.get("context_length"),
        "tp_size": given.get("tensor_parallel_size", 1),
        "mem_fraction_static": given.get("mem_fraction_static"),
        "kv_cache_dtype": given.get("kv_cache_dtype", "auto"),
    }
    told = ", ".join(f"{name}={value!r}" for name, value in settings.items())
    yield f"[2025-11-30 12:49:40] sglang version: {run.version}"
    yield f"[2025-11-30 12:49:50] server_args=ServerArgs({told})"
    if (before := measured.get("avail_before_weights_gib")) is not None:
        yield f"[2025-11-30 12:50:00 TP0] Load weight begin. avail mem={before:.2f} GB"
    if (weights := measured.get("weights_gib")) is not None:
        left = measured.get("avail_after_weights_gib", 0)
        yield f"[2025-11-30 12:50:10 TP0] Load weight end. avail mem={left:.2f} GB, mem usage={weights:.2f} GB."
    tokens, half = measured["kv_tokens"], f"{measured['kv_cache_gib'] / 2:.3f} GB"
    yield f"[2025-11-30 12:50:10 TP0] KV Cache is allocated. #tokens: {tokens}, K size: {half}, V size: {half}"
    yield f"[2025-11-30 12:50:15 TP0] max_total_num_tokens={tokens}, context_len={settings['context_length']}"


def _llama_cpp(run: Published, given: Mapping[str, Any]) -> Iterator[str]:
    layers, sequences, cells = given["n_gpu_layers"], given["parallel"], given["ctx_size"]
    size, ubatch = f"{run.case['measured']['kv_cache_mib']:.2f} MiB", given.get("ubatch_size", 512)
    yield "llama_model_loader: loaded meta data with 20 key-value pairs and 21 tensors from m.gguf"
    yield f"load_tensors: offloaded {layers}/{layers} layers to GPU"
    yield "load_tensors:        CUDA0 model buffer size =  1.00 MiB"  # no case has it: not compared
    for name, value in (("n_ctx", cells), ("n_seq_max", sequences), ("n_ubatch", ubatch)):
        yield f"llama_context: {name} = {value}"
    yield f"llama_kv_cache:      CUDA0 KV buffer size =  {size}"
    types = f"K ({given.get('cache_type_k', 'f16')}): 1.00 MiB, V ({given.get('cache_type_v', 'f16')}): 1.00 MiB"
    seqs = f"{sequences}/{sequences} seqs"
    yield f"llama_kv_cache: size = {size} ( {cells} cells,  {layers - 1} layers, {seqs}), {types}"


LOGS = {"vllm": _vllm, "sglang": _sglang, "llama.cpp": _llama_cpp}
"""The lines of each engine's log."""
