"""The smallest change to a trainer's file that makes a run fit, as a patch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from difflib import unified_diff

from inspector.trainers.run import Run
from inspector.verdict.changes import Change

MORE = ("--logits chunked", "--checkpointing full")
"""What is tried beside a change that does not suffice in the file: a trainer's adapters may take more than ours."""


def edits_of(run: Run, option: str) -> dict[str, str] | None:
    """The keys of the run's trainer, and their values, that say the same as our options; None where none do.

    A smaller micro-batch keeps the global batch: its steps are accumulated.
    """
    found: dict[str, str] = {}
    for part in re.split(r" (?=--)", option):
        name, _, value = part.partition(" ")
        if name == "--batch" and value.isdigit():
            value, steps = _micro_batch(run, int(value))
            found |= {"gradient_accumulation_steps": steps} if run.trainer.name != "torchtitan" else {}
        edits = run.trainer.edits.get(part)
        if edits is None and value.isdigit():
            edits = {key: text.format(value) for key, text in run.trainer.edits.get(name, {}).items()}
        if not edits:
            return None
        found |= edits
    return found


def _micro_batch(run: Run, most: int) -> tuple[str, str]:
    """The largest micro-batch of at most so many sequences that divides the global batch, and its steps."""
    whole = int(run.settings.get("batch", 1)) * int(run.sharding.get("grad_accum", 1))
    size = next(size for size in range(most, 0, -1) if whole % size == 0)
    return str(size), str(whole // size)


def patches(run: Run, changes: Iterable[Change]) -> Iterator[tuple[Change, str]]:
    """Each change that the file can say, with the file as it would be, the fewest changed lines first; then each with
    `MORE` beside it. A shorter context comes last: it leaves out data."""
    alone = list(changes)
    both = [
        replace(change, option=f"{change.option} {more}")
        for more in MORE
        for change in alone
        if more not in change.option
    ]
    for group in (alone, both):
        found = []
        for change in group:
            edits = edits_of(run, change.option)
            text = edited(run.document.name, run.document.text, edits) if edits else None
            if edits and text is not None:
                found.append((("--context" in change.option, len(edits)), change, text))
        for _, change, text in sorted(found, key=lambda each: each[0]):
            yield change, text


def diff(run: Run, text: str) -> str:
    """A unified diff from the run's file to its new text, to be applied with `patch` or `git apply`."""
    before, after = run.document.text.splitlines(keepends=True), text.splitlines(keepends=True)
    name = run.document.name
    return "".join(_ended(unified_diff(before, after, f"a/{name}", f"b/{name}", n=1)))


def _ended(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def edited(name: str, text: str, edits: Mapping[str, str]) -> str | None:
    """The text with keys set, in place where they are there; None where a key's value is not on one line."""
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    for key, value in edits.items():
        done = _set_json(lines, key, value) if name.endswith(".json") else _set(lines, key, value, name)
        if not done:
            return None
    return "".join(lines)


def _set(lines: list[str], key: str, value: str, name: str) -> bool:
    """Set one dotted key of YAML or TOML; False where its value takes several lines."""
    toml = name.endswith(".toml")
    section, _, last = key.rpartition(".")
    sign = "=" if toml else ":"
    start, end, indent = 0, len(lines), ""
    if section:
        head = re.compile(rf"\[{re.escape(section)}\]" if toml else rf"{re.escape(section)}:\s*(#.*)?$")
        found = next((index for index, line in enumerate(lines) if head.match(line)), None)
        if found is None:
            return False
        start = found + 1
        end = next((index for index in range(start, len(lines)) if not _inside(lines[index], toml=toml)), len(lines))
        indent = "" if toml else next((re.match(r"\s*", line)[0] for line in lines[start:end] if line.strip()), "  ")  # type: ignore[index]
    there = re.compile(rf"({re.escape(indent)}{re.escape(last)}\s*{sign})[ \t]*([^#\n]*?)([ \t]*(#.*)?)\n")
    for index in range(start, end):
        match = there.fullmatch(lines[index])
        if match is None:
            continue
        follows = lines[index + 1] if index + 1 < len(lines) else ""
        if not match[2] and re.match(rf"{re.escape(indent)}(\s+\S|-)", follows):
            return False
        lines[index] = f"{match[1]} {value}{match[3]}\n"
        return True
    lines.insert(start if section else len(lines), f"{indent}{last}{' =' if toml else ':'} {value}\n")
    return True


def _inside(line: str, *, toml: bool) -> bool:
    """Whether a line belongs to the section that began before it."""
    return not line.startswith("[") if toml else line[:1] in " \t\n#"


def _set_json(lines: list[str], key: str, value: str) -> bool:
    """Set one key at the top of a JSON object."""
    literal = value if re.fullmatch(r"true|false|-?\d+", value) else f'"{value}"'
    there = re.compile(rf'(\s*"{re.escape(key)}"\s*:\s*)("[^"]*"|[\w.+-]+)(,?\s*)')
    for index, line in enumerate(lines):
        match = there.fullmatch(line)
        if match is not None:
            lines[index] = f"{match[1]}{literal}{match[3]}"
            return True
    if lines and lines[0].strip() == "{" and len(lines) > 2:
        lines.insert(1, f'  "{key}": {literal},\n')
        return True
    return False
