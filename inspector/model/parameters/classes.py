"""What transformers' model classes hold, from the generated table in inspector/data/classes/.

Regenerate the table with `python fixtures/make_classes.py`. Only the one file that describes a class is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

from inspector.hub.cache.snapshot import parse_indices, split_name
from inspector.hub.checkpoint import PLACEHOLDER
from inspector.model.parameters.names import component, modules
from inspector.tables import table_text

Status = Literal["parameter", "buffer", "not_loaded", "unknown"]

OLD_NAMES = (
    ("LayerNorm.gamma", "LayerNorm.weight"),
    ("LayerNorm.beta", "LayerNorm.bias"),
    (".weight_g", ".parametrizations.weight.original0"),
    (".weight_v", ".parametrizations.weight.original1"),
)
"""Spellings of TensorFlow's and of torch's old weight norm. Source: the "legacy" list of transformers'
conversion_mapping.py, applied to every class."""

BUFFER = re.compile(
    r"(^|\.)(inv_freq|original_inv_freq|cos_cached|sin_cached|position_ids|token_type_ids|masked_bias|causal_mask|"
    r"attn_mask|bias_mask|num_batches_tracked|running_mean|running_var|relative_position_index|"
    r"relative_coords_table|position_bucket_ids|e_score_correction_bias|dft_mat_\w+|std_bias|std_scale)$"
)
"""Ends of names that are buffers in the classes that have them, and leftovers of older versions where not."""


WRAPPERS = frozenset({"model", "transformer", "base_model", "module", "language_model"})
"""First components that another version of a class, or a training wrapper, puts before all names."""


@dataclass(frozen=True)
class ModelClass:
    """One class of the table. All templates are relative to `base`, the class's base_model_prefix.

    Attributes:
        parameters: of the default config.
        optional: templates held only under a switch, "attention_bias=true", of the config.
        buffers: persistent or not.
        mixed: templates that are parameters for one number and buffers for another (a convolution and the frozen
            batch norm after it) -> the buffers' rank.
        ties: template -> the one it is tied to where the config ties (and the file may hold both).
        shared: template -> the one it always shares a tensor with.
        tied: the class ties where the config says nothing.
        tied_by: switch, "text_config.tie_word_embeddings=true" -> whether the class ties with it.
        untied: condition -> names that share no tensor under it, though they do by default.
        freed: condition -> buffers of the default config that are parameters under it.
        frozen: condition -> parameters of the default config that are buffers under it -> the buffers' rank.
        always_tied: the class ties its embeddings, if not its head, even where the config says not to.
        unsaved: parameters that no file holds and the class makes anew -> their shape in the config's keys, empty where
            those do not tell.
        renames: what from_pretrained renames, in order: (scope, base of the scope, pattern, replacement).
        rows: parameters of fewer rows than files hold, which pad them -> the config's key of their number, its default.
        repeats: modules of a list that share one another's tensors -> the config's key that says how many of them
            differ, that number by default, the switches under which all of them do.
        ignored: patterns of names that from_pretrained leaves out without a warning.
        siblings: parameters of the other classes of the same file.
    """

    name: str
    base: str
    parameters: frozenset[str]
    optional: Mapping[str, frozenset[str]]
    buffers: frozenset[str]
    mixed: Mapping[str, int]
    ties: Mapping[str, str]
    shared: Mapping[str, str]
    tied: bool
    tied_by: Mapping[str, bool]
    untied: Mapping[str, tuple[str, ...]]
    freed: Mapping[str, frozenset[str]]
    frozen: Mapping[str, Mapping[str, int]]
    always_tied: bool
    unsaved: Mapping[str, tuple[str, ...]]
    renames: tuple[tuple[str, str, str, str], ...]
    rows: Mapping[str, tuple[str, int]]
    repeats: Mapping[str, tuple[str, int, tuple[str, ...]]]
    ignored: tuple[str, ...]
    siblings: frozenset[str]

    @cached_property
    def held(self) -> frozenset[str]:
        """Every parameter that some config of the class has."""
        return self.parameters.union(*self.optional.values())

    @cached_property
    def known(self) -> frozenset[str]:
        return self.held | self.buffers | self.ties.keys() | self.shared.keys()

    @cached_property
    def modules(self) -> frozenset[str]:
        """What holds the parameters: their names without the last component."""
        return frozenset(name.rpartition(".")[0] for name in self.held)

    def locate(self, template: str) -> tuple[str, Status]:
        """How the class knows a file's template, and as what.

        The prefix of the base model may be missing or one too many; old spellings are put right.
        """
        for name in self._spellings(template):
            if name in self.known:
                return name, "buffer" if name in self.buffers else "parameter"
        bare = self.bare(template)
        if BUFFER.search(bare):
            return bare, "buffer"
        sample = template.replace(PLACEHOLDER, "0")
        if bare in self.siblings or any(re.search(pattern, sample) for pattern in self.ignored):
            return bare, "not_loaded"
        return bare, "unknown"

    def bare(self, template: str) -> str:
        """The template without the base model's prefix."""
        return template.removeprefix(f"{self.base}.") if self.base else template

    def renamed(self, template: str) -> tuple[str, ...]:
        """What a template of a file may be called once from_pretrained has renamed it."""
        names = (template, f"{self.base}.{template}") if self.renames else ()
        return tuple(self.bare(self._rename(name)) for name in names)

    def switched_on(self, template: str, config: Mapping[str, Any]) -> bool:
        """Whether the class, made from this config, holds an optional template (or one that all configs have)."""
        return template in self.parameters or any(
            template in names and _is_set(switch, config) for switch, names in self.optional.items()
        )

    def switches_on(self, config: Mapping[str, Any]) -> dict[str, frozenset[str]]:
        """The switches that are set in this config, and the optional templates that are there for them."""
        return {switch: names for switch, names in self.optional.items() if _is_set(switch, config)}

    def lacks(self, names: Iterable[str], config: Mapping[str, Any]) -> bool:
        """Whether names leave out a module, or a bias, that the class has by default, or under a switch that is set.

        A quick look: the config may say that there is none (`inspector.model.design.missing`).
        """
        held = {*names}
        there = modules(held)
        due = self.parameters.union(*self.switches_on(config).values())
        due -= {*self.ties, *self.ties.values(), *self.shared, *self.shared.values()}
        return any(
            name.rpartition(".")[0] not in there if not name.endswith(".bias") else name not in held for name in due
        )

    def is_buffer(self, template: str, status: Status, rank: int, config: Mapping[str, Any]) -> bool:
        """Whether the class, made from this config, has a tensor of that name and rank as a buffer.

        `status` is what `locate` said of the name.
        """
        if any(ranks.get(template) == rank and _is_set(switch, config) for switch, ranks in self.frozen.items()):
            return True
        if template in self.buffers or self.mixed.get(template) == rank:
            return not any(template in names and _is_set(switch, config) for switch, names in self.freed.items())
        return status == "buffer"

    def kept_apart(self, config: Mapping[str, Any]) -> frozenset[str]:
        """Names that share no tensor with this config, though they do by default."""
        return frozenset(name for switch, names in self.untied.items() if _is_set(switch, config) for name in names)

    def twins(self, config: Mapping[str, Any], *, tied: bool) -> dict[str, str]:
        """Twin -> the name that is kept, of what is tied with this config.

        Args:
            tied: the class ties what it can.
        """
        apart = self.kept_apart(config)
        # A class that always ties its embeddings (T5) still has a head of its own where the config says so
        return {
            name: kept
            for name, kept in self.ties.items()
            if (tied or (self.always_tied and component(name) != "head")) and name not in apart
        }

    def rows_of(self, template: str, config: Mapping[str, Any]) -> int | None:
        """How many rows of a stored weight the class loads; None: all of them."""
        name = next((name for name in self._spellings(template) if name in self.rows), None)
        if name is None:
            return None
        key, default = self.rows[name]
        found = _value(key, config)
        return found if type(found) is int and found > 0 else default

    def differing(self, config: Mapping[str, Any]) -> dict[str, int]:
        """Modules of a list, "layers.{}.shared_transf" -> how many of them have tensors of their own; the others share
        those."""
        found = {}
        for module, (key, default, unless) in self.repeats.items():
            number = _value(key, config) if key else default
            if not any(_is_set(switch, config) for switch in unless):
                found[module] = number if type(number) is int and number > 0 else default
        return found

    def ties_with(self, config: Mapping[str, Any]) -> bool:
        """Whether the class, made from this config, ties what it can tie."""
        for switch, effect in self.tied_by.items():
            if _is_set(switch, config):
                return effect
        return self.tied

    def _spellings(self, template: str) -> Iterator[str]:
        yield self.bare(template)
        for old, new in OLD_NAMES:
            if template.endswith(old):
                template = template.removesuffix(old) + new
                yield self.bare(template)
        yield from self.renamed(template)
        first, _, inner = template.partition(".")
        if first in WRAPPERS:
            yield self.bare(inner)

    def _rename(self, template: str) -> str:
        """What from_pretrained makes of a name. Source: WeightTransform.rename_source_key of transformers."""
        name = template.replace(PLACEHOLDER, "0")
        for scope, base, pattern, target in self.renames:
            front = f"{scope}." if scope else ""
            whole = f"{base}.{front}" if base else front
            taken = whole if name.startswith(whole) else front
            if not name.startswith(taken):
                continue
            rest = name.removeprefix(taken)
            match = re.search(pattern, rest)
            if match is None:
                continue
            group = next(key for key, value in match.groupdict().items() if value is not None)
            replacement = target
            if r"\1" in target:
                replacement = target.replace(r"\1", match.group(match.re.groupindex[group] + 1) or "")
            name = taken + rest.replace(match.group(0), replacement.replace("\\.", "."), 1)
        return split_name(name)[0]


def _is_set(condition: str, config: Mapping[str, Any]) -> bool:
    """Whether a config has "text_config.attention_bias=true", and all else that stands there after an "&"."""
    return all(_is_switched(switch, config) for switch in condition.split("&"))


def _is_switched(switch: str, config: Mapping[str, Any]) -> bool:
    """One of them; of a flat config, the key without its part counts. `layer_types="conv"`: some layer is one."""
    path, _, value = switch.partition("=")
    found = _value(path, config)
    wanted = json.loads(value)
    return bool(found == wanted) or (isinstance(wanted, str) and isinstance(found, list) and wanted in found)


def _value(path: str, config: Mapping[str, Any]) -> Any:
    """What a config has under "text_config.vocab_size", or None."""
    *parts, key = path.split(".")
    where: Any = config
    for part in parts:
        where = where.get(part, where) if isinstance(where, Mapping) else None
    return where.get(key) if isinstance(where, Mapping) else None


@lru_cache(maxsize=1)
def _index() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(table_text("classes/index.json"))
    return found


def class_folders() -> dict[str, str]:
    """Class name -> the file of the table that has it, e.g. "LlamaForCausalLM" -> "llama"."""
    return _index()["classes"]


def class_of(name: str | None, model_type: str | None) -> ModelClass | None:
    """The class of that name as a type has it: transformers makes a DeepseekV3ForCausalLM of a `sarvam_mla`, whose
    tensors have other names in the files; the table has it as a SarvamMLAForCausalLM."""
    return find_class(_index().get("borrowed", {}).get(f"{model_type}/{name}", name)) if name else None


@lru_cache(maxsize=8)
def _table(folder: str) -> dict[str, Any]:
    table: dict[str, Any] = json.loads(table_text(f"classes/{folder}.json"))
    return table


@lru_cache(maxsize=64)
def find_class(name: str) -> ModelClass | None:
    """The class of that name, or None where transformers has none or it could not be built for the table."""
    folder = class_folders().get(name)
    if folder is None:
        return None
    table = _table(folder)
    row, names = table["classes"][name], table["names"]

    def templates(ranges: str) -> frozenset[str]:
        return frozenset(names[i] for some in (parse_indices(ranges) if ranges else ()) for i in some)

    others = [templates(other.get("parameters", "")) for other in table["classes"].values()]
    parameters = templates(row.get("parameters", ""))
    return ModelClass(
        name=name,
        base=row.get("base", ""),
        parameters=parameters,
        optional={switch: templates(ranges) for switch, ranges in row.get("optional", {}).items()},
        buffers=templates(row.get("buffers", "")),
        mixed=row.get("mixed", {}),
        ties=row.get("ties", {}),
        shared=row.get("shared", {}),
        tied=row.get("tied", False),
        tied_by=row.get("tied_by", {}),
        untied={switch: tuple(untied) for switch, untied in row.get("untied", {}).items()},
        freed={switch: templates(ranges) for switch, ranges in row.get("freed", {}).items()},
        frozen={
            switch: {name: int(rank) for rank, ranges in by_rank.items() for name in templates(ranges)}
            for switch, by_rank in row.get("frozen", {}).items()
        },
        always_tied=row.get("always_tied", False),
        unsaved={name: tuple(shape) for name, shape in row.get("unsaved", {}).items()},
        renames=tuple(tuple(table["renames"][i]) for i in row.get("renames", ())),
        rows={name: (key, default) for name, (key, default) in row.get("rows", {}).items()},
        repeats={module: (key, number, tuple(some)) for module, (key, number, some) in row.get("repeats", {}).items()},
        ignored=tuple(row.get("ignored", ())),
        siblings=frozenset().union(*others) - parameters,
    )
