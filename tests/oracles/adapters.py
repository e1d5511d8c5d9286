"""vLLM's buffers for adapters by its own LoRA manager, beside those that are told: bundled models, one rank and two.

    python -m tests.oracles.adapters configs CONFIGS
    ORACLE/bin/python tests/oracles/vllm/lora.py CONFIGS OUT.jsonl
    python -m tests.oracles.adapters compare OUT.jsonl --write

`--write` keeps what the manager made in tests/engines/data/vllm_lora.json, too, which `make test` compares with.
"""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "tests" / "engines" / "data" / "vllm_lora.json"
LORAS, RANK = 2, 16
"""As tests/oracles/vllm/lora.py has them."""


def write_configs(folder: Path) -> None:
    """Each bundled model's config.json, and a file of one tensor."""
    from inspector.hub.cache.snapshot import loads

    header = json.dumps({"a": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    for path in sorted((ROOT / "fixtures" / "snapshots").glob("*--*.json")):
        place = folder / path.stem
        place.mkdir(parents=True, exist_ok=True)
        place.joinpath("config.json").write_text(json.dumps(loads(path.read_bytes()).config), "utf-8")
        place.joinpath("model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0\0")


def told(name: str, tensor_parallel: int) -> int | str:
    """The bytes that are told; why there are none."""
    import inspector

    gpu = "H200" if tensor_parallel == 1 else f"{tensor_parallel}xH200"
    asked = {"max_loras": LORAS, "max_lora_rank": RANK}
    try:
        found = inspector.inspect(name, offline=True, gpus=gpu, engine="vllm", context=512, serving=asked)
    except inspector.InspectError as error:
        return error.message
    shares = [share for part in found.servings[0].explanation() for share in part.parts if share.name == "adapters"]
    return next((share.bytes or 0 for share in shares), found.servings[0].notes[0])


def compare(out: Path, *, write: bool) -> int:
    """Print, and keep, how many are equal."""
    import transformers

    from tests.oracles.table import keep

    rows: dict[str, Any] = {"built": 0, "equal": 0, "differs": {}, "not_told": {}}
    kept = {}
    for line in map(json.loads, out.read_text("utf-8").splitlines()):
        if "bytes" not in line:
            continue
        name, ranks = line["id"].replace("--", "/", 1), line["tensor_parallel"]
        size = told(name, ranks)
        rows["built"] += 1
        rows["equal"] += size == line["bytes"]
        if isinstance(size, str):
            rows["not_told"][name] = size
        elif size != line["bytes"]:
            rows["differs"][f"{name}, {ranks}"] = f"{size:,}, not {line['bytes']:,}"
        else:
            kept[f"{name} {ranks}"] = size
    print(json.dumps(rows, indent=1))
    if write:
        keep("adapters", {"command": "make oracle-launch", "transformers": transformers.__version__} | rows)
        KEPT.write_text(json.dumps(kept, indent=0) + "\n", "utf-8")
    return 1 if rows["differs"] else 0


if __name__ == "__main__":
    if sys.argv[1] == "configs":
        write_configs(Path(sys.argv[2]))
    else:
        sys.exit(compare(Path(sys.argv[2]), write="--write" in sys.argv))
