"""Numbers as servers' command lines take them: 8G, 32k, 4096."""

from __future__ import annotations

import re

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
MOST = 2**60


def human_readable(text: str) -> int | None:
    """The number that a text stands for, small letters for powers of 1,000; None where it is none.

    vllm/engine/arg_utils.py: human_readable_int; SGLang has the same.

    >>> human_readable("32k"), human_readable("1.5G"), human_readable("4096"), human_readable("auto")
    (32000, 1610612736, 4096, None)
    """
    match = re.fullmatch(r"(\d{1,18}(?:\.\d{1,9})?)([kmgtKMGT]?)", text.strip())
    if match is None:
        return None
    size = int(float(match[1]) * _UNITS[match[2]]) if "." in match[1] else int(match[1]) * _UNITS[match[2]]
    return size if size < MOST else None
