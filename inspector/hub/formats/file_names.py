"""Which files of a folder are its weights, by the names that transformers and diffusers write."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from inspector.hub.formats.registry import FORMATS, WORD

_PREFERRED = ("fp16", "bf16")
"""Of several variants, these before the others."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A folder's weights: one file, or an index of shards.

    Attributes:
        name: the file's, or the index's.
        is_index: it names shards.
        variant: such as "fp16"; None for the plain ones.
        shards: of a whole set of numbered shards that no index names; `name` is then the first of them.
        alone: the file was named, so that an index beside it does not count.
    """

    name: str
    is_index: bool = False
    variant: str | None = None
    shards: tuple[str, ...] = ()
    alone: bool = False


def choose(names: Collection[str], variant: str | None = None) -> Choice | None:
    """The weights among these names of one folder, None where there are none of such a name.

    Plain files come before shards that no index names, these before variants, the formats in the registry's order, a
    single file before shards, as the libraries do it.

    Args:
        variant: that is looked for first.
    """
    order: list[str | None] = [None] if variant is None else [variant, None]
    for wanted in order:
        found = _of_variant(names, wanted)
        if found is not None:
            return found
    shards = next((whole for each in FORMATS if (whole := whole_set(names, each.ending))), ())
    if shards:
        return Choice(shards[0], shards=shards)
    for other in variants(names):
        found = _of_variant(names, other)
        if found is not None:
            return found
    return None


def whole_set(names: Iterable[str], ending: str) -> tuple[str, ...]:
    """The shards `model-00001-of-00003.safetensors` to `-00003-of-00003` of one folder, where there is one such set of
    a usual name and all of it is there; else none. Some writers count from 0, put underscores, or repeat the ending."""
    stems = [stem for each in FORMATS if each.ending == ending for stem in each.stems]
    end = re.escape(ending)
    pattern = re.compile(rf"({'|'.join(map(re.escape, stems))})((?:{end})?)([-_])(\d{{1,6}})[-_]of[-_](\d{{1,6}}){end}")
    sets: dict[str, dict[tuple[str, ...], dict[int, str]]] = {stem: {} for stem in stems}
    for name in names:
        match = pattern.fullmatch(name)
        if match:
            sets[match[1]].setdefault((match[2], match[3], match[5]), {})[int(match[4])] = name
    for stem in stems:
        whole = [shards for (*_, count), shards in sets[stem].items() if _is_whole(shards, int(count))]
        if whole:
            return tuple(whole[0][number] for number in sorted(whole[0])) if len(whole) == 1 else ()
    return ()


def _is_whole(shards: Mapping[int, str], count: int) -> bool:
    """Whether all numbers are there, from 1 or from 0."""
    first = min(shards)
    return first in (0, 1) and len(shards) == count and max(shards) == first + count - 1


def variants(names: Iterable[str]) -> list[str]:
    """The variants that there are files of, the usual ones first."""
    found = {variant for name in names for each in FORMATS if (variant := each.variant_of(name))}
    return sorted(found - {"index"}, key=lambda v: (_PREFERRED.index(v) if v in _PREFERRED else len(_PREFERRED), v))


def _of_variant(names: Collection[str], variant: str | None) -> Choice | None:
    for each in FORMATS:
        for stem in each.stems:
            if (name := each.file_name(stem, variant)) in names:
                return Choice(name, variant=variant)
            if (name := each.index_name(stem, variant)) in names:
                return Choice(name, is_index=True, variant=variant)
    return None


def stands_in(names: Sequence[str]) -> bool:
    """Whether these weight files were read for want of better ones: variants, or one file under a name of its own."""
    last = [name.rpartition("/")[2] for name in names]
    usual = {each.file_name(stem) for each in FORMATS for stem in each.stems}
    endings = "|".join(re.escape(each.ending) for each in FORMATS)
    if any(re.fullmatch(rf"[^.]+\.{WORD}(-\d+-of-\d+)?({endings})", name) for name in last):
        return True
    return len(last) == 1 and last[0] not in usual and "-of-" not in last[0]
