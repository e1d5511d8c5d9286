"""Patterns of a recipe, matched without `re`: a repo's own regex must not be able to hang the tool.

A subset of Python's regexes, matched by sets of positions in time polynomial in the name's length: characters, `.`,
classes, \\d \\w \\s, groups, `|`, `* + ? {m,n}`, `^`, `$`. Anything else (look-around, references) is not understood.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

MAX_PATTERN, MAX_NAME, MAX_REPEAT = 2_000, 300, 400

Matcher = Callable[["Matching", frozenset[int]], frozenset[int]]
"""(the run, positions before) -> positions after."""

ESCAPED: dict[str, Callable[[str], bool]] = {
    "d": str.isdecimal,
    "w": lambda c: c.isalnum() or c == "_",
    "s": str.isspace,
    "D": lambda c: not c.isdecimal(),
    "W": lambda c: not (c.isalnum() or c == "_"),
    "S": lambda c: not c.isspace(),
}


class NotUnderstood(ValueError):
    """The pattern uses more than this module knows, or takes too long."""


class Matching:
    """Matches patterns until its steps are used up; afterwards it understands none."""

    def __init__(self, steps: int = 4_000_000) -> None:
        self.steps = steps
        self.name = ""

    def matches(self, pattern: str, name: str) -> bool | None:
        """Whether `re.match(pattern, name)` finds something; None for a pattern that is not understood."""
        return self._run(pattern, name, frozenset({0}))

    def finds(self, pattern: str, name: str) -> bool | None:
        """Whether `re.search(pattern, name)` finds something; None for a pattern that is not understood."""
        return self._run(pattern, name, frozenset(range(len(name) + 1)))

    def _run(self, pattern: str, name: str, start: frozenset[int]) -> bool | None:
        if len(pattern) > MAX_PATTERN or len(name) > MAX_NAME:
            return None
        self.name = name
        try:
            return bool(_compiled(pattern)(self, start))
        except (NotUnderstood, RecursionError):
            return None

    def spend(self, steps: int) -> None:
        self.steps -= steps
        if self.steps < 0:
            raise NotUnderstood


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Matcher:
    parser = _Parser(pattern)
    matcher = parser.alternatives()
    if parser.rest():
        raise NotUnderstood(pattern)
    return matcher


class _Parser:
    def __init__(self, pattern: str) -> None:
        self.pattern, self.at = pattern, 0

    def rest(self) -> str:
        return self.pattern[self.at : self.at + 1]

    def take(self) -> str:
        char = self.rest()
        if not char:
            raise NotUnderstood(self.pattern)
        self.at += 1
        return char

    def alternatives(self) -> Matcher:
        branches = [self.sequence()]
        while self.rest() == "|":
            self.take()
            branches.append(self.sequence())
        if len(branches) == 1:
            return branches[0]
        return lambda run, before: frozenset().union(*(branch(run, before) for branch in branches))

    def sequence(self) -> Matcher:
        parts: list[Matcher] = []
        while self.rest() and self.rest() not in "|)":
            parts.append(self.quantified())

        def follow(run: Matching, positions: frozenset[int]) -> frozenset[int]:
            for part in parts:
                if not positions:
                    break
                positions = part(run, positions)
            return positions

        return follow

    def quantified(self) -> Matcher:
        atom = self.atom()
        if self.rest() and self.rest() in "*+?":
            low, high = {"*": (0, MAX_REPEAT), "+": (1, MAX_REPEAT), "?": (0, 1)}[self.take()]
        elif self.rest() == "{":
            low, high = self.counts()
        else:
            return atom
        if self.rest() and self.rest() in "?+" and self.take() == "+":
            raise NotUnderstood(self.pattern)  # possessive: gives nothing back
        return lambda run, before: _repeat(atom, low, high, run, before)

    def counts(self) -> tuple[int, int]:
        end = self.pattern.find("}", self.at)
        low, comma, high = self.pattern[self.at + 1 : max(end, self.at + 1)].partition(",")
        if end < 0 or not low.isdecimal() or not (high.isdecimal() or not high):
            raise NotUnderstood(self.pattern)
        self.at = end + 1
        most = int(high) if high else MAX_REPEAT if comma else int(low)
        if max(int(low), most) > MAX_REPEAT:
            raise NotUnderstood(self.pattern)
        return int(low), most

    def atom(self) -> Matcher:
        char = self.take()
        if char == "(":
            return self.group()
        if char == "^":
            return lambda _, before: before & {0}
        if char == "$":
            return lambda run, before: before & {len(run.name)}
        if char in "*+?{":
            raise NotUnderstood(self.pattern)
        if char == ".":
            return _one(lambda c: c != "\n")
        if char == "[":
            return _one(self.character_class())
        if char == "\\":
            return _one(self.escaped())
        return _one(lambda c: c == char)

    def group(self) -> Matcher:
        if self.rest() == "?":
            self.take()
            if self.take() != ":":
                raise NotUnderstood(self.pattern)
        inner = self.alternatives()
        if self.rest() != ")":
            raise NotUnderstood(self.pattern)
        self.take()
        return inner

    def escaped(self) -> Callable[[str], bool]:
        char = self.take()
        if char in ESCAPED:
            return ESCAPED[char]
        if char.isalnum():
            raise NotUnderstood(self.pattern)
        return lambda c: c == char

    def character_class(self) -> Callable[[str], bool]:
        negated = self.rest() == "^"
        if negated:
            self.take()
        tests: list[Callable[[str], bool]] = []
        while self.rest() != "]" or not tests:
            char = self.take()
            if char == "\\":
                tests.append(self.escaped())
            elif self.rest() == "-" and self.pattern[self.at + 1 : self.at + 2] not in ("", "]"):
                self.take()
                tests.append(_between(char, self.take()))
            else:
                tests.append(_between(char, char))
        self.take()
        return lambda c: any(test(c) for test in tests) != negated


def _between(low: str, high: str) -> Callable[[str], bool]:
    return lambda c: low <= c <= high


def _one(test: Callable[[str], bool]) -> Matcher:
    def step(run: Matching, before: frozenset[int]) -> frozenset[int]:
        run.spend(len(before) + 1)
        name = run.name
        return frozenset(at + 1 for at in before if at < len(name) and test(name[at]))

    return step


def _repeat(atom: Matcher, low: int, high: int, run: Matching, before: frozenset[int]) -> frozenset[int]:
    for _ in range(low):
        before = atom(run, before)
    seen = frontier = before
    for _ in range(high - low):
        run.spend(1)
        frontier = atom(run, frontier) - seen
        if not frontier:
            break
        seen |= frontier
    return seen


def as_glob(pattern: str, name: str) -> bool:
    """Whether `fnmatch.fnmatchcase(name, pattern)`, for patterns whose only wildcard is `*`."""
    first, *others = pattern.split("*")
    if not others:
        return first == name
    *middle, last = others
    if not name.startswith(first) or len(name) < len(first) + len(last) or not name.endswith(last):
        return False
    at, end = len(first), len(name) - len(last)
    for part in middle:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True
