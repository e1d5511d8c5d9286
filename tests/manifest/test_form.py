"""Manifests as text: what is written is read back, hand-written ones work, and hostile ones are refused with a line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.api.settings import Settings
from inspector.errors import FileMissing, InspectError, UsageError
from inspector.manifest import Entry, Expected, read_manifest, write_manifest

COMMIT = "0123456789" * 4
"""Digits alone: YAML takes it for a number."""


def manifest(folder: Path, text: str) -> Path:
    path = folder / "models.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    entries = [
        Entry(
            "org/name",
            Settings(context=8192, batch=3, dtype="fp8", kv_dtype="fp8", gpus=("RTX 4090", "24GiB")),
            Expected(124_439_808, 548_090_880, 911_000_000, {"RTX 4090": True, "24GiB": None}),
            "v1.0",
            COMMIT,
            0.01,
        ),
        Entry(
            "org/other:Q4_K_M",
            Settings(context=4096, engine="vllm", gpus=("4xH100",), serving={"tensor_parallel": 2, "version": "0.19"}),
            Expected(1, 2, None, {"4xH100": False}, {"4xH100": 3}),
            None,
            "e" * 39 + "1",
        ),
    ]
    read = read_manifest(manifest(tmp_path, write_manifest(entries)))
    assert [(e.model, e.settings, e.expected, e.revision, e.commit, e.tolerance) for e in read] == [
        (e.model, e.settings, e.expected, e.revision, e.commit, e.tolerance) for e in entries
    ]


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        (
            "models:\n- model: org/a\n  gpus: [24GiB, RTX 4090]\n  expected: {fits: true}\n",
            {"24GiB": True, "RTX 4090": True},
        ),
        ("- model: org/a\n  gpus: 24GiB\n  expected:\n    fits: no\n", {"24GiB": False}),
        ("- {model: org/a, gpus: [24GiB, 4xH100], expected: {fits: {4xH100: unknown}}}", {"4xH100": None}),
    ],
)
def test_hand_written_manifests_need_a_model_devices_and_a_verdict(
    tmp_path: Path, text: str, fits: dict[str, bool | None]
) -> None:
    (entry,) = read_manifest(manifest(tmp_path, text))
    assert (entry.model, entry.expected, entry.commit, entry.tolerance) == ("org/a", Expected(fits=fits), None, 0.0)


def test_a_commit_is_text_however_yaml_would_read_it(tmp_path: Path) -> None:
    for commit in (COMMIT, "1e10" + "0" * 36, "0" * 40):
        (entry,) = read_manifest(manifest(tmp_path, f"- {{model: org/a, commit: {commit}}}"))
        assert entry.commit == commit


@pytest.mark.parametrize(("text", "share"), [("0.05", 0.05), ("1%", 0.01), ("0", 0.0), ("1", 1.0)])
def test_tolerances_are_shares(tmp_path: Path, text: str, share: float) -> None:
    (entry,) = read_manifest(manifest(tmp_path, f"- {{model: org/a, commit: '{COMMIT}', tolerance: {text}}}"))
    assert entry.tolerance == share


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("# nothing\n", "is empty"),
        ("models: []\n", "names no models"),
        ("models: org/a\n", "no list of models"),
        ("models:\n- org/a\n", "line 2: an entry is a mapping"),
        ("- model: org/a\n", "line 1: nothing is expected"),
        ("- model: a/b/c\n  expected: {total: 1}\n", "line 1: 'a/b/c' is neither"),
        ("- gpus: [H100]\n", "line 1: this entry names no model"),
        ("- model: org/a\n  expcted: {total: 1}\n", "line 2: an entry has no key 'expcted'"),
        ("- model: org/a\n  expected: {fits: true}\n", "line 2: `fits` needs `gpus`"),
        ("- model: org/a\n  gpus: [H100]\n  expected: {fits: maybe}\n", "line 3: a verdict is true, false or unknown"),
        ("- model: org/a\n  gpus: [H100]\n  expected: {fits: {A100: true}}\n", "`fits` has no key 'A100'"),
        ("- model: org/a\n  gpus: [RTX 4900]\n  expected: {fits: true}\n", "line 1: unknown GPU"),
        ("- model: org/a\n  gpus: [auto]\n  expected: {fits: true}\n", "line 2: `auto` is another GPU"),
        ("- model: org/a\n  commit: abc\n", "line 2: a commit is 40"),
        ("- model: org/a\n  expected: {total: -1}\n", "line 2: a whole number from 0"),
        ("- model: org/a\n  expected: {total: 1.5}\n", "a whole number from 0"),
        ("- model: org/a\n  expected: {total: true}\n", "a whole number from 0"),
        ("- model: org/a\n  expected: {total: 99999999999999999999}\n", "a whole number from 0"),
        ("- model: org/a\n  expected: {total: [1]}\n", "one value is wanted"),
        ("- model: org/a\n  model: org/b\n", "'model' is there twice"),
        ("- model: org/a\n  context: 0\n  expected: {total: 1}\n", "line 2: a whole number from 1"),
        ("- model: org/a\n  dtype: fp7\n  expected: {total: 1}\n", "line 1"),
        ("- model: org/a\n  engine: nosuch\n  expected: {total: 1}\n", "line 1: no memory profile"),
        (
            "- model: org/a\n  engine: vllm\n  gpus: [H100]\n  serving: {nosuch: 1}\n  expected: {fits: true}\n",
            "line 1",
        ),
        ("- model: org/a\n  tolerance: 2\n  expected: {total: 1}\n", "line 2: a tolerance"),
        ("- model: org/a\n  tolerance: x%\n  expected: {total: 1}\n", "line 2: a tolerance"),
        ("- model: ./here\n  revision: v1\n  expected: {total: 1}\n", "a path has no revision"),
        ("- model: org/a@v1\n  revision: v2\n  expected: {total: 1}\n", "two revisions"),
        ("- !!python/object/apply:os.system ['true']\n", "line 1: an entry is a mapping"),
        ("- model: !!python/name:os.system x\n  expected: {total: 1}\n", "line 1: one value is wanted"),
        ("[" * 5000, "no valid YAML"),
        ("- model: 'org/a\n", "no valid YAML"),
        ("- &a {model: *a}\n", "one value is wanted"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nmodels: [*b, *b]\n", "an entry is a mapping"),
        ("x" * 3_000_000, "larger than any"),
    ],
)
def test_what_is_no_manifest_is_refused_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    path = manifest(tmp_path, text)
    with pytest.raises(UsageError) as error:
        read_manifest(path)
    assert error.value.message.startswith(str(path))
    assert words in str(error.value)
    assert "\n" not in error.value.message


def test_a_manifest_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(FileMissing):
        read_manifest(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="no UTF-8"):
        read_manifest(tmp_path / "bytes.yaml")
    with pytest.raises(UsageError):
        read_manifest(tmp_path)


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=6,
)
KEYS = (
    "model",
    "commit",
    "context",
    "batch",
    "dtype",
    "engine",
    "serving",
    "gpus",
    "tolerance",
    "expected",
    "formulas",
    "images",
    "image_size",
)


@given(st.dictionaries(st.sampled_from(KEYS), VALUES))
def test_any_entry_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, entry: dict[str, object]) -> None:
    import json

    path = manifest(tmp_path_factory.mktemp("m"), json.dumps([{"model": "org/a", "gpus": ["H100"], **entry}]))
    try:
        assert len(read_manifest(path)) == 1
    except InspectError as error:
        refused = error.message
        assert refused.startswith(str(path))
