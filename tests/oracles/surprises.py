"""Random surprises in config.json: keys dropped, nulled, flipped, nested and flat; ties outside and inside; sizes.

    python -m tests.oracles.surprises                  every class of every model folder (half an hour)
    python -m tests.oracles.surprises llama qwen2_vl   those of some folders
    python -m tests.oracles.surprises --every 4        a quarter of the classes is built with other ties and sizes
    python -m tests.oracles.surprises --salt 2         another sample: other configs, changes and classes built
    python -m tests.oracles.surprises --kept FILE      keeps what each folder gave; a stopped run goes on where it was
    python -m tests.oracles.surprises --kept FILE bert tries these folders again, and tells of all that are kept
    python -m tests.oracles.surprises --write          also docs/oracles/surprises.json, tests/model/surprises.json

A config.json that a class wrote is changed at random. What transformers makes of it is the truth: the config class's
values, the model's parameters (on the meta device), or that the class refuses. What is told must be the same, or
unknown, or come with a note; anything else is a silent difference. Sizes are changed under files that stay as they are:
where the class then has other shapes, a note must say so; where a config states a key of inspector/data/untold.json it
may be the class's own word, as where transformers is installed (counted apart: `by_class`). Needs torch.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import dataclasses
import json
import logging
import random
import sys
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from fixtures import stand_ins  # noqa: E402

stand_ins.provide()

import transformers  # noqa: E402
from transformers import PretrainedConfig, PreTrainedModel  # noqa: E402

from fixtures import make_classes, meta  # noqa: E402
from inspector.errors import InspectError  # noqa: E402
from inspector.hub.cache.snapshot import encode_tensors  # noqa: E402
from inspector.hub.checkpoint import Checkpoint, Tensor  # noqa: E402
from inspector.model.architecture import read_architecture  # noqa: E402
from inspector.model.build import build_model  # noqa: E402
from inspector.model.config.text import KEYS  # noqa: E402
from inspector.model.design.compared import ASKED  # noqa: E402
from tests.oracles.facts import is_named, loaded, wrong_facts  # noqa: E402
from tests.oracles.variations import SIZES, config_with, halves, variations  # noqa: E402

Json = dict[str, Any]
TIES = "tie_word_embeddings"
HEADS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "ForMaskedLM", "Model")
"""Ends of the names of the classes that are tried of a config class: the first two that it has."""
PER_KIND, SIZES_TRIED = 4, 2
SAMPLE, SAMPLE_LIMIT = ROOT / "tests" / "model" / "surprises.json", 250_000
NAMES = frozenset({"model_type", "architectures", "transformers_version"})
"""Keys that stay: they say what the config is."""


@dataclass
class Found:
    """What a run found: numbers by what was done, and by name what is wrong."""

    classes: set[str] = field(default_factory=set)
    built: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    silent: dict[str, str] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)
    refused_here: dict[str, str] = field(default_factory=dict)
    sample: list[str] = field(default_factory=list)

    def add(self, other: Found) -> None:
        """Takes in what another folder's run found."""
        for each in dataclasses.fields(self):
            mine, theirs = getattr(self, each.name), getattr(other, each.name)
            mine.extend(theirs) if isinstance(mine, list) else mine.update(theirs)

    def line(self) -> Json:
        """What a file of kept folders has of it."""
        return {key: sorted(value) if isinstance(value, set) else value for key, value in vars(self).items()}

    @classmethod
    def of(cls, line: Json) -> Found:
        """What was kept."""
        sets = {"classes": set(line["classes"]), "built": set(line["built"]), "counts": Counter(line["counts"])}
        return cls(**{**line, **sets})

    def rows(self) -> Json:
        """What docs/oracles.md is made from."""
        numbers = {"classes": len(self.classes), "built": len(self.built), **dict(sorted(self.counts.items()))}
        lists = {"silent": self.silent, "told_though_refused": self.told, "refused_here": self.refused_here}
        return numbers | {title: dict(sorted(names.items())) for title, names in lists.items()}


def leaves(config: Json, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Dotted path of each key whose value is none of a part's -> its value."""
    for key, value in config.items():
        if isinstance(value, dict) and value and depth < 2:
            yield from leaves(value, f"{prefix}{key}.", depth + 1)
        elif key not in NAMES:
            yield prefix + key, value


def with_value(config: Json, path: str, *value: Any) -> Json:
    """A copy in which a path has a value, or (without one) is missing."""
    changed = copy.deepcopy(config)
    *parts, key = path.split(".")
    where = changed
    for part in parts:
        where = where[part]
    where.pop(key, None)
    if value:
        where[key] = value[0]
    return changed


def surprises(written: Json, config: PretrainedConfig, rng: random.Random) -> Iterator[tuple[str, Json]]:
    """Kind and path of each change, and the config with it."""
    paths = dict(leaves(written))
    likely = [path for path in paths if path.rpartition(".")[2] in KEYS or path.rpartition(".")[2] in SIZES]
    for kind, value in (("drop", ()), ("null", (None,))):
        for path in rng.sample(likely, min(PER_KIND, len(likely))) + rng.sample(sorted(paths), min(2, len(paths))):
            yield f"{kind} {path}", with_value(written, path, *value)
    flags = [path for path, value in paths.items() if isinstance(value, bool) and not path.endswith(TIES)]
    for path in rng.sample(flags, min(PER_KIND, len(flags))):
        yield f"flip {path}", with_value(written, path, not paths[path])
    some = rng.sample(sorted(paths), len(paths) // 2)
    sparse = copy.deepcopy(written)
    for path in some:
        sparse = with_value(sparse, path)
    yield "drop half", sparse
    text = config.get_text_config(decoder=True)
    part = next((key for key in getattr(config, "sub_configs", {}) if getattr(config, key, None) is text), None)
    inner = written.get(part) if part else None
    if part and isinstance(inner, dict):
        outside = {key: value for key, value in written.items() if key != part}
        yield "flat", {**inner, **outside}
        yield "flat and nested", {**inner, **outside, part: inner}
        yield f"null {part}", {**written, part: None}
    elif not part:
        yield "nested", {key: written[key] for key in NAMES & written.keys()} | {"text_config": written}
    aliases = {key: name for name, key in config.attribute_map.items() if key in written and name not in written}
    for key in rng.sample(sorted(aliases), min(2, len(aliases))):
        yield f"alias {key}", {aliases[key] if name == key else name: value for name, value in written.items()}


def ties(written: Json, config: PretrainedConfig) -> Iterator[tuple[str, Json]]:
    """Every pair of tie flags, outside and in the language part: missing, true, false."""
    text = config.get_text_config(decoder=True)
    part = next((key for key in getattr(config, "sub_configs", {}) if getattr(config, key, None) is text), None)
    part = part if isinstance(written.get(part or ""), dict) else None
    for outer in ((), (True,), (False,), (None,)):
        for inner in ((), (True,), (False,)) if part else ((),):
            changed = with_value(written, TIES, *outer)
            if part:
                changed = with_value(changed, f"{part}.{TIES}", *inner)
            yield f"ties {outer or '-'} {inner if part else ''}", changed


def other_sizes(written: Json, rng: random.Random) -> Iterator[tuple[str, Json]]:
    """The config with one size changed."""
    sizes = [
        (path, value) for path, value in leaves(written) if path.rpartition(".")[2] in SIZES and type(value) is int
    ]
    for path, value in rng.sample(sizes, min(SIZES_TRIED, len(sizes))):
        others = [other for other in SIZES[path.rpartition(".")[2]] if type(other) is int and other != value]
        if others:
            yield f"size {path}", with_value(written, path, rng.choice(others))


class Tried:
    """A class of the release, one small config of it, and what is told of its surprises."""

    def __init__(self, model_class: type[PreTrainedModel], found: Found, salt: str = "") -> None:
        self.model_class, self.found = model_class, found
        self.rng = random.Random(zlib.crc32(f"{model_class.__name__}{salt}".encode()))
        self.config = self._small(f"surprises{salt}")
        self.config.architectures = [model_class.__name__]
        self.written: Json = json.loads(self.config.to_json_string(use_diff=True))

    def _small(self, salt: str) -> PretrainedConfig:
        """A random config of the class that can be built."""
        for changes in variations(self.model_class, 1, salt=salt):
            for some in halves(changes, self.rng):
                try:
                    config = config_with(self.model_class, some)
                    self.base = meta.build(self.model_class, config)
                    return config
                except Exception:  # whatever a class raises for values that do not suit it
                    continue
        config = config_with(self.model_class, {})
        self.base = meta.build(self.model_class, config)
        return config

    def facts(self) -> None:
        """What is read of changed configs, against what the config class has."""
        for label, changed in (*surprises(self.written, self.config, self.rng), *ties(self.written, self.config)):
            name = f"{self.model_class.__name__}: {label}"
            truth = self._loaded(changed)
            try:
                read = read_architecture(changed)
            except InspectError as error:
                self.found.counts["refused"] += 1
                if truth is not None and not _hopeless(error):  # zero heads, which some class takes
                    self.found.refused_here[name] = error.message[:160]
                continue
            if truth is None:
                self.found.counts["refused"] += 1
                if read.exact and not read.notes and self._is_read(label):
                    self.found.told[name] = "read without a note"
                continue
            self.found.counts["configs"] += 1
            wrong = [
                fact
                for fact in self._wrong_facts(truth, changed)
                if TIES not in fact or (changed.get(TIES) is not False and not fact.startswith(f"{TIES} is None"))
            ]
            noted = not read.exact or bool(read.notes)
            self.found.counts["noted_and_right"] += noted and not wrong
            if wrong and not noted:
                told = self.found.silent if self._built(changed, {}) is not None else self.found.told
                told[name] = wrong[0]

    def parameters(self) -> None:
        """What is counted of what a class makes of changed tie flags, and of sizes that the files do not have."""
        known: dict[str, PreTrainedModel] = {}
        try:
            base = self._saved(self.base)
        except Exception:  # sizes that save_pretrained cannot take apart again
            return
        for label, changed in ties(self.written, self.config):
            model = self._built(changed, known)
            if model is not None:
                self._compare(label, changed, self._saved(model), model.num_parameters())
                if changed.get(TIES) is not False:  # then only equal values are tied, which no header shows
                    self._compare(f"{label}, all stored", changed, self._whole(model), model.num_parameters())
        for label, changed in other_sizes(self.written, self.rng):
            model = self._built(changed, known)
            if model is not None and self._saved(model) != base:
                self.found.counts["other_sizes"] += 1
                self._compare(label, changed, base, None)

    def _is_read(self, label: str) -> bool:
        """Whether a change is of a key of the language part that is read."""
        kind, _, path = label.partition(" ")
        text = self.config.get_text_config(decoder=True)
        names = {text.attribute_map.get(key, key) for key in KEYS} | set(KEYS)
        inside = (text is self.config and "." not in path) or path.startswith("text_config.")
        inside |= path in (TIES, "text_config")
        return kind in ("nested", "flat", "ties") or (inside and path.rpartition(".")[2] in names)

    def _wrong_facts(self, truth: PretrainedConfig, changed: Json) -> list[str]:
        """Of an encoder-decoder's causal class the decoder counts, whatever the file says of encoders."""
        alone = self.model_class.__name__.endswith("ForCausalLM") and type(self.config).is_encoder_decoder
        if alone:
            truth.is_encoder_decoder = True
        return wrong_facts(truth, changed, alone=alone)

    def _loaded(self, changed: Json) -> PretrainedConfig | None:
        try:
            return loaded(self.model_class.config_class, changed)
        except Exception:  # whatever a class raises for values that do not suit it
            return None

    def _built(self, changed: Json, known: dict[str, PreTrainedModel]) -> PreTrainedModel | None:
        config = self._loaded(changed)
        if config is None:
            return None
        key = config.to_json_string(use_diff=False)
        if key not in known:
            try:
                model = meta.build(self.model_class, config)
                meta.saved_state(model)  # some have sizes that save_pretrained cannot take apart again
            except Exception:
                return None
            known[key] = model
        return known[key]

    def _saved(self, model: PreTrainedModel) -> tuple[Tensor, ...]:
        state = meta.saved_state(model).items()
        return tuple(Tensor(name, meta.DTYPES[value.dtype], tuple(value.shape)) for name, value in state)

    def _whole(self, model: PreTrainedModel) -> tuple[Tensor, ...]:
        """What is saved, and beside it all that is tied to it under its own name in memory."""
        stored = {tensor.name: tensor for tensor in self._saved(model)}
        for name, value in model.state_dict().items():
            if name in (getattr(model, "all_tied_weights_keys", None) or {}) and name not in stored:
                stored[name] = Tensor(name, meta.DTYPES[value.dtype], tuple(value.shape))
        return tuple(stored.values())

    def _compare(self, label: str, changed: Json, tensors: tuple[Tensor, ...], held: int | None) -> None:
        """What is counted against what the class holds; None: the files are not the class's, and a note is due."""
        name = f"{self.model_class.__name__}: {label}"
        model = build_model(Checkpoint("a/b", None, "local", changed, tensors))
        counted = model.parameters
        self.found.counts["counted"] += 1
        self.found.built.add(self.model_class.__name__)
        noted = bool(counted.notes or model.architecture.notes) if held is None else not counted.exact
        told = (*counted.notes, *model.architecture.notes)
        self.found.counts["by_class"] += bool(told) and all(ASKED in note for note in told)
        if counted.total != held and not noted:  # listed in docs/oracles.md, and in no sample
            self.found.silent[name] = (
                f"{counted.total:,} counted, {'other shapes' if held is None else f'{held:,} held'}"
            )
        row = {"class": self.model_class.__name__, "surprise": label, "parameters": held, "config": changed}
        line = json.dumps({**row, "tensors": encode_tensors(tensors)}, separators=(",", ":"))
        if len(line) < 4_000 and not label.endswith("stored") and name not in self.found.silent:
            self.found.sample.append(line)


def _hopeless(error: InspectError) -> bool:
    """A number that no model can be made of, though a config class takes it."""
    return "no model can have" in error.message


def tried_classes(folder: str) -> Iterator[type[PreTrainedModel]]:
    """The classes of a model folder: of each config class that a config.json can name, the first two by their ends."""
    by_config: dict[type, list[type[PreTrainedModel]]] = {}
    for name, model_class in make_classes.model_classes(Path(transformers.__file__).parent / "models" / folder).items():
        if name not in make_classes.NO_MODELS and is_named(model_class.config_class):
            by_config.setdefault(model_class.config_class, []).append(model_class)
    for classes in by_config.values():
        ranked = [each for end in HEADS for each in classes if each.__name__.endswith(end)]
        yield from list(dict.fromkeys(ranked))[:2] or classes[:1]


def tried(folder: str, *, every: int, salt: str = "") -> Found:
    """What a model folder gives. `every`: of how many classes one is built with other ties and under other sizes; 0
    for none. `salt`: another one gives other small configs, other changes of them, and builds of other classes."""
    found = Found()
    seen: set[type] = set()
    for model_class in tried_classes(folder):
        try:
            each = Tried(model_class, found, salt)
        except Exception as error:
            print(f"  not built: {model_class.__name__}: {' '.join(str(error).split())[:100]}")
            continue
        found.classes.add(model_class.__name__)
        if model_class.config_class not in seen:
            each.facts()
        seen.add(model_class.config_class)
        if every and zlib.crc32(f"{salt}{model_class.__name__}".encode()) % every == 0:
            each.parameters()
    return found


def run(folders: list[str], *, every: int, salt: str = "", kept: Path | None = None) -> Found:
    """What these folders give, or all; with a file of kept folders, all that it has then."""
    models = Path(transformers.__file__).parent / "models"
    names = folders or sorted(path.name for path in models.iterdir() if path.is_dir())
    by_folder: dict[str, Found] = {}
    for line in kept.read_text("utf-8").splitlines() if kept is not None and kept.exists() else ():
        with contextlib.suppress(json.JSONDecodeError):  # of a run that was stopped
            row = json.loads(line)
            if (row["transformers"], row["every"], row["salt"]) == (transformers.__version__, every, salt):
                by_folder[row["folder"]] = Found.of(row["found"])
    for folder in names:
        if folders or folder not in by_folder:
            by_folder[folder] = tried(folder, every=every, salt=salt)
            if kept is not None:
                row = {"folder": folder, "transformers": transformers.__version__, "every": every, "salt": salt}
                with kept.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({**row, "found": by_folder[folder].line()}) + "\n")
    found = Found()
    for _, each in sorted(by_folder.items()):
        found.add(each)
        found.counts["folders"] += bool(each.classes)
    return found


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the table's rows and the sample that tests replay")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="build one of N classes anew; 0: none")
    parser.add_argument("--salt", default="", metavar="TEXT", help="draws other configs, changes and classes by it")
    parser.add_argument("--kept", type=Path, metavar="FILE", help="where each folder's findings are kept")
    parser.add_argument("folders", nargs="*", metavar="FOLDER")
    options = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    start = time.time()
    found = run(options.folders, every=options.every, salt=options.salt, kept=options.kept)
    rows = found.rows()
    print({key: value for key, value in rows.items() if isinstance(value, int)}, f"{time.time() - start:.0f} s")
    for title in ("silent", "told_though_refused", "refused_here"):
        print(f"{title}: {len(rows[title])}")
        for name, why in rows[title].items():
            print(f"  {title}: {name}: {why}")
    if options.write:
        from tests.oracles import table

        name, command = "surprises", "python -m tests.oracles.surprises"
        if options.salt:
            name, command = "surprises_unseen", f"{command} --salt {options.salt}"
        if options.every != 1:
            command += f" --every {options.every}"
        table.keep(name, {"command": f"{command} --write", "transformers": transformers.__version__, **rows})
        if options.salt:
            return 1 if found.silent else 0
        step = max(1, sum(map(len, found.sample)) // SAMPLE_LIMIT + 1)
        head = f'"generator": "python -m tests.oracles.surprises --write", "transformers": "{transformers.__version__}"'
        SAMPLE.write_text(f'{{{head}, "builds": [\n' + ",\n".join(found.sample[::step]) + "\n]}\n", "utf-8")
    return 1 if found.silent else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
