"""Counts every model class of transformers from its files' headers, and compares with the class's own count.

    python -m tests.oracles.parameters              every class, each from its default config and two random ones
    python -m tests.oracles.parameters llama bert   those of some model folders
    python -m tests.oracles.parameters --write      also docs/oracles/parameters.json, tests/model/classes_sample.json

Each class is built on the meta device. What save_pretrained would write of it (config.json without the defaults, the
state dict's names and shapes as safetensors headers, in one file or in three) is put on a loopback Hub and read back
by the resolver; total and facts must be the class's own. Needs torch; timm, torchvision and pillow for some.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import multiprocessing
import os
import random
import sys
import tempfile
import time
import warnings
import zlib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
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
from inspector.hub.cache.snapshot import encode_tensors, split_name  # noqa: E402
from inspector.hub.checkpoint import Checkpoint  # noqa: E402
from inspector.hub.resolver import Resolver  # noqa: E402
from inspector.model.architecture import is_decoder_alone  # noqa: E402
from inspector.model.build import build_model  # noqa: E402
from tests.hub_server import LoopbackHub, sharded, sparse  # noqa: E402
from tests.oracles import table  # noqa: E402
from tests.oracles.facts import is_named, loaded, wrong_facts  # noqa: E402
from tests.oracles.variations import Changes, config_with, halves, layer_kinds, variations  # noqa: E402

VARIATIONS = 2
SAMPLE = ROOT / "tests" / "model" / "classes_sample.json"
SAMPLE_LIMIT, SAMPLE_LINE, SAMPLED = 280_000, 4_000, 3
"""Bytes of the builds that are stored for `make test`, of one build, and how many a folder may give."""


@dataclass
class Found:
    """What a run found, by class."""

    classes: set[str] = field(default_factory=set)
    variations: int = 0
    refused: int = 0
    wrong: dict[str, list[str]] = field(default_factory=dict)
    wrong_facts: dict[str, list[str]] = field(default_factory=dict)
    unsure: dict[str, str] = field(default_factory=dict)
    alarms: dict[str, str] = field(default_factory=dict)
    unvaried: dict[str, str] = field(default_factory=dict)
    unbuilt: dict[str, str] = field(default_factory=dict)
    sample: list[str] = field(default_factory=list)

    def add(self, other: Found) -> None:
        """Takes in what another folder's run found."""
        self.classes |= other.classes
        self.variations += other.variations
        self.refused += other.refused
        for mine, theirs in ((self.wrong, other.wrong), (self.wrong_facts, other.wrong_facts)):
            mine.update(theirs)
        self.alarms.update(other.alarms)
        for own, more in ((self.unsure, other.unsure), (self.unvaried, other.unvaried), (self.unbuilt, other.unbuilt)):
            own.update(more)
        self.sample += other.sample


class Repos:
    """A loopback Hub that holds one repo at a time, and the resolver that reads it."""

    def __init__(self, hub: LoopbackHub, resolver: Resolver) -> None:
        self._hub, self._resolver, self._count = hub, resolver, 0

    def read_back(self, model: PreTrainedModel, shards: int) -> Checkpoint:
        """The checkpoint of what save_pretrained would write of a model."""
        tensors = {
            name: (meta.DTYPES[value.dtype], list(value.shape)) for name, value in meta.saved_state(model).items()
        }
        shards = min(shards, len(tensors))
        files = sharded(tensors, shards) if shards > 1 else {"model.safetensors": sparse(tensors, {"format": "pt"})}
        self._count += 1
        name = f"oracle/{type(model).__name__}-{self._count}"
        self._hub.add_repo(name, {"config.json": written_config(model), **files})
        try:
            return self._resolver.resolve(name)
        finally:
            self._hub.remove_repo(name)


def written_config(model: PreTrainedModel) -> dict[str, Any]:
    """config.json as save_pretrained writes it: what differs from the class's defaults, and the class's name."""
    model.config.architectures = [type(model).__name__]
    written: dict[str, Any] = json.loads(model.config.to_json_string(use_diff=True))
    return written


def varied(model_class: type[PreTrainedModel], changes: Changes) -> tuple[PreTrainedModel | None, int, str]:
    """The class built with these changes, or with as many of them as it accepts; how often it refused, and why."""
    rng = random.Random(zlib.crc32(repr(sorted(changes)).encode()))
    refused, reason = 0, "nothing to vary"
    for some in halves(changes, rng):
        try:
            model = meta.build(model_class, config_with(model_class, some))
            meta.saved_state(model)  # some have sizes that save_pretrained cannot take apart again
            return model, refused, ""
        except Exception as error:  # whatever a class raises for values that do not suit it
            refused += 1
            reason = one_line(error)
    return None, refused, reason


def check(model: PreTrainedModel, repos: Repos, shards: int, found: Found, label: str) -> None:
    """Compares one build with what is read back of it."""
    name = type(model).__name__
    checkpoint = repos.read_back(model, shards)
    counted = build_model(checkpoint).parameters
    truth = model.num_parameters()
    if counted.total != truth:
        found.wrong.setdefault(name, []).append(
            f"{label}: {counted.total:,} counted, {truth:,} held; {dict(counted.stored_only)} {counted.notes[:1]}"
        )
    elif not counted.exact:
        found.unsure.setdefault(name, f"{label}: {counted.notes[:1]}")
    elif alarms := [*checkpoint.warnings, *counted.notes]:  # what a class saved itself is nothing to warn of
        found.alarms.setdefault(name, f"{label}: {alarms[0]}")
    config_class = type(model.config)
    # Else no config.json tells that it is one of these; and a causal class of an encoder-decoder is its decoder alone,
    # while its config's attributes speak of the encoder.
    if is_named(config_class) and not is_decoder_alone(checkpoint.config):
        with contextlib.suppress(Exception):  # a class that cannot read what it wrote
            again = loaded(config_class, checkpoint.config)
            if wrong := [f"{label}: {fact}" for fact in wrong_facts(again, checkpoint.config)]:
                found.wrong_facts.setdefault(name, []).extend(wrong)
    if counted.total == truth:
        row = {"class": name, "variation": label, "parameters": truth, "config": checkpoint.config}
        row["tensors"] = encode_tensors(checkpoint.tensors)
        line = json.dumps(row, separators=(",", ":"))
        if len(line) < SAMPLE_LINE:
            found.sample.append(line)


def check_class(name: str, model_class: type[PreTrainedModel], repos: Repos, found: Found) -> None:
    try:
        model = meta.build(model_class, default_config(model_class))
        if not any(True for _ in model.parameters()):  # a base class
            return
        check(model, repos, 1, found, "default")
    except Exception as error:
        found.unbuilt[name] = one_line(error)
        return
    found.classes.add(name)
    seen = {frozenset(split_name(name)[0] for name, _ in model.named_parameters())}
    built = 0
    reason = ""
    for number, changes in enumerate(variations(model_class, VARIATIONS), 1):
        model_or_none, refused, reason = varied(model_class, changes)
        found.refused += refused
        if model_or_none is None:
            continue
        built += 1
        try:
            check(model_or_none, repos, 3 if number == 2 else 1, found, f"variation {number}")
        except Exception as error:
            found.wrong.setdefault(name, []).append(f"variation {number}: {one_line(error)}")
    for changes in layer_kinds(model_class):
        model_or_none, _, _ = varied(model_class, changes)
        held = frozenset(split_name(name)[0] for name, _ in model_or_none.named_parameters()) if model_or_none else None
        if model_or_none is None or held in seen:  # no kind of this class, or one like another
            continue
        built += 1
        seen.add(held)
        (path, kinds), *_ = changes.items()
        try:
            check(model_or_none, repos, 1, found, f"{path} {kinds[1]}")
        except Exception as error:
            found.wrong.setdefault(name, []).append(f"{path} {kinds[1]}: {one_line(error)}")
    found.variations += built
    if not built:
        found.unvaried[name] = reason


def one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:160]


def run_folder(folder: str) -> Found:
    """Every class of a model folder."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    found = Found()
    classes = make_classes.model_classes(Path(transformers.__file__).parent / "models" / folder)
    with tempfile.TemporaryDirectory() as home, LoopbackHub() as hub:
        os.environ["HF_HOME"] = home
        with Resolver(endpoint=hub.url, token=False, cache_dir=Path(home)) as resolver:
            repos = Repos(hub, resolver)
            for name, model_class in classes.items():
                if name not in make_classes.NO_MODELS:
                    check_class(name, model_class, repos, found)
    found.sample = sorted(found.sample, key=lambda line: (len(line), line))[:SAMPLED]
    return found


def run(folders: list[str], jobs: int) -> Found:
    """Every class of some model folders, or of all."""
    models = Path(transformers.__file__).parent / "models"
    every = sorted(path.name for path in models.iterdir() if path.is_dir())
    whole = Found()
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for found in pool.map(run_folder, folders or every):
            whole.add(found)
    return whole


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the table's rows and the sample that tests replay")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("folders", nargs="*", metavar="FOLDER")
    options = parser.parse_args(arguments)
    start = time.time()
    found = run(options.folders, options.jobs)
    report(found, time.time() - start)
    if options.write:
        table.write("parameters", rows(found))
        SAMPLE.write_text(sample_text(found.sample), "utf-8")
    return 1 if len(found.wrong) > len(found.classes) // 100 else 0


def rows(found: Found) -> dict[str, Any]:
    """What docs/oracles.md is made from."""
    facts = {name: problems[0] for name, problems in sorted(found.wrong_facts.items()) if problems}
    return {
        "classes": len(found.classes),
        "variations": found.variations,
        "refused": found.refused,
        "equal": len(found.classes - found.wrong.keys()),
        "differs": {name: problems[0] for name, problems in sorted(found.wrong.items())},
        "unsure": dict(sorted(found.unsure.items())),
        "alarms": dict(sorted(found.alarms.items())),
        "facts_differ": facts,
        "not_varied": dict(sorted(found.unvaried.items())),
        "not_built": dict(sorted(found.unbuilt.items())),
    }


def report(found: Found, seconds: float) -> None:
    checked, wrong = len(found.classes), len(found.wrong)
    print(
        f"transformers {transformers.__version__}: {checked - wrong} of {checked} classes agree, each by default and "
        f"in {found.variations} random variations together ({found.refused} refused by their class), {seconds:.0f} s"
    )
    lists = {
        "differs": found.wrong,
        "right, but not sure": {name: [why] for name, why in found.unsure.items()},
        "false alarm": {name: [why] for name, why in found.alarms.items()},
        "facts differ": found.wrong_facts,
        "not varied": {name: [why] for name, why in found.unvaried.items()},
        "not built": {name: [why] for name, why in found.unbuilt.items()},
    }
    for title, names in lists.items():
        for name, problems in sorted(names.items()):
            for problem in problems:
                print(f"  {title}: {name}: {problem}")


def sample_text(builds: list[str]) -> str:
    """Some of the builds, spread over all folders: for tests/model/test_class_sample.py."""
    step = max(1, sum(map(len, builds)) // SAMPLE_LIMIT + 1)
    head = f'"generator": "python -m tests.oracles.parameters --write", "transformers": "{transformers.__version__}"'
    return f'{{{head}, "builds": [\n' + ",\n".join(builds[::step]) + "\n]}\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
