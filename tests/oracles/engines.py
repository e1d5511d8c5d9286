"""What the product says of an engine's cache, beside that engine's own code: `make oracle-engines`.

    python -m tests.oracles.engines LINES.jsonl [--write]

LINES come from tests/oracles/vllm/facts.py, which runs vLLM's registry, ModelConfig, model classes and KV cache planner
on a config of every model type. Compared are: loaded or not, precision, bytes of one request, and the maximum length.
A config that vLLM could not build for its own sake (a processor that is not there, a default config that its class
misses keys of) is left out and counted.
"""

from __future__ import annotations

import argparse
import datetime
import json
import struct
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import inspector
from inspector.devices.spec import parse_gpu
from inspector.engines.registry import engine_named
from inspector.engines.serving import Serving
from inspector.memory import Workload
from inspector.model import Model
from tests.oracles.table import FOLDER, render

BACKEND = ("does not dispatch", "not found in the forward", "more than one module")
"""How vLLM's backend for transformers refuses a class as it builds it."""

ABSENT = ("processor", "extractor")
GPU = "H200"


def outcome(line: dict[str, Any]) -> str:
    """What vLLM did: "loaded", "refused" or "left out"."""
    said = f"{line.get('error', '')} {line.get('spec_error', '')}"
    if any(word in said for word in BACKEND):
        return "refused"
    if "crash" in line or any(word in said for word in ABSENT):
        return "left out"
    if not line.get("supported"):
        return "refused" if "not supported" in said else "left out"
    return "loaded" if "request_need" in line or line.get("specs") == [] else "left out"


def asked(line: dict[str, Any], folder: Path) -> tuple[Model, Serving]:
    """The product's answer for the line's config, beside one stand-in tensor."""
    header = json.dumps({"x": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    folder.mkdir()
    folder.joinpath("config.json").write_text(json.dumps(line["config"]), "utf-8")
    folder.joinpath("model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0\0")
    model = inspector.load(str(folder)).model
    engine = engine_named("vllm")
    workload = Workload(context=line.get("served_len") or 2048)
    return model, engine.plan(model, workload, parse_gpu(GPU), engine.options(), suggest=False)


def compared(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts, and what differs by name."""
    counts: Counter[str] = Counter()
    wrong: dict[str, dict[str, str]] = {"told_to_fit": {}, "cannot_tell": {}, "bytes_differ": {}, "dtype_differs": {}}
    with tempfile.TemporaryDirectory() as top:
        for line in lines:
            done = outcome(line)
            counts[done.replace(" ", "_")] += 1
            if done == "left out":
                continue
            name = line["id"]
            model, serving = asked(line, Path(top) / name)
            why = next((note for note in serving.notes if note.startswith("cannot tell")), None)
            if done == "refused":
                counts["refused_alike"] += why is not None
                if why is None:
                    wrong["told_to_fit"][name] = (line.get("spec_error") or line["error"])[:120].split("\n")[0]
                continue
            if why is not None:
                wrong["cannot_tell"][name] = why[:120]
                continue
            need, told = line.get("request_need") or 0, serving.request_bytes or 0
            counts["bytes_equal"] += need == told
            if need != told:
                wrong["bytes_differ"][name] = f"{told:,} told, {need:,} by vLLM"
            counts["dtype_equal"] += serving.settings["dtype"] == line["dtype"]
            if serving.settings["dtype"] != line["dtype"]:
                wrong["dtype_differs"][name] = f"{serving.settings['dtype']} told, {line['dtype']} by vLLM"
            counts["length_equal"] += model.architecture.max_position_embeddings == line["max_model_len"]
    order = ("loaded", "bytes_equal", "dtype_equal", "length_equal", "refused", "refused_alike", "left_out")
    return {"configs": len(lines), **{name: counts[name] for name in order}, **wrong}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("lines", type=Path)
    parser.add_argument("--write", action="store_true", help="store the findings and render docs/oracles.md")
    given = parser.parse_args()
    found = compared([json.loads(line) for line in given.lines.read_text("utf-8").splitlines()])
    print(json.dumps(found, indent=1))
    if given.write:
        table = json.loads((FOLDER.parents[1] / "inspector" / "data" / "engines" / "vllm.json").read_text("utf-8"))
        head = {"command": "make oracle-engines", "transformers": f"{table['transformers']}, vLLM {table['vllm']}"}
        head["date"] = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
        FOLDER.joinpath("engines.json").write_text(json.dumps({**head, **found}, indent=1) + "\n", "utf-8")
        render()


if __name__ == "__main__":
    main()
