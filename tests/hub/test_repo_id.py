"""What the user typed, told apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.errors import UsageError
from inspector.hub.repo_id import LocalPath, RepoId, parse_model


@pytest.mark.parametrize(
    ("model", "revision", "expected"),
    [
        ("meta-llama/Meta-Llama-3-8B", None, RepoId("meta-llama/Meta-Llama-3-8B", "main")),
        ("gpt2", None, RepoId("gpt2", "main")),
        ("org/name@v1.0", None, RepoId("org/name", "v1.0")),
        ("org/name@refs/pr/1", None, RepoId("org/name", "refs/pr/1")),
        ("org/name@" + "a" * 40, None, RepoId("org/name", "a" * 40)),
        ("org/name", "dev", RepoId("org/name", "dev")),
        ("org/name@dev", "dev", RepoId("org/name", "dev")),
        ("org/name:Q4_K_M", None, RepoId("org/name", "main", "Q4_K_M")),
        ("org/name@v1:UD-IQ1_S", None, RepoId("org/name", "v1", "UD-IQ1_S")),
        ("org/name:sub folder/model.gguf", "dev", RepoId("org/name", "dev", "sub folder/model.gguf")),
        ("0-hero/Matter-0.1_7B", None, RepoId("0-hero/Matter-0.1_7B", "main")),
    ],
)
def test_repo_ids_are_understood(model: str, revision: str | None, expected: RepoId) -> None:
    assert parse_model(model, revision) == expected


@pytest.mark.parametrize(
    "model",
    [
        "",
        " ",
        "a b",
        "a/b/c",
        "org/",
        "/",
        "org//name",
        "org/na me",
        "-x",
        "org/-x",
        "org/name.",
        "org/..",
        "a--b",
        "org/x.git",
        "org/name@",
        "org/name@a..b",
        "org/name@-x",
        "org/name@a b",
        "x" * 97,
        "org/ñame",
        "org/na\x1bme",
        "a\0b",
        "org/name?x",
        "https://huggingface.co/org/name",
        "org/name@" + "r" * 300,
        "@main",
        "org/name#1",
        "org:na:me",
        "org/name:Q4@main",
    ],
)
def test_nonsense_is_a_usage_error(model: str) -> None:
    if model == "/":
        assert isinstance(parse_model(model), LocalPath)
        return
    with pytest.raises(UsageError) as error:
        parse_model(model)
    assert error.value.exit_code == 2


def test_an_address_is_answered_with_its_repo_id() -> None:
    with pytest.raises(UsageError) as error:
        parse_model("https://huggingface.co/org/name/tree/main")
    assert "org/name" in error.value.hint


@pytest.mark.parametrize("revision", ["", "a b", "../x", "x\n", "a" * 300])
def test_a_revision_that_cannot_be_is_a_usage_error(revision: str) -> None:
    with pytest.raises(UsageError):
        parse_model("org/name", revision)


def test_two_revisions_are_a_usage_error() -> None:
    with pytest.raises(UsageError, match="two revisions"):
        parse_model("org/name@a", "b")


def test_a_revision_of_a_path_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no revision"):
        parse_model("./folder", "main")


@given(st.text(), st.one_of(st.none(), st.text()))
def test_any_text_is_a_repo_a_path_or_a_usage_error(model: str, revision: str | None) -> None:
    try:
        parsed = parse_model(model, revision)
    except UsageError:
        return
    assert isinstance(parsed, (RepoId, LocalPath))
