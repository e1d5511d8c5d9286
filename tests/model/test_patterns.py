"""A recipe's patterns, matched without `re`, against `re`."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.model.packing.patterns import Matching, as_glob

ATOMS = st.sampled_from(["a", "b", ".", r"\.", r"\d", r"\w", "[ab]", "[^a]", "[0-9]", "a|b", "^", "$", "1"])
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{2,}", "*?"])).map(
            lambda p: f"(?:{p[0]}){p[1]}"
        ),
        inner.map(lambda p: f"({p})"),
        st.tuples(inner, inner).map(lambda p: f"{p[0]}|{p[1]}"),
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(PATTERNS, st.text("ab1._", max_size=8))
def test_matches_and_finds_as_re_does(pattern: str, name: str) -> None:
    match = Matching()
    assert match.matches(pattern, name) is (re.match(pattern, name) is not None)
    assert match.finds(pattern, name) is (re.search(pattern, name) is not None)


@pytest.mark.parametrize(
    "pattern", ["(?=a)", "(?!a)b", r"(a)\1", r"\b", "a++", "(?P<x>a)", "(", ")", "[a", "*", "a{9999}"]
)
def test_what_is_not_understood_is_not_guessed(pattern: str) -> None:
    assert Matching().matches(pattern, "a") is None


def test_steps_run_out_once_for_all_patterns() -> None:
    match = Matching(steps=1_000)
    assert match.matches("a", "a") is True
    assert match.matches("((((a*)*)*)*)*b", "a" * 200) is None
    assert match.matches("a", "a") is None


@settings(deadline=None)
@given(st.text("ab*.", max_size=6), st.text("ab.", max_size=8))
def test_globs_match_as_fnmatch_does(pattern: str, name: str) -> None:
    assert as_glob(pattern, name) is fnmatchcase(name, pattern)
