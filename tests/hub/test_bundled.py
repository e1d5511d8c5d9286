"""Bundled snapshots: they answer where the Hub does not, and say so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inspector.errors import GatedRepo, HubUnreachable, RepoNotFound
from inspector.hub import Checkpoint, Resolver, Tensor
from inspector.hub.cache import bundled
from inspector.hub.cache.snapshot import dumps
from tests.hub_server import Fault, LoopbackHub, sparse


@pytest.fixture(autouse=True)
def snapshots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with one snapshot, under its own name and an alias."""
    folder = tmp_path / "snapshots"
    folder.mkdir()
    checkpoint = Checkpoint(
        "org/Known",
        None,
        "bundled",
        {"model_type": "llama"},
        (Tensor("a.0", "BF16", (2, 2)),),
        snapshot_date="2026-11-24",
    )
    (folder / "org--Known.json").write_text(dumps(checkpoint))
    (folder / "index.json").write_text(json.dumps({"org/Known": "org--Known.json", "known": "org--Known.json"}))
    monkeypatch.setattr(bundled, "FOLDERS", (tmp_path / "nowhere", folder))


@pytest.mark.parametrize(
    "fault", [Fault("hang", times=None), Fault("status", times=None), Fault("status", status=429, times=None)]
)
@pytest.mark.parametrize("model", ["org/Known", "org/known", "known", "KNOWN", "org/Known@main"])
def test_it_answers_where_the_hub_does_not(hub: LoopbackHub, fault: Fault, model: str) -> None:
    hub.faults.append(fault)
    with Resolver(endpoint=hub.url, timeout=0.4) as resolver:
        checkpoint = resolver.resolve(model)
    assert (checkpoint.source, checkpoint.revision, checkpoint.snapshot_date) == ("bundled", None, "2026-11-24")
    assert checkpoint.tensors == (Tensor("a.0", "BF16", (2, 2)),)
    assert "bundled snapshot of 2026-11-24" in checkpoint.warnings[0]
    assert "Hub" in checkpoint.warnings[0]


def test_it_answers_offline_and_without_a_connection() -> None:
    with LoopbackHub() as hub:
        url = hub.url
    for offline in (True, False):
        with Resolver(endpoint=url, offline=offline, timeout=5) as resolver:
            assert resolver.resolve("org/Known").source == "bundled"
            for other in ("org/other", "org/Known@v2"):
                with pytest.raises(HubUnreachable):
                    resolver.resolve(other)


def test_it_answers_for_a_gated_repo(hub: LoopbackHub, resolver: Resolver) -> None:
    repo = hub.add_repo("org/Known", {"config.json": {}}, gated=True)
    repo.commit({"config.json": {}}, "v2")
    assert "gated" in resolver.resolve("org/Known").warnings[0]
    with pytest.raises(GatedRepo):
        resolver.resolve("org/Known@v2")


def test_it_does_not_answer_where_the_hub_knows_no_such_repo(resolver: Resolver) -> None:
    with pytest.raises(RepoNotFound):
        resolver.resolve("org/Known")


def test_the_hub_comes_first(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo("org/Known", {"config.json": {}, "model.safetensors": sparse({"x": ("F32", [1])})})
    assert resolver.resolve("org/Known").source == "hub"
