"""The call by which a shell script trains, as dotted keys: it is split into words, and never run.

`NPROC_PER_NODE=2 swift sft --model a/b --packing true` gives {"swift": "sft", "model": "a/b", "packing": True,
"ENV.NPROC_PER_NODE": 2}. Variables that the script sets itself, and `$(expr 16 / 2)` or `$((16 / 2))` of whole numbers,
are put in; what else it would compute stays its own text, which is no number and no yes.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from inspector.errors import UsageError

SUFFIXES = (".sh", ".bash")

COMMANDS = {"swift": ("sft", "pt", "rlhf")}
"""A command -> what it does where it trains."""

ASSIGNMENT = re.compile(r"([A-Za-z_]\w{0,80})=(.*)", re.DOTALL)
VARIABLE = re.compile(r"\$(?:(\w{1,80})|\{(\w{1,80})\})")
NUMBER = r"(\d{1,9})"
SUM = re.compile(rf"\$(?:\(expr +|\(\( *){NUMBER}((?: *\\?[-+*/] *{NUMBER})+) *\)\)?")
STEP = re.compile(rf"\\?([-+*/]) *{NUMBER}")


def shell_values(name: str, text: str) -> dict[str, Any]:
    """The arguments of a script's training command, by their names, nested where a value is a JSON object.

    Raises:
        UsageError: it calls no command that is known, or several.
    """
    variables: dict[str, str] = {}
    found = []
    for line in _lines(text):
        words = _words(line, variables)
        env: dict[str, str] = {}
        while words and (assigned := ASSIGNMENT.fullmatch(words[0])):
            env[assigned[1]] = assigned[2]
            words.pop(0)
        if words[:1] == ["export"]:
            env |= {each[1]: each[2] for word in words[1:] if (each := ASSIGNMENT.fullmatch(word))}
            words = []
        if not words:
            variables |= env
            continue
        call = _call(words)
        if call is not None:
            command, verb, rest = call
            exported = {key: value for key, value in variables.items() if key.isupper()}
            told = {key: _value(value) for key, value in (exported | env).items()}
            found.append({command: verb, **_arguments(rest), "ENV": told})
    if len(found) != 1:
        known = ", ".join(f"{command} {'|'.join(verbs)}" for command, verbs in COMMANDS.items())
        raise UsageError(f"{name} has {len(found) or 'no'} calls of a trainer that is known", f"One of {known}.")
    return found[0]


def _lines(text: str) -> Iterator[str]:
    """Commands, put together where a line ends with a backslash; comments between are left out."""
    waiting = ""
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            continue
        whole = waiting + line.rstrip()
        if whole.endswith("\\"):
            waiting = whole[:-1] + " "
            continue
        waiting = ""
        yield whole
    if waiting:
        yield waiting


def _words(line: str, variables: dict[str, str]) -> list[str]:
    """A command's words; none of one that is not complete in its line."""
    line = VARIABLE.sub(lambda found: variables.get(found[1] or found[2], found[0]), line)
    line = SUM.sub(lambda found: _sum(int(found[1]), found[2]), line)
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        return []


def _sum(value: int, steps: str) -> str:
    """What a sum of whole numbers gives, from the left; "?" where it divides by 0."""
    for operation, text in STEP.findall(steps):
        number = int(text)
        if operation == "/" and not number:
            return "?"
        value = {"+": value + number, "-": value - number, "*": value * number}.get(operation, value // (number or 1))
    return str(value)


def _call(words: list[str]) -> tuple[str, str, list[str]] | None:
    """The command, what it does, and its arguments, where these words call one."""
    for index, (word, verb) in enumerate(pairwise(words)):
        if verb in COMMANDS.get(word.rpartition("/")[2], ()):
            return word.rpartition("/")[2], verb, words[index + 2 :]
    return None


def _arguments(words: list[str]) -> dict[str, Any]:
    """`--key value`, `--key=value`, `--key a b` and `--key`, which is true; "" where a file stands before all keys."""
    found: dict[str, list[str]] = {}
    key = ""
    for word in words:
        if word in ("|", "&", "&&", ";", ">", ">>", "2>&1"):
            break
        if word.startswith("--"):
            key, equals, value = word[2:].partition("=")
            found[key] = [value] if equals else []
        else:
            found.setdefault(key, []).append(word)
    return {key: _value(values[0]) if len(values) == 1 else values or True for key, values in found.items()}


def _value(text: str) -> Any:
    """A word as a trainer's parser takes it: JSON where it is an object, yes or no, a number, or text."""
    if text.startswith("{"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
