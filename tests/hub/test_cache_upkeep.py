"""The cache as a whole: counted, bounded, cleared; the least recently used goes first, and nothing of others ever."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from inspector.errors import UsageError
from inspector.hub import Checkpoint, Tensor
from inspector.hub.cache.store import Cache, cache_limit
from inspector.hub.cache.upkeep import cache_info, clear, kept_files, prune
from inspector.hub.repo_id import RepoId
from tests.batch.mixed import small_files
from tests.conftest import Run
from tests.hub_server import LoopbackHub

ENDPOINT = "https://hub.example"
LIMIT = 10**9


def commit(number: int) -> str:
    return f"{number:040x}"


def checkpoint(number: int, tensors: int = 10) -> Checkpoint:
    return Checkpoint(
        "org/name",
        commit(number),
        "hub",
        {"n": number},
        tuple(Tensor(f"t{i}x", "F32", (i + 1,)) for i in range(tensors)),
    )


def filled(folder: Path, count: int) -> list[Path]:
    """A cache of so many models, the first the one that was used longest ago. Returns its answers in that order."""
    cache = Cache(folder, ENDPOINT)
    paths = []
    for number in range(count):
        assert cache.store(RepoId(f"org/m{number}"), checkpoint(number)) is None
        (path,) = (folder / f"org--m{number}").rglob("*.json")
        os.utime(path, (number + 1, number + 1))
        paths.append(path)
    return paths


def test_it_is_counted(tmp_path: Path) -> None:
    assert cache_info(tmp_path / "none", 5).entries == 0
    paths = filled(tmp_path, 3)
    (tmp_path / "notes.txt").write_text("mine")
    info = cache_info(tmp_path, LIMIT)
    assert (info.entries, info.repos, info.oldest, info.limit) == (3, 3, 1.0, LIMIT)
    assert info.bytes == sum(path.stat().st_size for path in paths) + 3 * 40


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
def test_files_are_the_users_alone(tmp_path: Path) -> None:
    filled(tmp_path / "cache", 1)
    prune(tmp_path / "cache", LIMIT)
    for path in (tmp_path / "cache").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_the_least_recently_used_goes_first_and_its_note_with_it(tmp_path: Path) -> None:
    paths = filled(tmp_path, 10)
    sizes = [path.stat().st_size for path in paths]
    limit = sum(sizes) // 2
    removed, _ = prune(tmp_path, limit)
    left = [path for path in paths if path.exists()]
    assert left == paths[removed:]
    assert sum(sizes[removed:]) <= 0.8 * limit < sum(sizes[removed - 1 :])
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == [
        f"org--m{i}" for i in range(removed, 10)
    ]
    cache = Cache(tmp_path, ENDPOINT)
    assert cache.commit(RepoId("org/m9")) == commit(9)
    assert cache.commit(RepoId("org/m0")) is None


def test_out_of_time_the_oldest_are_gone_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = filled(tmp_path, 6)
    assert prune(tmp_path, 0, seconds=-1) == (0, 0)
    assert all(path.exists() for path in paths)
    ticks = iter(range(10**6))
    monkeypatch.setattr("inspector.hub.cache.upkeep.time.monotonic", lambda: next(ticks))
    # 12 files are looked at, the begin and 3 of those that go take a tick each.
    count, _ = prune(tmp_path, 0, seconds=12 + 3)
    assert count == 3
    assert [path.exists() for path in paths] == [False] * 3 + [True] * 3


def test_what_is_read_was_used(tmp_path: Path) -> None:
    paths = filled(tmp_path, 4)
    assert Cache(tmp_path, ENDPOINT).load(RepoId("org/m0"), commit(0)) is not None
    one = paths[0].stat().st_size
    prune(tmp_path, int(one * 2.6))
    assert [path for path in paths if path.exists()] == [paths[0], paths[3]]


def test_it_stays_within_its_limit_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_INSPECT_CACHE_SIZE", "40KB")
    cache = Cache(tmp_path, ENDPOINT)
    sizes = []
    for number in range(300):
        assert cache.store(RepoId(f"org/m{number}"), checkpoint(number)) is None
        if cache._pruning is not None:
            cache._pruning.join()
        sizes.append(cache_info(tmp_path, 0).bytes)
    assert max(sizes) <= 40_000 * (1 + 1 / 16) + 2 * sizes[0]
    assert sizes[-1] > 40_000 / 2
    assert cache.load(RepoId("org/m299"), commit(299)) is not None
    assert cache.load(RepoId("org/m0"), commit(0)) is None


def test_a_limit_of_nothing_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_INSPECT_CACHE_SIZE", "0")
    assert Cache(tmp_path, ENDPOINT).store(RepoId("org/name"), checkpoint(1)) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (None, 512_000_000),
        ("", 512_000_000),
        ("7", 7),
        ("7b", 7),
        ("1 GiB", 2**30),
        ("3mb", 3_000_000),
        ("2TB", 2 * 10**12),
    ],
)
def test_its_limit_is_a_size(monkeypatch: pytest.MonkeyPatch, text: str | None, size: int) -> None:
    if text is None:
        monkeypatch.delenv("LLM_INSPECT_CACHE_SIZE", raising=False)
    else:
        monkeypatch.setenv("LLM_INSPECT_CACHE_SIZE", text)
    assert cache_limit() == size


@pytest.mark.parametrize("text", ["much", "-1", "1.5GB", "10 XB", "9" * 40])
def test_another_limit_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("LLM_INSPECT_CACHE_SIZE", text)
    with pytest.raises(UsageError, match="LLM_INSPECT_CACHE_SIZE"):
        cache_limit()


def strangers(folder: Path, place: Path) -> list[Path]:
    """Files that are not the cache's, some where its own are and some with names such as its own have."""
    outside = folder.parent / "outside.json"
    outside.write_text("llm-inspect outside")
    made = [
        folder / "notes.txt",
        folder / "org--mine" / "notes.txt",
        place / "notes.json",
        place / f"{'a' * 40}.json",
        place / f"{'b' * 40}.txt",
        place / "deeper" / f"{'c' * 40}.json",
        place / "refs" / "text",
    ]
    for path in made:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("somebody else's")
    (place / f"{'d' * 40}.json").symlink_to(outside)
    (folder / "org--linked").symlink_to(place.parent)
    return [*made, outside, place / f"{'d' * 40}.json", folder / "org--linked"]


@pytest.mark.skipif(os.name != "posix", reason="links")
@pytest.mark.parametrize("how", ["clear", "prune"])
def test_nothing_of_others_is_removed(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "cache"
    answers = filled(folder, 2)
    others = strangers(folder, answers[0].parent)
    count, _ = clear(folder) if how == "clear" else prune(folder, 0)
    assert count == 2
    assert not any(path.exists() for path in answers)
    assert all(os.path.lexists(path) for path in others)
    assert not (folder / "org--m1").exists()


def test_one_model_is_cleared_and_the_others_stay(tmp_path: Path) -> None:
    paths = filled(tmp_path, 3)
    size = paths[1].stat().st_size
    assert clear(tmp_path, "org/m1") == (1, size + 40)
    assert [path.exists() for path in paths] == [True, False, True]
    assert clear(tmp_path, "org/m1") == (0, 0)


def test_left_overs_of_killed_runs_go_once_they_are_old(tmp_path: Path) -> None:
    (path,) = filled(tmp_path, 1)
    old, new = (path.with_name(f".llm-inspect-{name}") for name in ("old", "new"))
    for each in (old, new):
        each.write_text("half")
    hours_ago = time.time() - 7200
    os.utime(old, (hours_ago, hours_ago))
    prune(tmp_path, LIMIT)
    assert (old.exists(), new.exists(), path.exists()) == (False, True, True)


def test_runs_that_write_read_and_clear_at_once_disturb_nobody(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from tests.hub.test_cache_upkeep import ENDPOINT, Cache, RepoId, checkpoint, clear, commit, prune
folder, who = Path(sys.argv[1]), int(sys.argv[2])
cache = Cache(folder, ENDPOINT)
for turn in range(150):
    number = turn % 7
    repo = RepoId(f"org/m{number}")
    if who == 0:
        clear(folder) if turn % 3 else prune(folder, 3000)
    else:
        problem = cache.store(repo, checkpoint(number))
        assert problem is None, problem
        found = cache.load(repo, commit(number))
        assert found is None or found.config == {"n": number}
"""
    runs = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path), str(who)], cwd=Path(__file__).parents[2])
        for who in range(4)
    ]
    assert [process.wait(60) for process in runs] == [0, 0, 0, 0]
    assert all(re.fullmatch(r"[0-9a-f]{40}\.json|main", kept.path.name) for kept in kept_files(tmp_path))


def test_the_commands(run: Run, loopback_hub: LoopbackHub, command_home: Path) -> None:
    for name in ("org/a", "org/b"):
        loopback_hub.add_repo(name, small_files())
    assert run("cache", "info", "--json").record["entries"] == 0
    run("org/a", "org/b", endpoint=loopback_hub.url)
    record = run("cache", "info", "--json").record
    assert (record["entries"], record["repos"], record["limit"]) == (2, 2, 512_000_000)
    assert Path(record["folder"]).is_relative_to(command_home)
    assert record["bytes"] > 0
    assert record["oldest"] is not None
    assert "2 of 2 models" in run("cache", "info").out
    assert run("cache", "clear", "org/a").out.startswith("removed 1 answer, ")
    assert run("cache", "clear", "../x").code == 2
    assert run("cache", "info", "--json").record["entries"] == 1
    assert run("org/a", "--offline", endpoint=loopback_hub.url).code == 5
    assert run("cache", "clear").out.startswith("removed 1 answer, ")
    assert run("cache", "info", LLM_INSPECT_CACHE_SIZE="much").code == 2
