"""Values as people read them. Only report/ knows units; memory is shown in GiB (2^30 bytes), always named."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

SHOWN_OPTIONS = 3
"""Options that a verdict is shown with; --all-options shows them all."""

GIB = 1024**3
_STEPS = ((1024**4, "TiB"), (GIB, "GiB"), (1024**2, "MiB"), (1024, "KiB"))


def bytes_text(size: int | None) -> str:
    """Three significant digits in the unit that fits: 1,536 -> "1.50 KiB"; "unknown" for None."""
    if size is None:
        return "unknown"
    magnitude = abs(size)
    for unit, name in _STEPS:
        if magnitude >= unit:
            return f"{_three_digits(size / unit)} {name}"
    return f"{size} B"


def gib_text(size: int | None) -> str:
    """The number alone, in GiB, two decimals: for the columns of a table whose head names the unit."""
    return "unknown" if size is None else f"{size / GIB:,.2f}"


def count_text(count: int | None) -> str:
    """8,030,261,248 -> "8.03 B"; "unknown" for None."""
    if count is None:
        return "unknown"
    for unit, name in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if count >= unit:
            return f"{_three_digits(count / unit)} {name}"
    return str(count)


def number_text(value: int | None) -> str:
    """Thousands separated; "unknown" for None."""
    return "unknown" if value is None else f"{value:,}"


def tokens_text(context: int, batch: int) -> str:
    """ "4,096 tokens x 1 sequence"."""
    return f"{number_text(context)} tokens x {number_text(batch)} sequence{'s' if batch > 1 else ''}"


def rate_text(rate: float) -> str:
    """Of tokens per second, as many digits as mean something: "1,234", "5.6"."""
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"


def device_text(gpu: str, count: int) -> str:
    """ "4 x H100-80GB", or the name alone for one GPU and for unlike ones, "RTX 4090 + RTX 3060"."""
    return inert(f"{count} x {gpu}" if count > 1 and " + " not in gpu else gpu)


def label(name: str) -> str:
    """A part's name as people read it."""
    return _LABELS.get(name, name.replace("_", " "))


_LABELS = {
    "kv_cache": "KV cache",
    "kv_pool": "KV pool",
    "kv_bytes_per_token": "KV cache per token",
    "mlp": "MLP",
    "mtp": "multi-token prediction",
    "non_torch": "non-torch",
    "pictures_held": "images held",
}


def verdict_text(fits: bool | None) -> str:
    """The verdict in a word or two."""
    return "cannot tell" if fits is None else "fits" if fits else "does not fit"


def dollars_text(amount: float | None) -> str:
    """With cents, and three digits of less than a dollar; "unknown" for None."""
    if amount is None:
        return "unknown"
    return f"${amount:,.2f}" if amount >= 1 or not amount else f"${amount:.3g}"


def origin_text(
    source: str, revision: str | None, snapshot_date: str | None, changes: Mapping[str, Any] | None = None
) -> str:
    """Where a model was read: "commit 0123456789ab, cached".

    Args:
        source, revision, snapshot_date: as the record's.
        changes: of a design, the config keys that were set; None for a model whose weights were read.
    """
    commit = f"commit {(revision or 'unknown')[:12]}"
    told = {"hub": commit, "cache": f"{commit}, cached", "local": "local files"}
    design = (
        "" if changes is None else "; the config alone" + "".join(f", {key}={value}" for key, value in changes.items())
    )
    return told.get(source, f"bundled snapshot of {snapshot_date}") + design


def inert(text: str) -> str:
    """Text from a repo, safe to print: control, bidirectional and other invisible characters shown as escapes, so
    that a name can neither steer the terminal nor pass for another."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character
        if not unicodedata.category(character).startswith(("C", "Z")) or character == " "
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def _three_digits(value: float) -> str:
    magnitude = abs(value)
    if magnitude >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if magnitude >= 9.995 else f"{value:.2f}"
