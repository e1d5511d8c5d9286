"""For the batch as a library: a loopback Hub, a resolver on it, and nothing of this machine's own caches or tokens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from huggingface_hub.utils._http import close_session

from inspector.hub import Resolver
from tests.hub_server import LoopbackHub


@pytest.fixture(autouse=True)
def no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path / "assets"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        yield hub
    close_session()


@pytest.fixture
def resolver(hub: LoopbackHub) -> Iterator[Resolver]:
    with Resolver(endpoint=hub.url, timeout=2, token=False) as resolver:
        yield resolver
