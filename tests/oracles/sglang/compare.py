"""SGLang's lines (facts.py) beside the product's answers: one architecture is equal if all its configs are.

Compared are: loaded or not, tokens of a pool of so many bytes, requests that its states allow at once, precision,
the longest context, and the default of mem_fraction_static. Left out, by name: what SGLang could not read for the
config's sake.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from inspector.engines.common.cache_specs import CacheSettings
from inspector.engines.common.cache_types import cache_name
from inspector.engines.common.served import served_model
from inspector.engines.sglang.budget import divided
from inspector.engines.sglang.cache_types import STORED, TYPES
from inspector.engines.sglang.loads import as_cached, context_length, page_size, state_slots, table
from inspector.memory import Workload
from inspector.model import Model
from tests.oracles.engines import asked, cannot_tell, differing

POOL = 100 * 2**30
"""As facts.py divides it."""

TITLE = "SGLang: a config of every architecture of its registry, and of every other model class, read by its own code"
MEANINGS = {
    "architectures": "architectures of the registry that are served on their own and were read from a config",
    "architectures_equal": "of these, all below but the share of memory is equal in all configs",
    "configs": "configs, of these and of classes that are not in the registry",
    "loaded": "that SGLang loads, itself or by its backend for transformers' classes",
    "tokens_equal": "of these, a pool of 100 GiB is divided into the tokens that SGLang's configurators give",
    "requests_equal": "the states allow the same number of requests at once, or there are none",
    "dtype_equal": "the same precision",
    "length_equal": "the same maximum length",
    "fraction_equal": "the same default of mem_fraction_static on an H200",
    "refused": "that SGLang refuses",
    "refused_alike": "of these, refused here too",
    "left_out": "not compared: see the end",
    "told_to_fit": "refused by SGLang and not here",
    "fraction": "the default of mem_fraction_static differs",
    "not_read": "not compared: the config that was made is not one that SGLang's classes take",
}


def head() -> dict[str, str]:
    """What the table was made with."""
    return {"transformers": f"{table()['transformers']}, SGLang {table()['sglang']}"}


def outcome(line: dict[str, Any]) -> str:
    """What SGLang did: "loaded", "refused" or "left out"."""
    if "tokens" in line:
        return "loaded"
    return "refused" if "refused" in line and not line.get("native") else "left out"


def told_pool(model: Model) -> tuple[int | None, int | None]:
    """(tokens, requests that the states allow) of `POOL` bytes, as the product divides them."""
    served = served_model(model, compute=None)
    if served is None:
        return None, None
    served = as_cached(served, model.architecture)
    kept = TYPES[cache_name(Workload(context=1), model, None, TYPES, STORED)]
    settings = CacheSettings(
        1,
        block_size=page_size(model.architecture),
        state_bytes=served.element_bytes,
        element_bytes=kept.element_bytes or served.element_bytes,
        head_bytes=kept.head,
    )
    held = divided(served.layers, settings, POOL, context_length(model.architecture))
    if held is None:
        return None, None
    return held.tokens, None if held.slots is None else held.slots // state_slots(model.architecture)


def differences(line: dict[str, Any], folder: Path) -> dict[str, str]:
    """Fact -> what differs, of a config that SGLang loads; "cannot_tell" stands alone."""
    model, serving = asked("sglang", line["config"], 2048, folder)
    why = cannot_tell(serving)
    if why is not None:
        return {"cannot_tell": why[:140]}
    tokens, requests = told_pool(model)
    share = serving.settings["mem_fraction_static"]
    facts = {
        "tokens": (tokens, line["tokens"]),
        "requests": (requests, line.get("requests")),
        "dtype": (serving.settings["dtype"], line["dtype"]),
        "length": (context_length(model.architecture), line["context_len"]),
        "fraction": (round(share, 3), round(line["mem_fraction_static"], 3)),
    }
    return differing(facts, "SGLang")


def compared(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts, and what differs by name."""
    facts = ("tokens", "requests", "dtype", "length", "fraction")
    counts: Counter[str] = Counter()
    wrong: dict[str, dict[str, str]] = {name: {} for name in ("told_to_fit", "cannot_tell", *facts, "not_read")}
    equal: dict[str, bool] = {}
    registered = table()["architectures"]
    with tempfile.TemporaryDirectory() as top:
        for line in lines:
            name, done = line["id"], outcome(line)
            counts[done.replace(" ", "_")] += 1
            if done == "left out":
                said = line.get("refused") or line.get("error") or "nothing was said"
                wrong["not_read"][name] = said[:140].split("\n")[0]
                continue
            if done == "refused":
                _, serving = asked("sglang", line["config"], 2048, Path(top) / name)
                alike = cannot_tell(serving) is not None
                counts["refused_alike"] += alike
                if not alike:
                    wrong["told_to_fit"][name] = line["refused"][:120].split("\n")[0]
                continue
            differs = differences(line, Path(top) / name)
            counts.update(f"{fact}_equal" for fact in facts if fact not in differs and "cannot_tell" not in differs)
            for fact, text in differs.items():
                wrong[fact][name] = text
            architecture = (line["config"].get("architectures") or [""])[0]
            if architecture in registered:
                equal[architecture] = equal.get(architecture, True) and not set(differs) - {"fraction"}
    order = ("loaded", *(f"{fact}_equal" for fact in facts), "refused", "refused_alike", "left_out")
    return {
        "architectures": len(equal),
        "architectures_equal": sum(equal.values()),
        "configs": len(lines),
        **{name: counts[name] for name in order},
        **wrong,
    }
