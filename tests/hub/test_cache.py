"""Kept answers: what is asked again, what is not, and what damage does."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path

import pytest

from inspector.errors import AccessError, HubUnreachable, RepoNotFound
from inspector.hub import Checkpoint, Resolver
from tests.hub_server import Content, Fault, LoopbackHub, sharded, sparse

CONFIG: dict[str, Content] = {"config.json": {"model_type": "llama"}}
TENSORS = {f"layers.{i}.w": ("BF16", [8, 8]) for i in range(20)}
ONE_FILE: dict[str, Content] = {**CONFIG, "model.safetensors": sparse(TENSORS)}
OTHER: dict[str, Content] = {"config.json": {"model_type": "new"}, "model.safetensors": sparse({"new": ("F32", [2])})}
OFFLINE = {"offline": True, "timeout": 2.0}


def same(a: Checkpoint, b: Checkpoint) -> bool:
    return (a.revision, a.config, set(a.tensors), a.files, a.metadata) == (
        b.revision,
        b.config,
        set(b.tensors),
        b.files,
        b.metadata,
    )


def kept_files(home: Path) -> list[Path]:
    return sorted((home / "assets").rglob("*.json"))


@pytest.mark.parametrize("files", [ONE_FILE, {**CONFIG, **sharded(TENSORS, 3)}])
def test_a_second_run_asks_only_whether_the_revision_moved(hub: LoopbackHub, files: dict[str, Content]) -> None:
    hub.add_repo("org/name", files)
    with Resolver(endpoint=hub.url) as resolver:
        first = resolver.resolve("org/name")
    hub.forget()
    with Resolver(endpoint=hub.url) as resolver:
        second = resolver.resolve("org/name")
    assert [(seen.method, seen.path) for seen in hub.seen] == [("HEAD", "/org/name/resolve/main/config.json")]
    assert second.source == "cache"
    assert second.network.requests == 1
    assert second.network.cached
    assert same(first, second)


@pytest.mark.parametrize("status", [405, 501])
def test_a_mirror_that_cannot_be_asked_whether_it_moved_is_read_again(
    hub: LoopbackHub, resolver: Resolver, status: int
) -> None:
    hub.add_repo("org/name", ONE_FILE)
    hub.faults.append(Fault("status", method="HEAD", status=status, times=None))
    assert [resolver.resolve("org/name").source for _ in range(2)] == ["hub", "hub"]


def test_a_moved_revision_is_read_again(hub: LoopbackHub, resolver: Resolver) -> None:
    repo = hub.add_repo("org/name", ONE_FILE)
    old = resolver.resolve("org/name")
    repo.commit(OTHER)
    new = resolver.resolve("org/name")
    assert new.source == "hub"
    assert new.config == {"model_type": "new"}
    assert resolver.resolve("org/name").source == "cache"
    hub.forget()
    assert same(resolver.resolve("org/name", old.revision), old)
    assert hub.seen == []
    repo.branches["main"] = str(old.revision)
    assert same(resolver.resolve("org/name"), old)
    assert len(hub.seen) == 1


def test_offline_asks_nothing(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo("org/name", ONE_FILE)
    first = resolver.resolve("org/name")
    hub.forget()
    with Resolver(endpoint=hub.url, offline=True) as offline:
        assert same(offline.resolve("org/name"), first)
        assert offline.resolve("org/name").network.requests == 0
        for other in ("org/other", "org/name@dev"):
            with pytest.raises(HubUnreachable, match="offline"):
                offline.resolve(other)
    assert hub.seen == []


def test_offline_holds_as_huggingface_hub_says(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.add_repo("org/name", ONE_FILE)
    for offline in (None, False):
        with Resolver(endpoint=hub.url, offline=offline) as resolver, pytest.raises(HubUnreachable):
            resolver.resolve("org/name")
    assert hub.seen == []


@pytest.mark.parametrize(
    "fault",
    [
        Fault("hang", times=None),
        Fault("status", status=429, times=None),
        Fault("reset", times=None),
        Fault("status", times=None),
    ],
)
def test_a_kept_copy_answers_where_the_hub_does_not(hub: LoopbackHub, fault: Fault) -> None:
    hub.add_repo("org/name", ONE_FILE)
    with Resolver(endpoint=hub.url, timeout=0.5) as resolver:
        first = resolver.resolve("org/name")
        hub.faults.append(fault)
        second = resolver.resolve("org/name")
    assert same(first, second)
    assert second.source == "cache"
    assert str(first.revision) in second.warnings[0]


def test_a_repo_that_is_gone_is_not_answered_from_a_copy(hub: LoopbackHub, resolver: Resolver) -> None:
    repo = hub.add_repo("org/name", ONE_FILE)
    resolver.resolve("org/name")
    repo.private = True
    with pytest.raises(RepoNotFound):
        resolver.resolve("org/name")
    repo.private, repo.disabled = False, True
    with pytest.raises(AccessError, match="disabled"):
        resolver.resolve("org/name")


@pytest.mark.parametrize("damage", ["empty", "half", "one byte", "other schema", "other repo", "garbage", "deep"])
def test_a_damaged_entry_is_fetched_again(hub: LoopbackHub, resolver: Resolver, home: Path, damage: str) -> None:
    hub.add_repo("org/name", ONE_FILE)
    first = resolver.resolve("org/name")
    (entry,) = kept_files(home)
    data = entry.read_bytes()
    head, _, payload = data.partition(b"\n")
    value = json.loads(payload)
    if damage == "other schema":
        value["checkpoint"]["schema"] = 999
    if damage == "other repo":
        value["repo"] = "org/evil"
    changed = json.dumps(value).encode()
    if damage == "deep":
        changed = b"[" * 200_000
    signed = head.rsplit(b"=", 1)[0] + b"=" + hashlib.sha256(changed).hexdigest().encode() + b"\n" + changed
    entry.write_bytes(
        {
            "empty": b"",
            "half": data[: len(data) // 2],
            "one byte": data[:-9] + b"x" + data[-8:],
            "garbage": b"\xff\n{}",
        }.get(damage, signed)
    )
    again = resolver.resolve("org/name")
    assert again.source == "hub"
    assert same(first, again)
    assert entry.read_bytes() == data
    assert resolver.resolve("org/name").source == "cache"


def test_what_is_kept_is_the_user_s_alone(hub: LoopbackHub, home: Path) -> None:
    hub.tokens["hf_s3cr3t"] = {"*"}
    hub.add_repo("org/name", ONE_FILE, private=True)
    old = os.umask(0)
    try:
        with Resolver(endpoint=hub.url, token="hf_s3cr3t") as resolver:
            resolver.resolve("org/name")
    finally:
        os.umask(old)
    everything = list((home / "assets" / "llm-inspect").rglob("*"))
    assert {stat.S_IMODE(p.stat().st_mode) for p in everything if p.is_file()} == {0o600}
    assert {stat.S_IMODE(p.stat().st_mode) for p in everything if p.is_dir()} == {0o700}
    assert not any(b"s3cr3t" in p.read_bytes() for p in everything if p.is_file())


def test_a_cache_that_cannot_be_written_is_a_warning(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.add_repo("org/name", ONE_FILE)
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    with Resolver(endpoint=hub.url, cache_dir=blocked / "below") as resolver:
        checkpoint = resolver.resolve("org/name")
    assert checkpoint.source == "hub"
    assert "could not be kept" in checkpoint.warnings[-1]


def test_two_endpoints_do_not_share_answers(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo("org/name", ONE_FILE)
    first = resolver.resolve("org/name")
    with LoopbackHub() as other:
        other.add_repo("org/name", OTHER)
        with Resolver(endpoint=other.url) as second:
            assert second.resolve("org/name").config != first.config
            assert second.resolve("org/name", first.revision).config == {"model_type": "new"}


def download(home: Path, repo: str, files: dict[str, Content], sha: str, *leave_out: str) -> Path:
    """What huggingface_hub leaves on the disk: blobs, and a snapshot that links to them."""
    folder = home / "hub" / ("models--" + repo.replace("/", "--"))
    snapshot = folder / "snapshots" / sha
    (folder / "blobs").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(sha)
    snapshot.mkdir(parents=True)
    for i, (name, content) in enumerate(files.items()):
        if name in leave_out:
            continue
        blob = folder / "blobs" / str(i)
        if isinstance(content, dict):
            blob.write_text(json.dumps(content))
        else:
            blob.write_bytes(content.head + b"\0" * content.zeros)  # type: ignore[union-attr]
        (snapshot / name).symlink_to(blob)
    return folder


@pytest.mark.parametrize("files", [ONE_FILE, {**CONFIG, **sharded(TENSORS, 3)}])
def test_a_downloaded_repo_is_read_from_huggingface_hub_s_cache(
    hub: LoopbackHub, resolver: Resolver, home: Path, files: dict[str, Content]
) -> None:
    repo = hub.add_repo("org/name", files)
    folder = download(home, "org/name", files, repo.head)
    checkpoint = resolver.resolve("org/name")
    assert (checkpoint.source, checkpoint.revision) == ("cache", repo.head)
    assert len(checkpoint.tensors) == len(TENSORS)
    assert [seen.method for seen in hub.seen] == ["HEAD"]
    with Resolver(**OFFLINE) as offline:  # type: ignore[arg-type]
        assert same(offline.resolve("org/name"), checkpoint)
        assert same(offline.resolve("org/name", repo.head), checkpoint)
        assert same(offline.resolve(str(folder)), checkpoint)
    assert offline.resolve(str(folder)).source == "local"
    repo.commit(OTHER)
    assert resolver.resolve("org/name").source == "hub"


def test_a_half_downloaded_repo_is_read_from_the_hub(hub: LoopbackHub, resolver: Resolver, home: Path) -> None:
    files: dict[str, Content] = {**CONFIG, **sharded(TENSORS, 3)}
    repo = hub.add_repo("org/name", files)
    download(home, "org/name", files, repo.head, "model-00002-of-00003.safetensors")
    assert resolver.resolve("org/name").source == "hub"
    with Resolver(**OFFLINE) as offline, pytest.raises(HubUnreachable):  # type: ignore[arg-type]
        offline.resolve("org/name", "0" * 40)
