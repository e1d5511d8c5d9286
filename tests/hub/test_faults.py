"""Servers that fail: every fault at every request ends in time, with an answer or with an error of the right kind."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from inspector.errors import HubError, HubUnreachable, InspectError, RateLimited
from inspector.hub import Resolver
from tests.hub_server import Content, Fault, LoopbackHub, Repo, sharded, sparse

CONFIG: dict[str, Content] = {"config.json": {"model_type": "llama"}}
TENSORS = {f"model.layers.{i}.{name}.weight": ("BF16", [64, 64]) for i in range(400) for name in ("up", "down", "gate")}
ONE_FILE: dict[str, Content] = {**CONFIG, "model.safetensors": sparse(TENSORS)}
SHARDS: dict[str, Content] = {**CONFIG, **sharded(TENSORS, 3)}
TIMEOUT = 0.7
ALLOWED_SECONDS = 4 * TIMEOUT + 12
"""No measurement: far above what it takes, far below a server that hangs for a minute."""

FAULTS = {
    "reset": {},
    "reset_body": {},
    "truncate": {},
    "close": {},
    "hang": {},
    "hang_body": {},
    "drip": {},
    "drip_head": {},
    "ignore_range": {},
    "endless": {},
    "wrong_range": {},
    "short_range": {},
    "bomb": {},
    "status": {"status": 503},
    "redirect": {"location": "file:///etc/passwd"},
    "answer": {"headers": {"Content-Type": "text/html"}, "body": b"<html>Log in</html>"},
}
REQUESTS = {
    "config": ("one", "resolve/main/config.json", "hub"),
    "config behind the redirect": ("one", "config.json", "cdn or cache"),
    "file": ("one", "resolve/main/model.safetensors", "hub"),
    "file's first bytes": ("one", "model.safetensors?", "cdn"),
    "headers": ("many", "safetensors-metadata", "hub"),
    "listing": ("many", "/revision/main", "hub"),
    "index": ("mirror", "model.safetensors.index.json", "hub"),
    "a shard": ("mirror", "model-00002-of-00003.safetensors", "hub"),
    "a shard's first bytes": ("mirror", "model-00002-of-00003.safetensors?", "cdn"),
}


def prepare(hub: LoopbackHub, shape: str) -> Repo:
    hub.headers_endpoint = shape != "mirror"
    return hub.add_repo("org/name", ONE_FILE if shape == "one" else SHARDS)


@pytest.mark.parametrize("request_name", REQUESTS)
@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("times", [1, None])
def test_every_fault_at_every_request_ends_in_time(
    hub: LoopbackHub, request_name: str, kind: str, times: int | None
) -> None:
    shape, path, server = REQUESTS[request_name]
    repo = prepare(hub, shape)
    if server == "cdn or cache":
        path, server = "/api/resolve-cache", "hub"
    hub.faults.append(Fault(kind, path=path, server=server, times=times, **FAULTS[kind]))  # type: ignore[arg-type]
    start = time.monotonic()
    failed: InspectError | None = None
    with Resolver(endpoint=hub.url, timeout=TIMEOUT) as resolver:
        try:
            checkpoint = resolver.resolve("org/name")
        except InspectError as error:
            failed = error
    if failed is not None:
        assert failed.exit_code in (4, 5)
        assert "\n" not in failed.message
    else:
        assert {t.name for t in checkpoint.tensors} == set(TENSORS)
        assert checkpoint.config == {"model_type": "llama"}
        assert checkpoint.revision == repo.head
    assert time.monotonic() - start < ALLOWED_SECONDS


@pytest.mark.parametrize("kind", ["reset", "reset_body", "truncate", "close", "short_range", "status"])
@pytest.mark.parametrize("request_name", REQUESTS)
def test_what_passes_is_tried_again(hub: LoopbackHub, kind: str, request_name: str) -> None:
    shape, path, server = REQUESTS[request_name]
    prepare(hub, shape)
    if server == "cdn or cache":
        path, server = "/api/resolve-cache", "hub"
    hub.faults.append(Fault(kind, path=path, server=server, times=2))
    with Resolver(endpoint=hub.url, timeout=5) as resolver:
        assert len(resolver.resolve("org/name").tensors) == len(TENSORS)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_hub_that_is_down_is_given_up_after_three_tries(hub: LoopbackHub, status: int) -> None:
    hub.add_repo("org/name", ONE_FILE)
    hub.faults.append(Fault("status", path="config.json", status=status, times=None))
    with Resolver(endpoint=hub.url, timeout=5) as resolver, pytest.raises(HubError, match=str(status)):
        resolver.resolve("org/name")
    assert len([path for path in hub.paths() if path.endswith("config.json")]) == 3


def test_a_closed_port_is_said_at_once_and_not_tried_again(tmp_path: Path) -> None:
    with LoopbackHub() as hub:
        url = hub.url
    with Resolver(endpoint=url, timeout=30, cache_dir=tmp_path) as resolver, pytest.raises(HubUnreachable) as error:
        resolver.resolve("org/name")
    assert "refused" in error.value.message


def test_a_name_that_does_not_exist_is_said(tmp_path: Path) -> None:
    resolver = Resolver(endpoint="http://no-such-host.invalid", timeout=5, cache_dir=tmp_path)
    with resolver, pytest.raises(HubUnreachable, match="no-such-host"):
        resolver.resolve("org/name")


def test_a_hanging_server_is_not_tried_again(hub: LoopbackHub) -> None:
    hub.add_repo("org/name", ONE_FILE)
    hub.faults.append(Fault("hang", path="config.json", times=None))
    with Resolver(endpoint=hub.url, timeout=TIMEOUT) as resolver, pytest.raises(HubUnreachable, match=r"0\.7 seconds"):
        resolver.resolve("org/name")
    assert len([path for path in hub.paths() if path.endswith("config.json")]) == 1


def test_a_resolver_whose_threads_hang_still_answers(hub: LoopbackHub) -> None:
    hub.add_repo("org/slow", ONE_FILE)
    hub.add_repo("org/name", ONE_FILE)
    hub.faults.append(Fault("drip_head", path="org/slow", times=None, seconds=0.05))
    with Resolver(endpoint=hub.url, timeout=TIMEOUT, max_connections=3) as resolver:
        for _ in range(3):
            with pytest.raises(HubUnreachable):
                resolver.resolve("org/slow")
        assert len(resolver.resolve("org/name").tensors) == len(TENSORS)


def test_requests_that_nobody_waits_for_take_no_thread_away(hub: LoopbackHub) -> None:
    """The refusal of one request ends the answer while two others hang."""
    hub.add_repo("org/name", ONE_FILE)
    hub.faults.append(Fault("drip_head", path="org/missing/resolve/main/model", times=None, seconds=0.05))
    hub.faults.append(Fault("drip_head", path="org/missing/safetensors", times=None, seconds=0.05))
    with Resolver(endpoint=hub.url, timeout=5, max_connections=3) as resolver:
        for _ in range(4):
            with pytest.raises(InspectError, match="org/missing"):
                resolver.resolve("org/missing")
        assert len(resolver.resolve("org/name").tensors) == len(TENSORS)


@pytest.mark.parametrize("headers", [{"RateLimit": '"resolvers";r=0;t=1'}, {"Retry-After": "1"}])
def test_a_short_rate_limit_is_waited_for(hub: LoopbackHub, headers: dict[str, str]) -> None:
    hub.add_repo("org/name", ONE_FILE)
    hub.faults.append(Fault("status", path="config.json", status=429, headers=headers))
    with Resolver(endpoint=hub.url, timeout=2) as resolver:
        assert len(resolver.resolve("org/name").tensors) == len(TENSORS)


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"RateLimit": '"api";r=0;t=55', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'}, "in 55 seconds"),
        ({"Retry-After": "120"}, "in 120 seconds"),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, "later"),
        ({}, "later"),
    ],
)
def test_a_long_rate_limit_is_named(hub: LoopbackHub, headers: dict[str, str], said: str) -> None:
    hub.add_repo("org/name", ONE_FILE)
    hub.faults.append(Fault("status", path="config.json", status=429, headers=headers, times=None))
    with Resolver(endpoint=hub.url, timeout=2, token=False) as resolver, pytest.raises(RateLimited) as error:
        resolver.resolve("org/name")
    assert said in error.value.hint
    assert "hf auth login" in error.value.hint
    assert len([path for path in hub.paths() if path.endswith("config.json")]) == 1


def test_a_refusal_counts_more_than_a_lost_answer(hub: LoopbackHub) -> None:
    hub.faults.append(Fault("reset", path="config.json", times=None))
    with Resolver(endpoint=hub.url, timeout=5) as resolver, pytest.raises(InspectError) as error:
        resolver.resolve("org/name")
    assert error.value.kind == "repo_not_found"


def test_an_endless_body_is_not_read_to_its_end(hub: LoopbackHub) -> None:
    hub.add_repo("org/name", ONE_FILE)
    hub.faults.append(Fault("endless", server="cdn", times=None))
    with Resolver(endpoint=hub.url, timeout=5) as resolver, pytest.raises(InspectError):
        resolver.resolve("org/name")
    assert hub.bytes_sent < 50_000_000


def test_a_bomb_is_not_unpacked(hub: LoopbackHub) -> None:
    """A terabyte of spaces in a gigabyte: reading stops at the limit of a config."""
    hub.add_repo("org/name", ONE_FILE)
    hub.faults.append(Fault("bomb", path="/api/resolve-cache", times=None, size=10**12))
    with Resolver(endpoint=hub.url, timeout=5) as resolver, pytest.raises(InspectError, match="larger"):
        resolver.resolve("org/name")
    assert hub.bytes_sent < 50_000_000


def test_many_threads_share_one_resolver(hub: LoopbackHub) -> None:
    hub.headers_endpoint = False
    for i in range(12):
        hub.add_repo(f"org/m{i}", SHARDS)
    found: dict[int, int] = {}
    with Resolver(endpoint=hub.url, timeout=10, max_connections=4) as resolver:
        threads = [
            threading.Thread(target=lambda i=i: found.update({i: len(resolver.resolve(f"org/m{i}").tensors)}))
            for i in range(12)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == dict.fromkeys(range(12), len(TENSORS))
