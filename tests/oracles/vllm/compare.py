"""vLLM's lines (facts.py) beside the product's answers: one architecture is equal if all its configs are.

Compared are: loaded or not, bytes of one request, KV heads, head sizes and latents of the layers that cache, precision,
and the maximum length. Left out, by name: what vLLM could not build for the config's sake.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from inspector.engines.common.cache_specs import CompressedIndex
from inspector.engines.common.served import served_model
from inspector.engines.vllm.loads import as_cached, longest_length, table
from inspector.engines.vllm.packed import PackedLatents
from inspector.engines.vllm.version import parse_version
from inspector.model import Model
from inspector.model.layers.indexed import IndexedAttention
from inspector.model.layers.latent import LatentAttention
from tests.oracles.engines import asked, cannot_tell, differing

TITLE = "vLLM: a config of every architecture of its registry, and of every other model class, read by its own code"
MEANINGS = {
    "architectures": "architectures of the registry that are served on their own and were built from a config",
    "architectures_equal": "of these, all below is equal in all configs",
    "configs": "configs, of these and of classes that are not in the registry",
    "loaded": "that vLLM loads and whose class it builds",
    "request_bytes_equal": "of these, one request takes the bytes that vLLM's planner gives",
    "kv_heads_equal": "the same KV heads, head sizes and latents",
    "dtype_equal": "the same precision",
    "length_equal": "the same maximum length",
    "refused": "that vLLM refuses",
    "refused_alike": "of these, refused here too",
    "left_out": "not compared: see the end",
    "told_to_fit": "refused by vLLM and not here",
    "not_built": "not compared: the config that was made is not one that vLLM's class takes",
}

BACKEND = ("does not dispatch", "not found in the forward", "more than one module")
"""How vLLM's backend for transformers refuses a class as it builds it."""


def head() -> dict[str, str]:
    """What the table was made with."""
    return {"transformers": f"{table()['transformers']}, vLLM {table()['vllm']}"}


def outcome(line: dict[str, Any]) -> str:
    """What vLLM did: "loaded", "refused" or "left out"."""
    said = f"{line.get('error', '')} {line.get('spec_error', '')}"
    if any(word in said for word in BACKEND):
        return "refused"
    if not line.get("supported"):
        return "refused" if "not supported" in said else "left out"
    return "loaded" if "request_need" in line or line.get("specs") == [] else "left out"


def told_heads(model: Model, release: tuple[int, int]) -> list[list[Any]]:
    """[latent or not, KV heads, head size] of the layers that cache rows, as the product has them for vLLM."""
    found = set()
    served = served_model(model)
    for layer in as_cached(served, model.architecture, release).layers if served else ():
        rows = layer.rows
        if isinstance(layer, PackedLatents):
            overlap, index = (2 if layer.index_head_dim else 1), layer.index_head_dim
            states = (2 * overlap * width for width in (layer.head_dim, index) if width and layer.rate)
            found |= {(True, 1, layer.head_dim), *((True, 1, width) for width in states)}
            found |= {(True, 1, index + 4)} if index else set()
        if isinstance(layer, CompressedIndex):
            found.add((True, 1, layer.index_head_dim))
        elif isinstance(layer, IndexedAttention):  # beside latents a byte a value, and a scale for each 128 of them
            scales = 4 * -(-layer.index_head_dim // 128) if isinstance(rows, LatentAttention) else 0
            found.add((True, 1, layer.index_head_dim + scales))
        if isinstance(rows, LatentAttention):
            found.add((True, 1, rows.kv_lora_rank + rows.qk_rope_head_dim))
        elif rows is not None:
            found.add((False, getattr(rows, "num_key_value_heads", None), getattr(rows, "head_dim", None)))
    return sorted(map(list, found), key=str)


def real_heads(line: dict[str, Any]) -> list[list[Any]]:
    """The same of vLLM's specs; neither the keys of an indexer nor a request's last tokens are heads."""
    beside = ("Mamba", "Indexer", "CircularBuffer")
    specs = [spec for spec in line["specs"] if not any(kind in spec[0] for kind in beside)]
    return sorted(map(list, {("MLA" in spec[0], spec[3], spec[4]) for spec in specs}), key=str)


def differences(line: dict[str, Any], folder: Path) -> dict[str, str]:
    """Fact -> what differs, of a config that vLLM loads; "cannot_tell" stands alone."""
    model, serving = asked("vllm", line["config"], line["served_len"], folder, version=line["vllm"])
    why, release = cannot_tell(serving), parse_version(line["vllm"]).release
    if why is not None:
        return {"cannot_tell": why[:140]}
    facts = {
        "request_bytes": (serving.request_bytes or 0, line.get("request_need") or 0),
        "kv_heads": (told_heads(model, release), real_heads(line)),
        "dtype": (serving.settings["dtype"], line["dtype"]),
        "length": (longest_length(model.architecture, release), line["max_model_len"]),
    }
    return differing(facts, "vLLM")


def compared(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts, and what differs by name."""
    facts = ("request_bytes", "kv_heads", "dtype", "length")
    counts: Counter[str] = Counter()
    wrong: dict[str, dict[str, str]] = {name: {} for name in ("told_to_fit", "cannot_tell", *facts, "not_built")}
    equal: dict[str, bool] = {}
    registered = table()["architectures"]
    with tempfile.TemporaryDirectory() as top:
        for line in lines:
            name, done = line["id"], outcome(line)
            counts[done.replace(" ", "_")] += 1
            architecture = (line["config"].get("architectures") or [""])[0]
            if done == "left out":
                said = line.get("error") or line.get("spec_error") or line.get("crash") or "no cache was planned"
                wrong["not_built"][name] = said[:140].split("\n")[0]
                continue
            if done == "refused":
                _, serving = asked("vllm", line["config"], 2048, Path(top) / name, version=line["vllm"])
                alike = cannot_tell(serving) is not None
                counts["refused_alike"] += alike
                if not alike:
                    wrong["told_to_fit"][name] = (line.get("spec_error") or line["error"])[:120].split("\n")[0]
                differs = {} if alike else {"told_to_fit": ""}
            else:
                differs = differences(line, Path(top) / name)
                counts.update(f"{fact}_equal" for fact in facts if fact not in differs and "cannot_tell" not in differs)
                for fact, text in differs.items():
                    wrong[fact][name] = text
            if architecture in registered:
                equal[architecture] = equal.get(architecture, True) and not differs
    order = ("loaded", *(f"{fact}_equal" for fact in facts), "refused", "refused_alike", "left_out")
    return {
        "architectures": len(equal),
        "architectures_equal": sum(equal.values()),
        "configs": len(lines),
        **{name: counts[name] for name in order},
        **wrong,
    }
