"""`lock` and `verify` as a user runs them: what stays passes, what drifts fails, what cannot be read has its code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inspector.api.settings import Settings
from inspector.manifest import Entry, Expected, read_manifest, write_manifest
from inspector.settings import settings_of
from tests.batch.mixed import GPT2, PARAMETERS, small_files
from tests.conftest import Run, repo_files
from tests.hub_server import Content, Fault, LoopbackHub, Repo, sharded, sparse
from tests.test_differences import gpt2_tensors

GEMMA = "google/gemma-3-4b-it"
TENSOR_BYTES = 548_090_880
"""Of gpt2's file: 124,439,808 parameters and 12 masks of 1,024 x 1,024 in float32."""


@pytest.fixture
def repo(loopback_hub: LoopbackHub) -> Repo:
    return loopback_hub.add_repo("org/name", small_files())


@pytest.fixture
def locked(run: Run, loopback_hub: LoopbackHub, repo: Repo, tmp_path: Path) -> Path:
    """A manifest of org/name for a GPU that it fits and one that it does not."""
    assert repo
    path = tmp_path / "models.yaml"
    arguments = ("lock", "org/name", "--gpu", "24GiB", "--gpu", "100MB", "-o", path)
    done = run(*arguments, endpoint=loopback_hub.url)
    assert (done.code, done.out) == (0, ""), done.err
    return path


def findings(record: Any) -> list[tuple[str, bool]]:
    return [(finding["kind"], finding["fails"]) for entry in record["entries"] for finding in entry["findings"]]


def test_what_has_not_changed_passes(run_process: Run, loopback_hub: LoopbackHub, repo: Repo, locked: Path) -> None:
    text = locked.read_text()
    assert f'commit: "{repo.head}"' in text
    assert f"parameters: {PARAMETERS}\n" in text
    assert 'fits: {"24GiB": true, "100MB": false}' in text
    assert "context: 1024" in text
    done = run_process("verify", locked, endpoint=loopback_hub.url)
    assert done.code == 0, done.out + done.err
    assert done.out == (
        f"ok    {locked}:5: org/name: parameters, tensor_bytes, total, commit, fits 24GiB, fits 100MB\n"
    )
    record = run_process("verify", locked, "--json", endpoint=loopback_hub.url).record
    assert (record["ok"], findings(record), record["entries"][0]["commit"]) == (True, [], repo.head)
    offline = run_process("verify", locked, "--offline", endpoint=loopback_hub.url)
    assert offline.code == 0, offline.out


def test_a_moved_repo_fails_and_says_whether_its_headers_did(
    run: Run, loopback_hub: LoopbackHub, repo: Repo, locked: Path
) -> None:
    old = repo.head
    repo.commit({"config.json": small_files()["config.json"], **sharded(gpt2_tensors(), 2)})
    done = run("verify", locked, endpoint=loopback_hub.url)
    assert done.code == 1
    assert done.out.splitlines() == [
        f"FAIL  {locked}:5: org/name: main moved from {old[:12]} to {repo.head[:12]}: config and headers are the same"
    ]
    allowed = run("verify", locked, "--moved-ok", "--json", endpoint=loopback_hub.url)
    assert (allowed.code, findings(allowed.record)) == (0, [("moved", False)])
    config = small_files()["config.json"]
    assert isinstance(config, dict)
    tensors = {**gpt2_tensors(), "extra.weight": ("F32", [1_000_000])}
    repo.commit({"config.json": {**config, "n_ctx": 2048}, "model.safetensors": sparse(tensors)})
    changed = run("verify", locked, "--moved-ok", endpoint=loopback_hub.url)
    assert changed.code == 1
    lines = changed.out.splitlines()
    assert lines[0].endswith("1 config key and 1 tensor differ")
    assert f"at main tensor_bytes: {TENSOR_BYTES + 4_000_000:,} B" in changed.out
    record = run("verify", locked, "--json", endpoint=loopback_hub.url).record
    # A tensor that the class does not know counts as stored.
    assert findings(record)[:3] == [("moved", True), ("parameters", True), ("tensor_bytes", True)]
    parameters, tensor_bytes = record["entries"][0]["findings"][1:3]
    assert parameters["found"] == parameters["expected"] + 1_000_000
    assert tensor_bytes["expected"] == TENSOR_BYTES
    assert tensor_bytes["found"] == TENSOR_BYTES + 4_000_000


@pytest.mark.parametrize(("tolerance", "code"), [("0", 1), ("0.5%", 1), ("0.02", 0)])
def test_bytes_may_drift_within_the_tolerance(
    run: Run, loopback_hub: LoopbackHub, repo: Repo, tmp_path: Path, tolerance: str, code: int
) -> None:
    assert repo
    path = tmp_path / "m.yaml"
    expected = TENSOR_BYTES + TENSOR_BYTES // 100
    path.write_text(f"- model: org/name\n  tolerance: {tolerance}\n  expected: {{tensor_bytes: {expected}}}\n")
    done = run("verify", path, endpoint=loopback_hub.url)
    assert done.code == code
    assert done.out.startswith("ok " if code == 0 else f"FAIL  {path}:1: org/name: tensor_bytes: {TENSOR_BYTES:,} B")


def test_a_hand_written_verdict_is_checked(run: Run, loopback_hub: LoopbackHub, repo: Repo, tmp_path: Path) -> None:
    assert repo
    path = tmp_path / "m.yaml"
    path.write_text("models:\n- model: org/name\n  gpus: [24GiB, 100MB]\n  expected: {fits: true}\n")
    done = run("verify", path, endpoint=loopback_hub.url)
    assert done.code == 1
    assert done.out == f"FAIL  {path}:2: org/name: on 100MB it does not fit, expected: fits\n"


def test_errors_have_their_codes_and_the_highest_wins(
    run: Run, loopback_hub: LoopbackHub, repo: Repo, tmp_path: Path
) -> None:
    assert repo
    loopback_hub.add_repo("org/gated", small_files(), gated=True)
    loopback_hub.add_repo("org/down", small_files())
    loopback_hub.faults.append(Fault("status", path="/org/down/", status=503, times=None))
    path = tmp_path / "m.yaml"
    entry = "- {{model: org/{}, expected: {{parameters: {}}}}}\n"
    path.write_text(entry.format("name", 1) + entry.format("gated", 1) + entry.format("missing", 1))
    done = run("verify", path, endpoint=loopback_hub.url)
    assert done.code == 3
    assert [line.partition(":")[0].split()[0] for line in done.out.splitlines()] == ["FAIL", "ERROR", "ERROR"]
    other = tmp_path / "n.yaml"
    other.write_text(entry.format("down", PARAMETERS))
    both = run("verify", path, other, "--json", endpoint=loopback_hub.url)
    assert both.code == 5
    kinds = [entry["error"] and entry["error"]["kind"] for entry in both.record["entries"]]
    assert kinds == [None, "gated_repo", "repo_not_found", "hub_error"]


def test_a_copy_that_may_be_out_of_date_passes_for_nothing(
    run: Run, loopback_hub: LoopbackHub, repo: Repo, locked: Path
) -> None:
    assert repo
    loopback_hub.faults.append(Fault("status", status=503, times=None))
    assert run("verify", locked, endpoint=loopback_hub.url).code == 5
    # A bundled snapshot neither.
    path = locked.with_name("b.yaml")
    path.write_text(f"- {{model: {GPT2}, expected: {{parameters: {PARAMETERS}}}}}\n")
    assert run("verify", path, endpoint=loopback_hub.url).code == 5
    assert run("verify", path, "--offline", endpoint=loopback_hub.url).code == 0


def test_nothing_is_written_where_a_model_cannot_be_read(
    run: Run, loopback_hub: LoopbackHub, repo: Repo, tmp_path: Path
) -> None:
    assert repo
    path = tmp_path / "m.yaml"
    done = run("lock", "org/name", "org/missing", "-o", path, endpoint=loopback_hub.url)
    assert done.code == 3
    assert "org/missing" in done.err
    assert not path.exists()


def test_lock_writes_over_a_manifest_and_over_nothing_else(
    run: Run, loopback_hub: LoopbackHub, repo: Repo, locked: Path
) -> None:
    assert repo
    before = locked.read_text()
    assert run("lock", "org/name", "-o", locked, endpoint=loopback_hub.url).code == 0
    assert locked.read_text() != before
    precious = locked.with_name("precious.yaml")
    precious.write_text("# mine\n")
    done = run("lock", "org/name", "-o", precious, endpoint=loopback_hub.url)
    assert (done.code, precious.read_text()) == (2, "# mine\n")
    assert sorted(p.name for p in locked.parent.iterdir() if p.is_file()) == ["models.yaml", "precious.yaml"]


def test_a_branch_a_pick_and_an_engine_are_locked_as_they_were_asked(
    run: Run, loopback_hub: LoopbackHub, repo: Repo, tmp_path: Path
) -> None:
    repo.commit(dict[str, Content](small_files()), branch="next")
    path = tmp_path / "m.yaml"
    options = ("--gpu", "RTX 4090", "--engine", "vllm", "--max-num-seqs", "8", "-o", path)
    assert run("lock", "org/name@next", *options, endpoint=loopback_hub.url).code == 0
    text = path.read_text()
    assert 'revision: "next"' in text
    assert 'serving: {"max_num_seqs": 8}' in text
    assert "needed: {" in text
    assert "total:" not in text
    done = run("verify", path, endpoint=loopback_hub.url)
    assert done.code == 0, done.out
    assert "org/name@next" in done.out


def test_batch_reads_a_manifest_as_a_list(run: Run, loopback_hub: LoopbackHub, locked: Path) -> None:
    done = run("batch", locked, endpoint=loopback_hub.url)
    assert (done.code, done.out.count("\n")) == (0, 1)
    assert '"id":"org/name"' in done.out


@pytest.mark.parametrize("options", [("--images", "0"), ("--images", "2", "--image-size", "448x448")])
def test_images_are_locked_as_they_were_asked(
    run: Run, loopback_hub: LoopbackHub, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """A lock that forgot them failed at once: 9,799,729,888 bytes against 9,821,422,304."""
    loopback_hub.add_repo(GEMMA, repo_files(GEMMA, 2))
    path = tmp_path / "m.yaml"
    assert run("lock", GEMMA, *options, "-o", path, endpoint=loopback_hub.url).code == 0
    assert f"images: {options[1]}\n" in path.read_text()
    done = run("verify", path, endpoint=loopback_hub.url)
    assert done.code == 0, done.out


def test_every_setting_survives_a_manifest(tmp_path: Path) -> None:
    """Of any setting that there is, without a list of them."""
    values = {
        "str": "fp8",
        "int": 2,
        "float": 2.5,
        "bool": True,
        "tuple[int": (448, 448),
        "Sequence[str": ("24GiB",),
        "Formulas": "exact",
    }
    given: dict[str, Any] = {"engine": "vllm", "serving": {"max_num_seqs": 8}, "set": ("num_hidden_layers=40",)}
    for name, each in settings_of(Settings).items():
        if name not in given and not name.startswith("all_"):
            given[name] = next(value for start, value in values.items() if each.type.startswith(start))
    entry = Entry("org/name", Settings(**given), Expected(parameters=1))
    path = tmp_path / "m.yaml"
    path.write_text(write_manifest([entry]))
    (read,) = read_manifest(path)
    assert read.settings == entry.settings
    assert set(given) == {name for name in settings_of(Settings) if not name.startswith("all_")}
