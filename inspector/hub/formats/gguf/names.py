"""What GGUF file names say: the quantization, the part of a split file, a projector beside the model.

The naming convention is in ggml's docs/gguf.md ("GGUF Naming Convention"); most uploads only come near it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["model", "projector", "imatrix"]

QUANT = re.compile(
    r"""(?<![A-Za-z0-9])
    (
      (?:UD-)?                                   # Unsloth's dynamic recipes
      (?:
        I?Q\d_K(?:_?(?:XXS|XS|XL|SS|S|M|L|T))?   # Q4_K_M, Q6_K_L, Q8_K_XL; ik_llama.cpp's IQ4_K, IQ4_KS, IQ4_KT
        | Q4_0_(?:4_4|4_8|8_8)
        | Q\d_[01]
        | IQ\d_(?:XXS|XS|XL|NL|BN|S|M|L)(?:_4_4)?
        | TQ\d_\d
        | MXFP4(?:_MOE)? | NVFP4
        | BF16 | F(?:P)?(?:16|32|64) | I\d_S
      )
      (?:_R[48])?                                # ik_llama.cpp's interleaved rows
    )
    (?![A-Za-z0-9])""",
    re.VERBOSE | re.IGNORECASE,
)
SHORT_QUANT = re.compile(r"(?<![A-Za-z0-9])Q([2-8])(?![A-Za-z0-9_])", re.IGNORECASE)
"""Names like `model-q4.gguf`, which say no more than the bits."""
SPLIT = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$", re.IGNORECASE)
"""llama.cpp's gguf-split: parts with a header each, the first holding the metadata."""
PIECE = re.compile(r"^(?P<stem>.+)\.gguf\.part(?P<number>\d{1,3})of(?P<count>\d{1,3})$", re.IGNORECASE)
"""One file cut in pieces, as some uploaders did: only the first begins with a header, which speaks of all of them."""


@dataclass(frozen=True)
class GGUFGroup:
    """The files that make up one model (or projector) of a repo.

    Attributes:
        name: the path without part number and ending.
        quant: what the name says, "Q4_K_M", "UD-Q2_K_XL"; None where it says nothing.
        files: paths, in order.
        parts: how many the names promise; more than `files` where some are missing.
        is_cut: the files are pieces of one, to be read as if joined.
    """

    name: str
    quant: str | None
    kind: Kind
    files: tuple[str, ...]
    parts: int
    is_cut: bool = False

    @property
    def is_complete(self) -> bool:
        return len(self.files) == self.parts


def quant_of(path: str) -> str | None:
    """The quantization that a path names, in capitals: its file name first, then its folders from the inside out."""
    for part in reversed(path.split("/")):
        found = [match.group(1) for match in QUANT.finditer(part)]
        if found:
            return found[-1].upper().replace("FP16", "F16").replace("FP32", "F32")
    short = SHORT_QUANT.findall(path.rsplit("/", 1)[-1])
    return f"Q{short[-1]}" if short else None


def kind_of(path: str) -> Kind:
    """What a GGUF file is, by its name: a multimodal projector ("mmproj"), quantization statistics, or the model."""
    name = path.rsplit("/", 1)[-1].lower()
    if "mmproj" in name:
        return "projector"
    return "imatrix" if "imatrix" in name and quant_of(name) is None else "model"


def is_gguf(path: str) -> bool:
    """Whether a path names a GGUF file or a piece of one."""
    return path.lower().endswith(".gguf") or PIECE.match(path) is not None


def group_files(paths: Iterable[str]) -> list[GGUFGroup]:
    """The GGUF files among `paths`, parts put together, in order of their names."""
    groups: dict[tuple[str, int, bool], dict[int, str]] = {}
    for path in sorted(set(paths)):
        split, piece = SPLIT.match(path), PIECE.match(path)
        match = split or piece
        if match:
            key = (match["stem"], int(match["count"]), piece is not None)
            groups.setdefault(key, {}).setdefault(int(match["number"]), path)
        elif is_gguf(path):
            groups[(path[: -len(".gguf")], 1, False)] = {1: path}
    return [
        GGUFGroup(
            stem, quant_of(stem), kind_of(stem), tuple(files[n] for n in sorted(files)), max(count, len(files)), cut
        )
        for (stem, count, cut), files in sorted(groups.items())
    ]
