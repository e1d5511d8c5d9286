"""What `fit --emit` writes, read by each engine's own argument parser: nothing is refused, every setting arrives.

    python -m tests.oracles.launch samples SAMPLES.jsonl
    ENGINE/bin/python tests/oracles/launch_parsers.py vllm SAMPLES.jsonl vllm.json     (a line an engine)
    python -m tests.oracles.launch compare SAMPLES.jsonl vllm.json sglang.json ... --write

A sample is a model on some devices with random settings of the engine that fit. A setting that the command does not
name has to be the parser's own default, or one that the engine works out by itself (None, "auto", -1).
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path
from typing import Any

SEED = 13
EACH = 60
"""Samples of an engine."""

MODELS = (
    "Qwen/Qwen3-8B",
    "Qwen/Qwen3-32B",
    "Qwen/Qwen3-30B-A3B",
    "meta-llama/Llama-3.1-8B-Instruct",
    "meta-llama/Meta-Llama-3-70B",
    "google/gemma-3-4b-it",
    "openai/gpt-oss-20b",
    "openai-community/gpt2",
)
CONTEXTS = (1024, 4096, 32768)

CHOICES: dict[str, dict[str, tuple[Any, ...]]] = {
    "vllm": {
        "gpu": ("RTX 4090", "H100", "2xH100", "8xH100", "MI300X"),
        "dtype": ("stored", "stored", "fp16", "fp8", "int8", "awq"),
        "kv_dtype": (None, "fp8"),
        "images": (None, 0, 2),
        "pipeline_parallel": (None, 2),
        "data_parallel": (None, 2),
        "expert_parallel": (None, 2, 8),
        "gpu_memory_utilization": (None, 0.9, 0.95),
        "max_num_batched_tokens": (None, 4096, 8192),
        "max_num_seqs": (None, 32, 1024),
        "enforce_eager": (False, True),
        "max_loras": (None, None, 4),
        "max_lora_rank": (None, None, 64),
    },
    "sglang": {
        "gpu": ("RTX 4090", "H100", "2xH100", "8xH100"),
        "dtype": ("stored", "stored", "fp16", "fp8", "nf4-dq", "awq"),
        "kv_dtype": (None, "fp8"),
        "pipeline_parallel": (None, 2),
        "expert_parallel": (None, 2, 8),
        "mem_fraction_static": (None, 0.8, 0.9),
    },
    "llama-server": {
        "gpu": ("RTX 4090", "2xRTX 4090", "RTX 4090 + RTX 3060 12GB", "M3 Max 64GB"),
        "dtype": ("Q4_K_M", "Q8_0", "bf16"),
        "batch": (1, 4),
        "n_gpu_layers": (None, 8),
        "n_ubatch": (None, 256, 4096),
        "cache_type_k": (None, "q8_0", "q4_0"),
        "cache_type_v": (None, "q8_0"),
    },
    "mlx": {
        "gpu": ("M1 16GB", "M3 Max 64GB", "M3 Ultra 512GB"),
        "dtype": ("stored", "int4", "int8", "mxfp4"),
        "batch": (1, 4, 64),
        "prefill_step_size": (None, 512),
        "kv_bits": (None, 4, 8),
        "kv_group_size": (None, 32),
        "quantized_kv_start": (None, 0),
    },
}

DESTINATIONS = {
    "sglang": {
        "max_model_len": "context_length",
        "tensor_parallel_size": "tp_size",
        "pipeline_parallel_size": "pp_size",
        "expert_parallel_size": "ep_size",
    },
}
"""An account's settings -> what the parser calls them, where that differs."""

NOT_ARGUMENTS = {"llama-server": ("flash_attn", "tensor_split"), "mlx": ("context", "batch", "tensor_parallel_size")}
"""Settings that the parser's result does not show, or that the server has no option for."""

LEFT_TO_THE_ENGINE = (None, "auto", -1)

ACCEPTANCE = {"emit": "vllm", "model": "Qwen/Qwen3-32B", "gpu": "RTX 4090", "dtype": "awq"}


def drawn(emit: str, chance: random.Random) -> dict[str, Any]:
    """Random settings of a launch."""
    asked = {name: chance.choice(values) for name, values in CHOICES[emit].items()}
    asked |= {"emit": emit, "model": chance.choice(MODELS), "context": chance.choice(CONTEXTS)}
    return {name: value for name, value in asked.items() if value is not None}


def launched(asked: dict[str, Any]) -> dict[str, Any] | None:
    """A sample's command and settings; None where it does not fit or the engine refuses it."""
    import inspector
    from inspector.api.launching import implied_engine
    from inspector.engines.registry import engine_named
    from inspector.settings import settings_of

    engine = implied_engine(asked["emit"], None)
    own = settings_of(engine_named(engine).options)
    common = {name: value for name, value in asked.items() if name not in (*own, "emit", "gpu", "model")}
    common |= {"engine": engine, "serving": {name: value for name, value in asked.items() if name in own}}
    try:
        launch = inspector.launch(asked["model"], asked["gpu"], asked["emit"], offline=True, **common)
        if launch is None:
            return None
        serving = inspector.inspect(asked["model"], gpus=asked["gpu"], offline=True, **common).servings[0]
    except inspector.InspectError:
        return None
    return {"emit": asked["emit"], "asked": asked, "command": launch.command, "settings": serving.settings}


def samples(out: Path) -> None:
    """Write `EACH` samples of each engine that fit, and the one of issue 13."""
    chance, found = random.Random(SEED), [launched(ACCEPTANCE)]
    for emit in CHOICES:
        kept = 0
        while kept < EACH:
            sample = launched(drawn(emit, chance))
            if sample is not None:
                found.append(sample)
                kept += 1
    lines = [json.dumps({"id": str(number)} | sample) for number, sample in enumerate(found) if sample]
    out.write_text("".join(f"{line}\n" for line in lines), "utf-8")


def differences(sample: dict[str, Any], read: dict[str, Any]) -> str:
    """What did not arrive as the account has it; "" for nothing."""
    emit = sample["emit"]
    if "error" in read:
        return f"refused: {read['error']}"
    wrong = []
    for name, value in sample["settings"].items():
        if name in NOT_ARGUMENTS.get(emit, ()):
            continue
        where = DESTINATIONS.get(emit, {}).get(name, name)
        told = f"--{where.replace('_', '-')}" in sample["command"] or f"--{name.replace('_', '-')}" in sample["command"]
        got = read.get(where, "missing")
        wanted = int(str(value).partition("/")[0]) if name == "n_gpu_layers" else value
        if got != wanted and (told or got not in LEFT_TO_THE_ENGINE):
            wrong.append(f"{where} {got!r}, not {wanted!r}")
    return ", ".join(wrong)


def given(command: list[str]) -> dict[str, bool]:
    """A command's options -> whether a value follows."""
    at = [place for place, each in enumerate(command) if each.startswith("--")]
    return {command[place]: place + 1 < len(command) and place + 1 not in at for place in at}


def compare(samples_file: Path, results: list[Path], *, write: bool, options: Path | None) -> int:
    """Print, and keep, what the parsers read otherwise than the accounts have it."""
    import transformers

    from tests.oracles.table import keep

    wanted = {sample["id"]: sample for sample in map(json.loads, samples_file.read_text("utf-8").splitlines())}
    rows: dict[str, Any] = {}
    differing: dict[str, str] = {}
    facts: dict[str, Any] = {}
    for path in results:
        found, emit = json.loads(path.read_text("utf-8")), path.stem
        rows |= {f"{emit}_commands": len(found["read"]), f"{emit}_read": 0}
        for number, read in found["read"].items():
            wrong = differences(wanted[number], read)
            rows[f"{emit}_read"] += not wrong
            if wrong:
                differing[" ".join(wanted[number]["command"])] = wrong
        taken = [wanted[number]["command"] for number, read in found["read"].items() if "error" not in read]
        known = found["options"] or {name: value for command in taken for name, value in given(command).items()}
        facts[emit] = {
            "version": found["version"],
            "with_value": sorted(name for name, value in known.items() if value and name.startswith("--")),
            "alone": sorted(name for name, value in known.items() if not value and name.startswith("--")),
        }
    rows["differs"] = differing
    print(json.dumps(rows, indent=1))
    if write:
        keep("launch", {"command": "make oracle-launch", "transformers": transformers.__version__} | rows)
    if options is not None:
        options.write_text(json.dumps(facts, separators=(",", ":")) + "\n", "utf-8")
    return 1 if differing else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", choices=("samples", "compare"))
    parser.add_argument("samples", type=Path)
    parser.add_argument("results", type=Path, nargs="*")
    parser.add_argument("--write", action="store_true", help="keep the findings in docs/oracles/")
    parser.add_argument("--options", type=Path, help="write the parsers' options there")
    asked = parser.parse_args()
    if asked.what == "samples":
        samples(asked.samples)
        return 0
    return compare(asked.samples, asked.results, write=asked.write, options=asked.options)


if __name__ == "__main__":
    sys.exit(main())
