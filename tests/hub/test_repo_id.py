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
        "https://example.com/org/name",
        "https://huggingface.co",
        "https://huggingface.co/datasets/org/name",
        "https://huggingface.co/spaces/org/name",
        "https://huggingface.co/models?search=llama",
        "https://[/org/name",
        "s3://bucket/name",
        "hf.co/org/../name",
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


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://huggingface.co/org/name", RepoId("org/name")),
        ("https://huggingface.co/org/name/", RepoId("org/name")),
        ("https://huggingface.co/org/name?not-for-all-audiences=true#files", RepoId("org/name")),
        ("http://www.huggingface.co/gpt2", RepoId("gpt2")),
        ("https://huggingface.co/gpt2/tree/main", RepoId("gpt2")),
        ("https://huggingface.co/org/name/tree/v1", RepoId("org/name", "v1")),
        ("https://huggingface.co/org/name/tree/main/unet", RepoId("org/name", "main", "unet")),
        ("https://huggingface.co/org/name/tree/refs%2Fpr%2F1", RepoId("org/name", "refs/pr/1")),
        ("https://huggingface.co/org/name/tree/refs/pr/1/unet", RepoId("org/name", "refs/pr/1", "unet")),
        ("https://huggingface.co/org/name/blob/main/config.json", RepoId("org/name")),
        ("https://huggingface.co/org/name/blob/dev/a-Q4_K_M.gguf", RepoId("org/name", "dev", "a-Q4_K_M.gguf")),
        (
            "https://huggingface.co/org/name/resolve/main/model-00001-of-00004.safetensors?download=true",
            RepoId("org/name"),
        ),
        ("https://huggingface.co/org/name/commit/" + "a" * 40, RepoId("org/name", "a" * 40)),
        ("https://huggingface.co/org/name/discussions/3", RepoId("org/name")),
        ("https://huggingface.co/api/models/org/name", RepoId("org/name")),
        ("https://user:secret@huggingface.co/org/name", RepoId("org/name")),
        ("huggingface.co/org/name", RepoId("org/name")),
        ("hf.co/org/name:Q4_K_M", RepoId("org/name", "main", "Q4_K_M")),
        ("HF.co/org/name", RepoId("org/name")),
        ("hf://org/name", RepoId("org/name")),
        ("hf://models/org/name@v1/sub/model.safetensors", RepoId("org/name", "v1", "sub/model.safetensors")),
        ("https://hf-mirror.com/org/name", RepoId("org/name")),
    ],
)
def test_an_address_is_a_repo_id(address: str, expected: RepoId) -> None:
    assert parse_model(address) == expected


def test_an_address_of_the_endpoint_is_a_repo_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:8000/hub")
    assert parse_model("http://127.0.0.1:8000/hub/org/name/tree/dev") == RepoId("org/name", "dev")


def test_an_address_beside_another_revision_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="two revisions"):
        parse_model("https://huggingface.co/org/name/tree/dev", "v1")
    assert parse_model("https://huggingface.co/org/name", "v1") == RepoId("org/name", "v1")


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


@given(
    st.one_of(st.text(), st.text().map("https://hf.co/{}".format), st.text().map("hf://{}".format)),
    st.one_of(st.none(), st.text()),
)
def test_any_text_is_a_repo_a_path_or_a_usage_error(model: str, revision: str | None) -> None:
    try:
        parsed = parse_model(model, revision)
    except UsageError:
        return
    assert isinstance(parsed, (RepoId, LocalPath))
