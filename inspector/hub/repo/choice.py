"""Which files of a folder are its weights, by the names that transformers and diffusers write."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

STEMS = ("model", "diffusion_pytorch_model")
"""What weight files are called, the strongest first: transformers' `SAFE_WEIGHTS_NAME`, diffusers' one."""
TORCH_STEMS = ("pytorch_model", "diffusion_pytorch_model")

_VARIANT_FILE = re.compile(r"(?:model|diffusion_pytorch_model)\.([A-Za-z][A-Za-z0-9_]{0,30})\.safetensors")
_VARIANT_INDEX = re.compile(
    r"(?:model|diffusion_pytorch_model)\.safetensors\.index\.([A-Za-z][A-Za-z0-9_]{0,30})\.json"
)
_TORCH_VARIANT = re.compile(r"(?:pytorch_model|diffusion_pytorch_model)\.([A-Za-z][A-Za-z0-9_]{0,30})\.bin")
_VARIANT = re.compile(r"^[^.]+\.[A-Za-z][A-Za-z0-9_]*(-\d+-of-\d+)?\.(safetensors|bin)$")
_PREFERRED = ("fp16", "bf16")
"""Of several variants, these before the others."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A folder's weights: one file, or an index of shards.

    Attributes:
        name: the file's, or the index's.
        is_index: it names shards.
        variant: such as "fp16"; None for the plain ones.
    """

    name: str
    is_index: bool = False
    variant: str | None = None

    @property
    def is_pytorch(self) -> bool:
        """PyTorch's files, not safetensors."""
        return ".bin" in self.name


def choose(names: Collection[str], variant: str | None = None) -> Choice | None:
    """The weights among these names of one folder, None where there are none of such a name.

    Plain files come before variants, safetensors before PyTorch, a single file before shards, as the libraries do it.

    Args:
        variant: that is looked for first.
    """
    order: list[str | None] = [None] if variant is None else [variant, None]
    for wanted in order:
        found = _of_variant(names, wanted)
        if found is not None:
            return found
    for other in variants(names):
        found = _of_variant(names, other)
        if found is not None:
            return found
    return None


def variants(names: Iterable[str]) -> list[str]:
    """The variants that there are files of, the usual ones first."""
    patterns = (_VARIANT_FILE, _VARIANT_INDEX, _TORCH_VARIANT)
    found = {match[1] for name in names for pattern in patterns if (match := pattern.fullmatch(name))}
    return sorted(found - {"index"}, key=lambda v: (_PREFERRED.index(v) if v in _PREFERRED else len(_PREFERRED), v))


def _of_variant(names: Collection[str], variant: str | None) -> Choice | None:
    dot = "" if variant is None else f".{variant}"
    for stems, ending in ((STEMS, "safetensors"), (TORCH_STEMS, "bin")):
        for stem in stems:
            if (name := f"{stem}{dot}.{ending}") in names:
                return Choice(name, variant=variant)
            if (name := f"{stem}.{ending}.index{dot}.json") in names:
                return Choice(name, is_index=True, variant=variant)
    return None


def stands_in(names: Sequence[str]) -> bool:
    """Whether these weight files were read for want of better ones: variants, or one file under a name of its own."""
    last = [name.rpartition("/")[2] for name in names]
    usual = {f"{stem}.safetensors" for stem in STEMS} | {f"{stem}.bin" for stem in TORCH_STEMS}
    if any(_VARIANT.search(name) for name in last):
        return True
    return len(last) == 1 and last[0] not in usual and "-of-" not in last[0]
