"""Every model class of transformers under a name that nobody knows: what its tensors and keys alone tell of it.

    python -m tests.oracles.shuffled                 every class, from its default config
    python -m tests.oracles.shuffled llama bert      those of some model folders
    python -m tests.oracles.shuffled --builds FILE   keeps the configs and headers in FILE, or reads them from there
    python -m tests.oracles.shuffled --write         also docs/oracles/shuffled.json

Each class is built on the meta device. Its config.json and headers, as save_pretrained writes them, are read with every
model type and class renamed and with an auto_map, as a repo with code of its own has it. The parameters must be the
class's own; the KV cache must be the one that is read under the class's name (tests/oracles/caches.py measures that),
or unknown, or bounded from both sides. Needs torch; timm, torchvision and pillow for some.
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from inspector.hub.cache.snapshot import decode_tensors, encode_tensors
from inspector.hub.checkpoint import Checkpoint, Tensor
from inspector.memory.estimate import Workload
from inspector.memory.inference.kv_cache import kv_cache
from inspector.model.build import build_model
from inspector.model.model import Model

NAMES = {"model_type": "nobody-knows", "architectures": ["NobodyKnowsForCausalLM"]}
AUTO_MAP = {
    "AutoConfig": "configuration_nobody.NobodyKnowsConfig",
    "AutoModelForCausalLM": "modeling_nobody.NobodyKnowsForCausalLM",
}
CONTEXTS = (4096, 131_072)
"""Tokens below and above most windows."""
LEAST_PARAMETERS, LEAST_CACHES = 0.99, 0.97

Build = dict[str, Any]
"""`class`, `config`, `parameters` of the class, `tensors` as snapshots store them."""


@dataclass
class Outcome:
    """What is told of one class under a name that nobody knows.

    Attributes:
        decoder: it keeps a cache that is known under its own name.
        cache: "right", "null", "bounded" or "wrong"; empty for others than decoders.
        parameters: what differs, in words; empty where it is right.
        caches: the same of the cache.
        silent: something is wrong, and no note says that anything may be.
    """

    decoder: bool = False
    cache: str = ""
    parameters: str = ""
    caches: str = ""
    silent: bool = False


@dataclass
class Found:
    """What a run found, by class."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    unbuilt: dict[str, str] = field(default_factory=dict)

    def rows(self) -> dict[str, Any]:
        """What docs/oracles.md is made from."""
        decoders = [one for one in self.outcomes.values() if one.decoder]
        caches = {f"kv_{word}": sum(one.cache == word for one in decoders) for word in ("right", "bounded", "null")}
        return {
            "classes": len(self.outcomes),
            "parameters_equal": sum(not one.parameters for one in self.outcomes.values()),
            "decoders": len(decoders),
            **caches,
            "silent": {name: one.parameters or one.caches for name, one in self._sorted() if one.silent},
            "kv_differs": {name: one.caches for name, one in self._sorted() if one.cache == "wrong"},
            "parameters_differ": {name: one.parameters for name, one in self._sorted() if one.parameters},
        }

    def _sorted(self) -> list[tuple[str, Outcome]]:
        return sorted(self.outcomes.items())


def shuffled(value: Any) -> Any:
    """A config in which every model type and class has a name that nobody knows."""
    if isinstance(value, dict):
        return {key: NAMES.get(key, shuffled(item)) for key, item in value.items()}
    return value


def outcome(build: Build) -> Outcome:
    """Compares what is told of a class under its own name and under another."""
    config, tensors = build["config"], decode_tensors(build["tensors"])
    known = _model(config, tensors)
    told = _model({**shuffled(config), **NAMES, "auto_map": AUTO_MAP}, tensors)
    found = Outcome()
    if told.parameters.total != build["parameters"]:
        found.parameters = f"{told.parameters.total:,} counted, {build['parameters']:,} held"
    truth = [_cache(known, context) for context in CONTEXTS]
    found.decoder = known.architecture.is_decoder and None not in (size for size, *_ in truth)
    if found.decoder:
        found.cache, found.caches = _judged([size for size, *_ in truth], [_cache(told, each) for each in CONTEXTS])
    wrong_cache = found.cache == "wrong" and (told.architecture.exact or not told.architecture.notes)
    wrong_count = bool(found.parameters) and told.parameters.exact and told.architecture.exact
    found.silent = wrong_cache or wrong_count
    return found


def _model(config: dict[str, Any], tensors: tuple[Tensor, ...]) -> Model:
    return build_model(Checkpoint("x/y", None, "local", config, tensors))


def _cache(model: Model, context: int) -> tuple[int | None, int | None, int | None]:
    """Bytes of a sequence's cache, and the bounds of them where they are bounds."""
    part = kv_cache(model.architecture, Workload(context=context), "bf16", 16)
    return part.bytes, part.low, part.high


def _judged(truth: list[int | None], told: list[tuple[int | None, int | None, int | None]]) -> tuple[str, str]:
    """One word on the cache of all contexts, the worst of them, and what differs."""
    words = ["right", "bounded", "null", "wrong"]
    worst, text = "right", ""
    for context, held, (size, low, high) in zip(CONTEXTS, truth, told, strict=True):
        if size == held and low is None:
            word = "right"
        elif size is None and low is None:
            word = "null"
        elif low is not None and high is not None and held is not None and low <= held <= high:
            word = "bounded"
        else:
            word = "wrong"
            bounds = "" if low is None else f" ({low:,} at least)"
            text = text or f"{size or 0:,} told{bounds}, {held:,} held, at {context:,} tokens"
        worst = max(worst, word, key=words.index)
    return worst, text


def builds(folders: list[str], unbuilt: dict[str, str]) -> Iterator[Build]:
    """Every class of some model folders, or of all, from its default config."""
    from fixtures import stand_ins

    stand_ins.provide()
    import transformers

    from fixtures import make_classes, meta
    from fixtures.class_variants import default_config
    from tests.oracles.parameters import one_line, written_config

    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    models = Path(transformers.__file__).parent / "models"
    for folder in folders or sorted(path.name for path in models.iterdir() if path.is_dir()):
        for name, model_class in make_classes.model_classes(models / folder).items():
            if name in make_classes.NO_MODELS:
                continue
            try:
                model = meta.build(model_class, default_config(model_class))
                state = meta.saved_state(model)
            except Exception as error:  # whatever a class raises for values that do not suit it
                unbuilt[name] = one_line(error)
                continue
            if not any(True for _ in model.parameters()):  # a base class
                continue
            tensors = [Tensor(key, meta.DTYPES[value.dtype], tuple(value.shape)) for key, value in state.items()]
            yield {
                "class": name,
                "parameters": model.num_parameters(),
                "config": json.loads(json.dumps(written_config(model))),
                "tensors": encode_tensors(tensors),
            }


def kept(path: Path, folders: list[str], unbuilt: dict[str, str]) -> Iterator[Build]:
    """The builds that a file keeps, and why others are none; made and kept where there is no such file."""
    if path.exists():
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for row in map(json.loads, file):
                if "class" in row:
                    yield row
                else:
                    unbuilt.update(row["unbuilt"])
        return
    part = path.with_name(path.name + ".part")
    with gzip.open(part, "wt", encoding="utf-8") as file:
        for build in builds(folders, unbuilt):
            file.write(json.dumps(build, separators=(",", ":")) + "\n")
            yield build
        file.write(json.dumps({"unbuilt": unbuilt}) + "\n")
    part.replace(path)


def compared(some: Iterable[Build], found: Found) -> Found:
    """The outcome of every build."""
    for build in some:
        found.outcomes[build["class"]] = outcome(build)
    return found


def report(rows: dict[str, Any], seconds: float) -> None:
    caches = sum(rows[f"kv_{word}"] for word in ("right", "bounded", "null"))
    print(f"parameters: {rows['parameters_equal']} of {rows['classes']} classes")
    print(
        f"KV cache: {caches} of {rows['decoders']} decoders ({rows['kv_right']} right, {rows['kv_bounded']} bounded, "
        f"{rows['kv_null']} unknown), {seconds:.0f} s"
    )
    for title in ("parameters_differ", "kv_differs", "silent", "not_built"):
        for name, problem in rows[title].items():
            print(f"  {title.replace('_', ' ')}: {name}: {problem}")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the table's rows")
    parser.add_argument("--builds", type=Path, metavar="FILE", help="where configs and headers are kept (.jsonl.gz)")
    parser.add_argument("folders", nargs="*", metavar="FOLDER")
    options = parser.parse_args(arguments)
    start, found = time.time(), Found()
    some = kept(options.builds, options.folders, found.unbuilt) if options.builds else None
    compared(builds(options.folders, found.unbuilt) if some is None else some, found)
    rows = {**found.rows(), "not_built": dict(sorted(found.unbuilt.items()))}
    report(rows, time.time() - start)
    if options.write:
        from tests.oracles import table

        table.write("shuffled", rows)
    caches = sum(rows[f"kv_{word}"] for word in ("right", "bounded", "null"))
    enough = (
        caches >= LEAST_CACHES * rows["decoders"] and rows["parameters_equal"] >= LEAST_PARAMETERS * rows["classes"]
    )
    return 0 if enough and not rows["silent"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
