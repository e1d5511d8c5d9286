"""The batch over a local Ray cluster: the same records as on one machine, within one budget, whatever is lost."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inspector import inspect_many
from inspector.batch.cluster import Budget
from inspector.errors import UsageError
from inspector.hub import Resolver
from tests.batch.limited_hub import Limits, limit
from tests.batch.mixed import MIXED, add_mixed, small_files
from tests.conftest import Run
from tests.hub_server import LoopbackHub

WORKERS = 3


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


def facts(records: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By ID, all but how the answer came: which worker's cache had it differs."""
    return {record["id"]: {k: v for k, v in record.items() if k not in ("network", "source")} for record in records}


def workers() -> list[int]:
    """The processes of this cluster's workers that have begun."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            name = (folder / "cmdline").read_bytes()
            if folder.name.isdigit() and name.startswith(b"ray::Worker") and os.getpid() in ancestors(int(folder.name)):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def ancestors(process: int) -> set[int]:
    found: set[int] = set()
    while process > 1 and process not in found:
        found.add(process)
        process = int((Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[1])
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the workers in /proc")
def test_a_killed_worker_loses_nothing(cluster: Any, hub: LoopbackHub, resolver: Resolver) -> None:
    from inspector.batch.cluster import inspect_many_on_ray

    assert cluster
    add_mixed(hub)
    ids = [*MIXED, *(f"org/m{i}" for i in range(120))]
    for model in ids[len(MIXED) :]:
        hub.add_repo(model, small_files())
    hub.latency = 0.05
    records, killed = [], None
    arguments = {"workers": WORKERS, "jobs": 2, "endpoint": hub.url, "timeout": 2, "token": False, "gpus": ("24GiB",)}
    for record in inspect_many_on_ray(ids, **arguments):
        records.append(record)
        if len(records) == 20:
            running = workers()
            assert len(running) > 1, "all of it on one worker"
            killed = running[0]
            os.kill(killed, signal.SIGKILL)
        if len(records) == 100:
            assert killed not in workers()
    assert sorted(record["id"] for record in records) == sorted(ids)
    hub.latency = 0
    hub.faults.clear()
    add_mixed(hub)
    alone = list(inspect_many(ids, resolver=resolver, gpus=("24GiB",)))
    ours, theirs = facts(records), facts(alone)
    assert {model: record["outcome"] for model, record in ours.items()} == {
        model: record["outcome"] for model, record in theirs.items()
    }
    for model in (model for model, record in ours.items() if "error" not in record):
        assert ours[model] == theirs[model]


def test_in_order_and_within_one_budget(cluster: Any, hub: LoopbackHub) -> None:
    from inspector.batch.cluster import inspect_many_on_ray

    assert cluster
    ids = [f"org/m{i}" for i in range(30)]
    for model in ids:
        hub.add_repo(model, small_files())
    limits = Limits(4, {"api": 40, "resolvers": 40})
    limit(hub, limits)
    records = list(
        inspect_many_on_ray(iter(ids), workers=WORKERS, jobs=2, ordered=True, endpoint=hub.url, timeout=20, token=False)
    )
    assert [(record["id"], record["outcome"]) for record in records] == [(model, "ok") for model in ids]
    # Nobody knows the limit before the first answer; from then on all keep it.
    assert sum(limits.over.values()) == 0
    assert len(limits.windows) > 2


def test_a_model_that_ends_its_workers_costs_no_other_its_record(
    cluster: Any, hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inspector.batch import cluster as module

    class Poisoned(module.Worker):
        def inspect(self, model: str) -> dict[str, Any]:
            if model == "org/poison":
                os._exit(1)
            return super().inspect(model)

    assert cluster
    monkeypatch.setattr(module, "Worker", Poisoned)
    ids = [*(f"org/m{i}" for i in range(9)), "org/poison", *(f"org/m{i}" for i in range(9, 30))]
    for model in ids:
        hub.add_repo(model, small_files())
    # More workers than there is room for: the others do no work.
    arguments = {"workers": WORKERS + 2, "jobs": 2, "endpoint": hub.url, "timeout": 5, "token": False}
    records = list(module.inspect_many_on_ray(ids, **arguments))
    assert sorted(record["id"] for record in records) == sorted(ids)
    outcomes = {record["id"]: record["outcome"] for record in records}
    assert outcomes.pop("org/poison") == "worker_lost"
    assert set(outcomes.values()) == {"ok"}


def test_a_lost_workers_requests_count_no_more() -> None:
    budget = Budget()
    url = "https://hub.example/api/models/org/a"
    first, _ = budget.take(1, url)
    told = {"ratelimit": '"api";r=2;t=200', "ratelimit-policy": '"fixed window";"api";q=500;w=300'}
    budget.give_back(first, url, 200, told)
    lost, kept = budget.take(1, url), budget.take(2, url)
    assert lost[0]
    assert kept[0]
    ticket, seconds = budget.take(2, url)
    assert ticket == 0
    assert 199 < seconds <= 201
    budget.lost(1)
    budget.give_back(kept[0], url, 200, told | {"ratelimit": '"api";r=1;t=200'})
    # Two were sent; the Hub has counted one of them. The other may have come or not: it is not sent again unasked.
    assert budget.take(2, url)[0] == 0
    assert budget.retries(url, 0.0) is True
    assert budget.retries(url, 200.0) is False


def test_arguments_that_cannot_be_are_refused_at_once() -> None:
    from inspector.batch.cluster import inspect_many_on_ray

    for wrong in ({"jobs": 0}, {"workers": 0}, {"gpus": ("RTX 4900",)}, {"dtype": "fp7"}):
        with pytest.raises(UsageError):
            inspect_many_on_ray([], **wrong)  # type: ignore[arg-type]


def test_a_server_that_names_no_limit_is_asked_without_the_budget() -> None:
    taken: list[str] = []

    class Local:
        """The budget's calls, done here at once."""

        def __init__(self) -> None:
            self.budget = Budget()

        def __getattr__(self, name: str) -> Any:
            method = getattr(self.budget, name)

            class Call:
                @staticmethod
                def remote(*arguments: Any) -> Any:
                    taken.append(name)
                    return method(*arguments)

            return Call

    from inspector.batch.cluster import SharedRateLimiter

    rate_limiter = SharedRateLimiter(Local(), 1)
    rate_limiter._wait_for = lambda answer: answer  # type: ignore[method-assign]
    url = "https://private.example/org/a/resolve/main/config.json"
    for headers in ({}, {}, {"ratelimit": '"resolvers";r=9;t=20'}, {"ratelimit": '"resolvers";r=8;t=20'}):
        with rate_limiter.turn(url, lambda _: None) as report:
            report(200, headers)
    assert taken == ["take", "give_back", "take", "give_back"]


def test_the_command_on_a_cluster_writes_the_same_records(run: Run, loopback_hub: LoopbackHub, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    files = small_files()
    for i in range(12):
        loopback_hub.add_repo(f"org/m{i}", files)
    path = tmp_path / "models.txt"
    path.write_text("\n".join([*(f"org/m{i}" for i in range(12)), "org/none"]))
    out = tmp_path / "out.jsonl"
    arguments = ("batch", path, "--ordered", "--gpu", "24GiB")
    cluster = ("--engine-cluster", "ray", "--workers", "2", "--output", out)
    ours = run(*arguments, *cluster, endpoint=loopback_hub.url)
    assert ours.code == 3, ours.err
    assert "13 models: 12 fit, 1 failed" in ours.err
    alone = run(*arguments, endpoint=loopback_hub.url)
    assert facts([json.loads(line) for line in out.read_text().splitlines()]) == facts(
        [json.loads(line) for line in alone.out.splitlines()]
    )
    again = run(*arguments, *cluster, "--resume", endpoint=loopback_hub.url)
    assert (again.code, len(out.read_text().splitlines())) == (3, 13)
