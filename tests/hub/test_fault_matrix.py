"""The fault matrix: every cell ends with the right answer or the right code, and docs/faults.md says which."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from tests.conftest import command_environment
from tests.hub import fault_matrix
from tests.hub.fault_matrix import ANSWER, KINDS, PAGE, PLACES, TOKEN, Cell
from tests.hub.make_parts import BASE
from tests.hub_server import Fault, LoopbackHub, Seen

Matrix = tuple[list[Cell], list[Seen], list[Seen], Path]


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    """The matrix takes a minute: one worker runs it, the others wait for what it found."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    kept = shared / "fault_matrix.pickle"
    with FileLock(f"{kept}.lock"):
        if kept.exists():
            found: Matrix = pickle.loads(kept.read_bytes())
            return found
        home = tmp_path_factory.mktemp("home")
        cells, hub, other = fault_matrix.run(home)
        found = (cells, list(hub.seen), list(other.seen), home)
        kept.write_bytes(pickle.dumps(found))
        return found


def test_every_cell_ends_with_the_right_answer_or_an_error_of_the_right_kind(matrix: Matrix) -> None:
    assert [cell for cell in matrix[0] if cell.wrong or not cell.outcome] == []


def test_all_commands_end_alike(matrix: Matrix) -> None:
    outcomes: dict[tuple[str, str], set[str]] = {}
    for cell in matrix[0]:
        outcomes.setdefault((cell.kind, cell.place), set()).add(cell.outcome)
    assert {key: ends for key, ends in outcomes.items() if len(ends) > 1} == {}


def test_what_passes_and_what_there_is_another_way_to_is_answered(matrix: Matrix) -> None:
    sound = {"new commit just before", "200 for a range", *(kind for kind in KINDS if kind.endswith("once"))}
    failed = [
        (cell.kind, cell.place)
        for cell in matrix[0]
        if (cell.kind in sound or cell.place in ("all headers", "listing")) and cell.outcome != ANSWER
    ]
    assert failed == []


def test_the_page_in_the_docs_is_what_happens(matrix: Matrix) -> None:
    assert fault_matrix.table(matrix[0]) == PAGE.read_text(encoding="utf-8"), "python -m tests.hub.fault_matrix --write"


def test_no_other_server_ever_sees_the_token(matrix: Matrix) -> None:
    _, hub, other, home = matrix
    assert other
    assert {seen.server for seen in hub if seen.authorized} == {"hub"}
    assert not [seen for seen in other if TOKEN in str(seen)]
    kept = [path for path in home.rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if TOKEN.encode() in path.read_bytes() or b"s3cr3t" in path.read_bytes()]


def test_the_table_has_every_kind_of_fault_of_the_loopback_hub() -> None:
    named = (Fault.__doc__ or "").split("kind: one of")[1].split("path:")[0]
    used = {kind.fault.kind for kind in KINDS.values() if kind.fault is not None}
    assert all(kind in named for kind in used)
    assert used == {
        *("status", "answer", "reset", "reset_body", "truncate", "hang", "hang_body", "drip", "drip_head"),
        *("ignore_range", "endless", "wrong_range", "short_range", "bomb", "redirect", "close"),
    }
    assert len(PLACES) == 10


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("server", ["hub", "cdn"])
@pytest.mark.parametrize("kind", ["endless", "bomb"])
def test_the_command_ends_within_its_time_out_and_200_mb_against_a_body_without_end(
    loopback_hub: LoopbackHub, tmp_path: Path, kind: str, server: str
) -> None:
    loopback_hub.add_repo("org/model", BASE)
    loopback_hub.faults.append(Fault(kind, server=server, times=None, size=10**12))
    code = (
        "import sys\nfrom inspector.cli.main import run\ncode = run(['org/model'])\n"
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(code, int(peak.split()[1]) < 200_000)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=command_environment(tmp_path, loopback_hub.url, HF_HUB_DOWNLOAD_TIMEOUT="10"),
        timeout=60,
        check=False,
    )
    assert done.stdout.split() in (["4", "True"], ["5", "True"])
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("path", ["resolve-cache", "main/config.json"])
def test_answers_that_name_two_commits_are_never_mixed(loopback_hub: LoopbackHub, tmp_path: Path, path: str) -> None:
    """The config says that it is of a commit that no other answer knows: an error, or all of the other commit."""
    repo = loopback_hub.add_repo("org/model", BASE)
    headers = {"X-Repo-Commit": "f" * 40}
    body = b'{"model_type": "llama", "num_hidden_layers": 7}'
    loopback_hub.faults.append(Fault("answer", path=path, times=None, headers=headers, body=body))
    done = subprocess.run(
        [sys.executable, "-m", "inspector", "org/model", "--json"],
        capture_output=True,
        text=True,
        env=command_environment(tmp_path, loopback_hub.url),
        timeout=60,
        check=False,
    )
    record = json.loads(done.stdout)
    if done.returncode == 0:
        assert (record["revision"], record["model"]["num_hidden_layers"]) == (repo.head, 2)
    else:
        assert done.returncode in (3, 5)
        assert "two commits" in done.stderr or "f" * 40 in done.stderr
