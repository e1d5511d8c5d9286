"""Counts every model class of transformers from its config alone, and compares with the class's own count.

    python -m tests.oracles.designs              every class, each from its default config, two random ones, and some
                                                 in which one switch or small number alone is another
    python -m tests.oracles.designs llama bert   those of some model folders
    python -m tests.oracles.designs --write      also docs/oracles/designs.json
    python -m tests.oracles.designs --every 8    of the model folders each eighth
    python -m tests.oracles.designs --tables     by the tables, as where transformers is not installed
    python -m tests.oracles.designs --tables --mark    also marks what differs there as not exact

Random configs as in parameters.py, as config.json has them; none of them is one that the tables were made from. Needs
torch; timm, torchvision and pillow for some.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
import time
import warnings
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from fixtures import stand_ins  # noqa: E402

stand_ins.provide()

import transformers  # noqa: E402
from transformers import PreTrainedModel  # noqa: E402

from fixtures import make_classes, meta  # noqa: E402
from fixtures.class_variants import default_config  # noqa: E402
from fixtures.design_builds import few_layers, switches  # noqa: E402
from inspector.errors import InspectError  # noqa: E402
from inspector.hub.resolver import design_of  # noqa: E402
from inspector.model.build import build_model  # noqa: E402
from inspector.model.design.designed import designed  # noqa: E402
from inspector.model.parameters.classes import class_folders  # noqa: E402
from tests.oracles import table  # noqa: E402
from tests.oracles.parameters import VARIATIONS, one_line, varied, written_config  # noqa: E402
from tests.oracles.variations import base_config, variations  # noqa: E402

MODELS = Path(transformers.__file__).parent / "models"
SALT = "designs"
"""Of the random configs: others than those of any other oracle."""
ALONE = 1
"""Of the switches, of the places and of the small numbers of a class, how many are changed, each alone."""


@dataclass
class Found:
    """What a run found, by class."""

    classes: set[str] = field(default_factory=set)
    configs: int = 0
    equal_configs: int = 0
    differs: dict[str, str] = field(default_factory=dict)
    not_exact: dict[str, str] = field(default_factory=dict)
    untold: dict[str, str] = field(default_factory=dict)
    not_built: dict[str, str] = field(default_factory=dict)

    @property
    def equal(self) -> set[str]:
        """The classes that are told, and right, in all of their configs."""
        return self.classes - self.differs.keys() - self.not_exact.keys() - self.untold.keys()


def check(model: PreTrainedModel, found: Found, label: str, tables: bool = False) -> None:
    """Compares one build with what its config alone tells: by its class, built without torch, or by the tables."""
    name = type(model).__name__
    found.configs += 1
    try:
        counted = build_model(designed(design_of(written_config(model)), ask=not tables)).parameters
    except InspectError as error:
        found.untold.setdefault(name, f"{label}: {error.message[:200]}")
        return
    truth = model.num_parameters()
    if counted.total == truth:
        found.equal_configs += 1
        if not counted.exact:
            found.not_exact.setdefault(name, f"{label}: right, but marked as not exact")
    elif counted.exact:
        found.differs.setdefault(name, f"{label}: {counted.total:,} told, {truth:,} held")
    else:
        found.not_exact.setdefault(name, f"{label}: {counted.total:,} told and marked, {truth:,} held")


def tried(model_class: type[PreTrainedModel]) -> Iterator[tuple[str, PreTrainedModel]]:
    """Builds of a class beside its default one, and what is changed in them."""
    for number, changes in enumerate(variations(model_class, VARIATIONS, SALT), 1):
        model, _, _ = varied(model_class, changes)
        if model is not None:
            yield f"variation {number}", model
    base = base_config(model_class)
    layers = few_layers(base)
    rng = random.Random(zlib.crc32(f"{model_class.__name__} {SALT}".encode()))
    for changes in switches(base):
        ties = [key for key in sorted(changes) if key.endswith("tie_word_embeddings")]
        for key in dict.fromkeys([*rng.sample(sorted(changes), min(len(changes), ALONE)), *ties]):
            model, _, _ = varied(model_class, layers | {key: changes[key]})
            if model is not None:
                yield f"{key}={changes[key]!r} alone", model


def run(folders: list[str], tables: bool = False) -> Found:
    """Every class of some model folders."""
    found = Found()
    for folder in folders:
        for name, model_class in make_classes.model_classes(MODELS / folder).items():
            if name in make_classes.NO_MODELS:
                continue
            try:
                model = meta.build(model_class, default_config(model_class))
                if not any(True for _ in model.parameters()):  # a base class
                    continue
                found.classes.add(name)
                check(model, found, "default", tables)
                for label, other in tried(model_class):
                    check(other, found, label, tables)
            except Exception as error:
                found.not_built[name] = one_line(error)
                found.classes.discard(name)
    return found


def rows(found: Found) -> dict[str, Any]:
    """What docs/oracles.md is made from."""
    return {
        "classes": len(found.classes),
        "configs": found.configs,
        "equal_configs": found.equal_configs,
        "equal": len(found.equal),
        "differs": dict(sorted(found.differs.items())),
        "not_exact": dict(sorted(found.not_exact.items())),
        "untold": dict(sorted(found.untold.items())),
    }


def mark(names: Iterable[str]) -> None:
    """Marks classes in the tables as not exact: what was told of them as exact was another number."""
    from fixtures.make_designs import OUT, written

    for folder, some in groupby(sorted(names, key=class_folders().__getitem__), key=class_folders().__getitem__):
        path = OUT / f"{folder}.json"
        table, wrong = json.loads(path.read_text("utf-8")), set(some)
        for entry in table["types"].values():
            for name in wrong & entry["classes"].keys():
                entry["classes"][name].setdefault("wrong", 1)
        path.write_text(written(table), "utf-8")


def head(every: int, folders: list[str], tables: bool) -> dict[str, Any]:
    """How the findings came about: on all model folders, or on each so many."""
    some = f" --every {every}" if every > 1 else ""
    return {
        "command": f"python -m tests.oracles.designs{some}{' --tables' if tables else ''} --write",
        "transformers": transformers.__version__,
        "folders": len(folders),
    }


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the table's rows")
    parser.add_argument("--tables", action="store_true", help="by the tables, not by the class")
    parser.add_argument("--mark", action="store_true", help="with --tables: mark the classes that differ there")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="of the model folders each Nth")
    parser.add_argument("folders", nargs="*", metavar="FOLDER")
    options = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    start = time.time()
    every = sorted(path.name for path in MODELS.iterdir() if path.is_dir() and path.name not in ("auto", "__pycache__"))
    folders = options.folders or every[options.every // 2 :: options.every]
    found = run(folders, options.tables)
    for title in ("differs", "not_exact", "untold", "not_built"):
        for name, problem in sorted(getattr(found, title).items()):
            print(f"  {title}: {name}: {problem}")
    print(
        f"transformers {transformers.__version__}: {len(found.equal)} of {len(found.classes)} classes agree,"
        f" {found.equal_configs} of {found.configs} configs, {time.time() - start:.0f} s"
    )
    if options.mark and options.tables:
        mark(found.differs)
    if options.write:
        name = "designs_by_tables" if options.tables else "designs"
        table.keep(name, head(options.every, folders, options.tables) | rows(found))
    return 1 if found.differs else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
