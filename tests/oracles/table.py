"""docs/oracles.md, made from the JSON files in docs/oracles/, of which each oracle writes its own.

    python -m tests.oracles.table       renders it anew

An oracle calls `write("name", rows)`; what is a number becomes a line, what is an object a list of exceptions by name.
"""

from __future__ import annotations

import datetime
import importlib
import json
from pathlib import Path
from typing import Any

ENGINES = {"vllm": "tests.oracles.vllm.compare", "sglang": "tests.oracles.sglang.compare"}
"""Engine -> the module that compares it, with its TITLE and MEANINGS here: one line an engine."""

DOCS = Path(__file__).resolve().parents[2] / "docs"
FOLDER = DOCS / "oracles"


def write(name: str, rows: dict[str, Any]) -> None:
    """Stores an oracle's findings, with date and release, and renders the table."""
    import transformers

    head = {"command": f"python -m tests.oracles.{name} --write", "transformers": transformers.__version__}
    keep(name, {**head, **rows})


def keep(name: str, rows: dict[str, Any]) -> None:
    """Stores findings that name their command and release, with the date, and renders the table."""
    head = {name: rows.pop(name) for name in ("command", "transformers")}
    head["date"] = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps({**head, **rows}, indent=1) + "\n", encoding="utf-8")
    render()


def render() -> None:
    """Writes docs/oracles.md from what the oracles left."""
    (DOCS / "oracles.md").write_text(rendered(), encoding="utf-8")


def rendered() -> str:
    """The page's text."""
    found = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))}
    return "\n".join([HEAD, *(_section(name, rows) for name, rows in found.items())])


HEAD = """# The oracles

What the tool says, compared with what transformers' own classes hold. `make oracle` runs it all and writes this file.
"""


def _section(name: str, rows: dict[str, Any]) -> str:
    rows = dict(rows)
    title, meanings = TITLES.get(name, (name.replace("_", " ").capitalize(), {}))
    engine = name.removeprefix("engines_")
    release = "" if engine in ENGINES else engine.rpartition("_")[2]
    engine = engine.removesuffix(f"_{release}")
    if engine in ENGINES:
        oracle = importlib.import_module(ENGINES[engine])
        title, meanings = oracle.TITLE + (f" ({release})" if release else ""), oracle.MEANINGS
    lines = [f"## {title}", ""]
    lines += [f"transformers {rows.pop('transformers')}, {rows.pop('date')}, `{rows.pop('command')}`", ""]
    numbers = {key: value for key, value in rows.items() if not isinstance(value, dict)}
    lines += ["| | |", "|---|---:|"]
    lines += [f"| {_say(key, meanings)} | {value:,} |" for key, value in numbers.items() if isinstance(value, int)]
    lines.append("")
    for key, names in rows.items():
        if isinstance(names, dict):
            lines += [f"{_say(key, meanings).capitalize()}: {len(names) or 'none'}.", ""]
            lines += [f"- `{each}`: {_plain(why)}" for each, why in names.items()]
            lines += [""] if names else []
    return "\n".join(lines)


def _say(key: str, meanings: dict[str, str]) -> str:
    return meanings.get(key, key.replace("_", " "))


def _plain(text: Any) -> str:
    return str(text).replace("|", "\\|").replace("<", "&lt;")


SURPRISES = {
    "samples": "samples, each after the mends that the one before it gave rise to",
    "folders": "folders of transformers/models that were tried",
    "classes": "model classes whose small random config was changed: of each config class the first two",
    "built": "of these, built anew with other ties and under files of other sizes (a quarter, by their names)",
    "configs": "changed configs (keys dropped, null, flipped, nested, flat, renamed; ties) that are taken",
    "refused": "that transformers refuses",
    "noted_and_right": "taken, with a note here though the facts are the class's",
    "counted": "counts of parameters compared",
    "other_sizes": "configs whose sizes are not those of the files",
    "by_class": "differences that no table tells, and the class itself told, as where transformers is installed",
    "silent": "silent differences",
    "told_though_refused": "told without a note though transformers refuses",
    "refused_here": "refused here and taken by transformers",
    "silent_at_first": "silent differences when the sample was drawn, before its folders below were fixed",
    "mended": "silent at first, and no longer",
    "tried_again": "folders tried again after the mends, and so no longer unseen",
}

DESIGNS = {
    "folders": "model folders of transformers (a run on each Nth is a sample)",
    "classes": "model classes built from their default config",
    "configs": "configs of them: default, random, single changed keys; none that a table was made from",
    "equal_configs": "of these, the total is `model.num_parameters()`",
    "equal": "classes that are told as exact, and right, in all their configs",
    "differs": "told as exact, and another number",
    "not_exact": "told, and marked as not exact",
    "untold": "cannot tell",
}

TITLES: dict[str, tuple[str, dict[str, str]]] = {
    "llama_cpp": (
        "llama.cpp: a small GGUF file of every architecture that it names, and the contexts that it makes for it",
        {
            "architectures": "architectures",
            "loaded": "of these, llama.cpp loads a model and makes its caches",
            "equal": "of these, all its caches take the bytes that are told",
            "runs": "contexts",
            "runs_equal": "of these equal",
            "by_log": "of these read off the log to 0.01 MiB, as llama.cpp's graph then ends the process",
            "bytes_differ": "bytes differ",
            "not_loaded": "no model, or none that a small file could be made of",
        },
    ),
    "llama_cpp_conversions": (
        "llama.cpp: default configs of transformers' classes, as its converter writes them",
        {
            "classes": "classes that the converter and transformers have",
            "converted": "of these, the default config is converted and llama.cpp makes its caches",
            "equal": "of these, the caches of the repo of safetensors take the bytes that are told",
            "bytes_differ": "bytes differ",
            "not_converted": "not converted or not loaded",
        },
    ),
    "adapters": (
        "Adapters: the buffers that vLLM's LoRA manager makes, on the meta device",
        {
            "built": "bundled models, on one rank and on one of two, that its manager wraps",
            "equal": "of these, the buffers take the bytes that are told",
            "not_told": "not told",
        },
    ),
    "launch": (
        "Launches: what `fit --emit` writes, read by the engines' own argument parsers",
        {
            f"{emit}_{what}": f"{emit}: {meaning}"
            for emit in ("vllm", "sglang", "llama-server", "mlx")
            for what, meaning in (
                ("commands", "commands of random settings that fit"),
                ("read", "of these taken, every setting of the account read back or left to the engine"),
            )
        },
    ),
    "mlx": (
        "mlx-lm: a small model of every file of mlx_lm/models, run on a CPU",
        {
            "files": "files with a class",
            "built": "of these, a small model is built and runs",
            "equal": "of these, all caches hold the bytes that are told, after a prompt and after a token",
            "refused": "types that are refused here",
            "bytes_differ": "bytes differ",
            "not_built": "not built",
        },
    ),
    "parameters": (
        "Parameters: every model class, from its files' headers",
        {
            "classes": "model classes built from their default config",
            "variations": "random variations of them",
            "refused": "variations that their class refused, and that were tried again with fewer changes",
            "equal": "classes whose total is `model.num_parameters()`, by default and in every variation",
            "differs": "classes that differ",
            "unsure": "right, but marked as not sure",
            "alarms": "classes whose own files, as they save them, give rise to a warning",
            "facts_differ": "classes whose facts differ",
            "not_varied": "classes without a variation that builds",
            "not_built": "classes that could not be built",
        },
    ),
    "designs": (
        "Designs: every model class, from its config alone, by its own code built without torch",
        DESIGNS,
    ),
    "designs_by_tables": (
        "Designs where transformers is not installed, as on the page without a server: by tables",
        DESIGNS,
    ),
    "caches": (
        "Caches: what small models of every language part really hold, run on the CPU",
        {
            "types": "language parts that run",
            "configs": "configurations of them: small ones, and random heads, windows, ranks, states and layers",
            "runs": "runs, each of a prompt below or above the windows, and one step",
            "equal": "language parts whose every cache layer holds the bytes that its spec gives, in all runs",
            "allocated_dynamic": "runs whose DynamicCache allocates what is predicted, between two steps",
            "measured_dynamic": "of so many",
            "allocated_dynamic_after_prefill": "the same after the prompt",
            "measured_dynamic_after_prefill": "of so many",
            "allocated_static": "runs whose StaticCache allocates what is predicted",
            "measured_static": "of so many, where the class works with it",
            "cannot_tell": "reported as unknown",
            "not_run": "not run",
        },
    ),
    "shuffled": (
        "Unknown names: every model class under a model type and class that nobody knows, told by tensors and keys",
        {
            "classes": "model classes built from their default config",
            "parameters_equal": "of these, the total is `model.num_parameters()`",
            "decoders": "classes that keep a KV cache",
            "kv_right": "of these, the cache is the one told under the class's own name",
            "kv_bounded": "it is bounded from both sides, and the bounds hold it",
            "kv_null": "it is unknown",
            "silent": "wrong without a note",
            "kv_differs": "the cache differs",
            "parameters_differ": "parameters differ",
            "not_built": "classes that could not be built",
        },
    ),
    "surprises": (
        "Surprises: config.json changed at random, beside what transformers makes of it",
        SURPRISES,
    ),
    "surprises_unseen": (
        "Surprises: another sample, of other configs, changes and classes, drawn after the mends",
        SURPRISES,
    ),
    "surprises_before": ("Surprises: the samples before that one, from which the mends came", SURPRISES),
    "facts": (
        "Facts: every config class, from its config.json",
        {
            "classes": "config classes",
            "configs": "configs, the default one and random ones of each class",
            "equal": "classes whose facts are the class's own in all of them",
            "differs": "classes that differ",
            "not_made": "classes that no config can be made of",
        },
    ),
}


if __name__ == "__main__":
    render()
