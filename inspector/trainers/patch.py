"""The smallest change to a trainer's file that makes a run fit, as a patch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import unified_diff
from itertools import combinations
from math import prod

from inspector.trainers import shell
from inspector.trainers.run import Run
from inspector.verdict.changes import Change

MORE = ("--logits chunked", "--checkpointing full")
"""What is tried beside a change that does not suffice in the file: a trainer's adapters may take more than ours."""
SETTINGS = ("--optimizer-impl fused", "--checkpointing full", "--logits chunked", "--optimizer adamw-8bit")
"""What is tried together with a micro-batch of one."""


def edits_of(run: Run, option: str) -> dict[str, str] | None:
    """The keys of the run's trainer, and their values, that say the same as our options; None where none do.

    A smaller micro-batch keeps the global batch: its steps are accumulated.
    """
    found: dict[str, str] = {}
    for part in re.split(r" (?=--)", option):
        name, _, value = part.partition(" ")
        if not _of_run(run, (part,)):
            return None
        if name == "--batch" and value.isdigit():
            value, steps = _micro_batch(run, int(value))
            kept = run.trainer.edits.get("--grad-accum", {"gradient_accumulation_steps": "{}"})
            found |= {key: text.format(steps) for key, text in kept.items()}
        edits = run.trainer.edits.get(part)
        if name == "--image-size":
            sides = [int(side) for side in value.split("x")]
            told = run.trainer.edits.get(name, {})
            edits = {key: text.format(pixels=prod(sides), side=max(sides)) for key, text in told.items()}
        if edits is None and value.isdigit():
            edits = {key: text.format(value) for key, text in run.trainer.edits.get(name, {}).items()}
        if edits and name == "--method" and run.settings.get("method") != "full":
            edits = {key: text for key, text in edits.items() if not key.startswith("lora_")}  # it has its own
        if not edits:
            return None
        found |= edits
    return found


def _micro_batch(run: Run, most: int) -> tuple[str, str]:
    """The largest micro-batch of at most so many sequences that divides the global batch, and its steps."""
    whole = int(run.settings.get("batch", 1)) * int(run.sharding.get("grad_accum", 1))
    size = next(size for size in range(most, 0, -1) if whole % size == 0)
    return str(size), str(whole // size)


def patches(run: Run, changes: Iterable[Change]) -> Iterator[str]:
    """The file as it would be, for each change that it can say, none twice: single changes, the fewest keys first; each
    with `MORE` beside it; a micro-batch of one with no, one, two and all of `SETTINGS`.

    Another method comes after all of these, because it trains something else. A shorter context leaves out data: that
    is what `shorter` is for.
    """
    alone = [change.option for change in changes if "--context" not in change.option]
    alone.sort(key=lambda option: len(edits_of(run, option) or ()))
    both = [f"{option} {more}" for more in _of_run(run, MORE) for option in alone if more not in option]
    settings = _of_run(run, SETTINGS)
    sizes = (0, 1, 2, len(settings))
    together = [" ".join((*_one(run), *pick)) for size in sizes for pick in combinations(settings, size)]
    methods = ["--method qlora", *(f"{option} --method qlora" for option in together)]
    options = sorted((*alone, *both, *together), key=lambda option: "--method" in option)
    seen = {run.document.text}
    for option in (*options, *methods):
        text = _changed(run, option.strip())
        if text is not None and text not in seen:
            seen.add(text)
            yield text


SMALLER = (4, 3, 2)
"""Fifths of an image's sides that are tried."""


def smaller(run: Run) -> Iterator[str]:
    """The file with smaller images, where it says their size: the largest first, each with a micro-batch of one, with
    all of `SETTINGS` beside, and alone."""
    for option in _image_sizes(run):
        yield from _beside(run, option)


def _image_sizes(run: Run) -> list[str]:
    """Our option for each of `SMALLER` of the run's image size; none where it has none."""
    width, height = run.settings.get("image_size") or (0, 0)
    sides = [(width * fifths // 5, height * fifths // 5) for fifths in SMALLER]
    return [f"--image-size {wide}x{high}" for wide, high in sides if wide and high]


def shorter(run: Run, context: int) -> Iterator[str]:
    """The file with so many tokens a sequence: with a micro-batch of one, with all of `SETTINGS` beside, and alone; the
    same with the smallest images."""
    for size in ("", *_image_sizes(run)[-1:]):
        yield from _beside(run, f"{size} --context {context}".strip())


def _beside(run: Run, change: str) -> Iterator[str]:
    """The file with a change beside a micro-batch of one, with all of `SETTINGS` too, and alone."""
    one, all_of_them = " ".join(_one(run)), " ".join((*_one(run), *_of_run(run, SETTINGS)))
    for option in dict.fromkeys((one, all_of_them, "")):
        text = _changed(run, f"{option} {change}".strip())
        if text is not None:
            yield text


def _of_run(run: Run, options: Iterable[str]) -> tuple[str, ...]:
    """Those of the options that the run can have: the keys of fused cross entropies are of SFT's loss alone."""
    sft = run.settings.get("objective", "sft") == "sft"
    return tuple(option for option in options if sft or not option.startswith("--logits "))


def _one(run: Run) -> tuple[str, ...]:
    """A micro-batch of one, where it has more."""
    return ("--batch 1",) if int(run.settings.get("batch", 1)) > 1 else ()


def _changed(run: Run, option: str) -> str | None:
    """The file with our options said by its keys; None where it cannot say them."""
    edits = edits_of(run, option) if option else None
    return edited(run.document.name, run.document.text, edits) if edits else None


def diff(run: Run, text: str) -> str:
    """A unified diff from the run's file to its new text, to be applied with `patch` or `git apply`."""
    before, after = _lines(run.document.text), _lines(text)
    name = run.document.name
    return "".join(_ended(unified_diff(before, after, f"a/{name}", f"b/{name}", n=1)))


def _lines(text: str) -> list[str]:
    """Its lines with their ends, divided at line feeds alone, as `patch` does."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _ended(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def edited(name: str, text: str, edits: Mapping[str, str]) -> str | None:
    """The text with keys set, in place where they are there; None where a key's value is not on one line, or lines end
    in two ways."""
    returns = text.count("\r\n")
    if returns and returns != text.count("\n"):
        return None
    lines = _lines(text.replace("\r\n", "\n"))
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    for key, value in edits.items():
        if name.endswith(shell.SUFFIXES):
            done = _set_shell(lines, key, value)
        else:
            done = _set_json(lines, key, value) if name.endswith(".json") else _set(lines, key, value, name)
        if not done:
            return None
    changed = "".join(lines)
    return changed.replace("\n", "\r\n") if returns else changed


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


CALL = re.compile("|".join(rf"\b{command} +(?:{'|'.join(verbs)})(?= |$)" for command, verbs in shell.COMMANDS.items()))


def _set_shell(lines: list[str], key: str, value: str) -> bool:
    """Set one argument of a shell script's call; False where its value is not one plain word beside it."""
    there = re.compile(rf"(?<!\S)--{re.escape(key)}(?![\w-])(?:([ \t]+|=)([\w./+-]+)(?=\s))?")
    for index, line in enumerate(lines):
        match = None if line.lstrip().startswith("#") else there.search(line)
        if match is not None and match[2]:
            lines[index] = f"{line[: match.start(2)]}{value}{line[match.end(2) :]}"
        if match is not None:
            return bool(match[2])
    for index, line in enumerate(lines):
        call = None if line.lstrip().startswith("#") else CALL.search(line)
        if call is not None:
            lines[index] = f"{line[: call.end()]} --{key} {value}{line[call.end() :]}"
            return True
    return False
