"""Writes inspector/data/engines/llama_cpp.json: what each of llama.cpp's architectures caches, by llama.cpp.

    python -m tests.oracles.llama.rules PYTHON        # an interpreter that has real.py's wheels

For each architecture a small model is found that llama.cpp makes a context for (archs.py); models of 24 and of 64 such
layers, with and without a window and a pattern, then show which layers get a cache of which size, in its own log. What
that does not show (indexers, compressed entries, loops) is in data/by_hand.json, in the sections "llama_cpp_*", with
its place in llama.cpp's source. tests/oracles/llama/compared.py checks the whole table to the byte.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from inspector.model.config.light import by_hand
from tests.oracles.llama.archs import ARCHITECTURES, LATENT, Metadata, metadata, variants

OUTPUT = Path(__file__).resolve().parents[3] / "inspector" / "data" / "engines" / "llama_cpp.json"
RUN: dict[str, Any] = {"n_ctx": 16384, "n_ubatch": 512, "swa_full": False}
ASKED = 700
"""Tokens of the window that is asked for; its cache is of 1,280 cells."""

WINDOW = {
    "attention.sliding_window": ASKED,
    "attention.sliding_window_pattern": [True, True, False, True, False, False],
}

BUILD = 11549


class Asked:
    """real.py in a process of its own."""

    def __init__(self, python: str) -> None:
        worker = Path(__file__).with_name("real.py")
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [python, str(worker)], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
        )

    def __call__(self, values: Metadata, *runs: dict[str, Any], tensors: bool = False) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        job = {"name": values["general.architecture"], "metadata": values, "runs": runs, "tensors": tensors}
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:  # what it needs is missing
            raise SystemExit(f"{self.process.args[1]} ended: run it by itself to see why")
        found: dict[str, Any] = json.loads(line)
        return found


def working(ask: Asked, arch: str) -> tuple[Metadata, bool] | str:
    """The most unequal sizes that llama.cpp makes a context for, and whether with experts; else its complaint."""
    said = ""
    for sizes in variants():
        for mixture in (False, True):
            found = ask(metadata(arch, sizes, mixture=mixture), {"n_ctx": 512, "n_ubatch": 512})
            if "runs" in found:
                return sizes, mixture
            said = found["error"]
    return said


def windows(caches: list[dict[str, Any]]) -> tuple[list[int], int]:
    """(layers with a window, its tokens) of a context's caches."""
    for cache in caches:
        if cache["kind"] == "kv_cache" and cache["cells"] < RUN["n_ctx"] and cache["layers"]:
            return cache["layers"], ASKED if cache["cells"] == 1280 else cache["cells"] - RUN["n_ubatch"]
    return [], 0


def period(layers: list[int], blocks: int) -> tuple[int, bool] | None:
    """(n, whether the full layer comes first) where all but each n-th layer are these; 0: all are."""
    if layers == list(range(blocks)):
        return 0, False
    for every in range(2, blocks + 1):
        for first in (False, True):
            off = 0 if first else every - 1
            if layers == [index for index in range(blocks) if index % every != off]:
                return every, first
    return None


class Probe:
    """One architecture's answers."""

    def __init__(self, ask: Asked, arch: str, sizes: Metadata, mixture: bool) -> None:
        self.ask, self.arch, self.mixture = ask, arch, mixture
        self.sizes = {key: value for key, value in sizes.items() if "sliding_window" not in key}
        self.sizes["full_attention_interval"] = None

    def caches(self, blocks: int, **more: Any) -> list[dict[str, Any]] | None:
        """The caches of a model of so many layers; None where llama.cpp makes none."""
        longer = {key: (value * blocks)[:blocks] if type(value) is list else value for key, value in self.sizes.items()}
        values = metadata(self.arch, {**longer, **more}, layers=blocks, mixture=self.mixture)
        found = self.ask(values, RUN)
        return found["runs"][0]["caches"] if "runs" in found else None

    def rule(self) -> dict[str, Any]:
        """What the architecture does otherwise than plain attention, as kept.py reads it."""
        name, pattern = "attention.sliding_window", "attention.sliding_window_pattern"
        listed = {name: ASKED, pattern: [True, True, False, True, False, False] * 4}
        found: dict[str, Any] = {}
        usual = self.caches(24, **{name: ASKED})
        by_list = self.caches(24, **listed) if usual is None else usual
        if by_list is None:  # sizes that only fit a model of six layers
            return found
        if not by_list:
            return {"memory": "none"}
        if usual is None:
            if windows(by_list)[0]:
                found["window"] = {"every": None}
        else:
            found |= self.window(usual, name)
        states = [cache["layers"] for cache in by_list if cache["kind"] == "memory_recurrent"]
        if self.latent():
            found["latent"] = True
        if states:
            rows = {layer for cache in by_list if cache["kind"] == "kv_cache" for layer in cache["layers"]}
            found |= self.recurrent(states[0], rows)
        return found

    def latent(self) -> bool:
        """Whether keys alone are cached where the file has widths of a latent's heads, `*_mla`."""
        values = metadata(self.arch, {**self.sizes, **LATENT, "full_attention_interval": 2, **WINDOW}, mixture=True)
        found = self.ask(values, {"n_ctx": 1024, "n_ubatch": 512})
        sizes = "".join(found.get("sizes", ()))
        if "runs" in found:
            caches = found["runs"][0]["caches"]
            rows = sum(len(cache["layers"]) for cache in caches if cache["kind"] == "kv_cache")
            return bool(rows) and found["runs"][0]["context"] < rows * 1024 * 2 * (576 + 256)
        return re.search(r"K \(f16\): +[1-9][\d.]* MiB, V \(f16\): +0.00 MiB", sizes) is not None

    def window(self, usual: list[dict[str, Any]], name: str) -> dict[str, Any]:
        layers, size = windows(usual)
        unasked = self.caches(24)
        rule: dict[str, Any] = {}
        if not layers:
            many = self.caches(64, **{name: ASKED})
            layers, size = windows(many or [])
            if not layers:
                return {}
            rule["layers"] = [64]
            unasked = self.caches(64)
        found = period(layers, rule.get("layers", [24])[0])
        if found is None:
            return {"window": {"layers_seen": layers}}
        rule["every"] = found[0]
        if found[1]:
            rule["full_first"] = True
        if size != ASKED:
            rule["fixed"] = size
        default = windows(unasked or [])
        if default[0]:
            rule["size"] = default[1]
        return {"window": rule}

    def recurrent(self, states: list[int], rows: set[int]) -> dict[str, Any]:
        if states == list(range(24)):
            return {"recurrent": "with_rows" if rows else "all"}
        every = period(states, 24)
        listed = metadata(self.arch, self.sizes).get(f"{self.arch}.attention.head_count_kv")
        if type(listed) is list and 0 in listed:
            return {"recurrent": "heads"}
        return {"recurrent": every[0] if every else states}


def main(arguments: list[str]) -> int:
    ask = Asked(arguments[0])
    names = arguments[1:] or ARCHITECTURES
    old = json.loads(OUTPUT.read_text("utf-8")) if OUTPUT.exists() else {"architectures": {}, "unloaded": {}}
    found, unloaded = dict(old["architectures"]), dict(old.get("unloaded", {}))
    for arch in names:
        works = working(ask, arch)
        rule = {} if isinstance(works, str) else Probe(ask, arch, *works).rule()
        if isinstance(works, str):
            unloaded[arch] = works
        else:
            unloaded.pop(arch, None)
        for section in ("state", "index", "other"):
            told = by_hand(f"llama_cpp_{section}").get(arch)
            if told is not None:
                rule |= told if section == "other" else {section: told}
        found[arch] = rule
        print(arch, rule, unloaded.get(arch, ""), flush=True)
    rows = ",\n".join(
        f"{json.dumps(name)}:{json.dumps(rule, separators=(',', ':'))}" for name, rule in sorted(found.items())
    )
    head = {"generator": "python -m tests.oracles.llama.rules", "build": BUILD}
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    OUTPUT.write_text("{\n" + ",\n".join([*lines, '"architectures": {\n' + rows + "\n}"]) + "\n}\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
