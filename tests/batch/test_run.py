"""The library: every ID comes to exactly one record, whatever is wrong with it, and nothing grows with the list."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from inspector import ainspect_many, inspect_many
from inspector.batch.run import AHEAD
from inspector.errors import UsageError
from inspector.hub import Resolver
from tests.batch.mixed import MIXED, PARAMETERS, add_mixed, small_files
from tests.hub_server import Fault, LoopbackHub


def test_a_mixed_list_comes_to_one_record_each(hub: LoopbackHub, resolver: Resolver) -> None:
    add_mixed(hub)
    records = list(inspect_many(MIXED, resolver=resolver, jobs=4))
    assert {record["id"]: record["outcome"] for record in records} == MIXED
    assert len(records) == len(MIXED)
    for record in records:
        if record["outcome"] == "ok":
            assert record["parameters"]["total"] == PARAMETERS
            assert record["schema"] == 1
        else:
            assert set(record) == {"id", "outcome", "schema", "repo_id", "error"}
            assert record["error"]["message"]


def test_one_that_hangs_delays_nobody(hub: LoopbackHub, resolver: Resolver) -> None:
    for name in ("org/hangs", *(f"org/m{i}" for i in range(20))):
        hub.add_repo(name, small_files())
    hub.faults.append(Fault("hang", path="/org/hangs/", times=None))
    ids = ["org/hangs", *(f"org/m{i}" for i in range(20))]
    assert [record["id"] for record in inspect_many(ids, resolver=resolver, jobs=2)][-1] == "org/hangs"


def test_in_order_the_records_wait_for_the_slow_one(hub: LoopbackHub, resolver: Resolver) -> None:
    add_mixed(hub)
    assert [record["id"] for record in inspect_many(MIXED, resolver=resolver, ordered=True)] == list(MIXED)


def test_the_async_twin_gives_the_same(hub: LoopbackHub, resolver: Resolver) -> None:
    add_mixed(hub)

    async def collect() -> dict[str, str]:
        return {
            record["id"]: record["outcome"]
            async for record in ainspect_many(MIXED, resolver=resolver, ordered=True, gpus=("24GiB",))
        }

    expected = {model: "fits" if outcome == "ok" else outcome for model, outcome in MIXED.items()}
    assert asyncio.run(collect()) == expected


def test_ids_are_drawn_as_they_are_needed_and_stopping_early_asks_no_more(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo("org/model", small_files())
    drawn = 0

    def endless() -> Iterator[str]:
        nonlocal drawn
        while True:
            drawn += 1
            yield "org/model"

    records = inspect_many(endless(), resolver=resolver, jobs=3)
    for _ in range(50):
        assert next(records)["outcome"] == "ok"
    records.close()
    assert drawn <= 50 + 6
    hub.forget()
    assert next(inspect_many(["org/model"], resolver=resolver))["outcome"] == "ok"
    assert len(hub.seen) == 1


def test_in_order_no_more_than_a_window_is_begun_before_a_slow_one_is_done(
    hub: LoopbackHub, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inspector.batch.run.AHEAD", 5)
    assert AHEAD > 5
    for name in ("org/hangs", "org/model"):
        hub.add_repo(name, small_files())
    hub.faults.append(Fault("hang", path="/org/hangs/", times=None))
    drawn: list[str] = []

    def ids() -> Iterator[str]:
        for model in ["org/hangs", *["org/model"] * 30]:
            drawn.append(model)
            yield model

    records = inspect_many(ids(), resolver=resolver, ordered=True, jobs=4)
    assert next(records)["outcome"] == "hub_unreachable"
    assert len(drawn) <= 5 + 5
    assert sum(1 for _ in records) == 30


def test_threads_do_not_grow_with_the_list(hub: LoopbackHub) -> None:
    for i in range(60):
        hub.add_repo(f"org/m{i}", small_files())
    counts: Counter[int] = Counter()
    before = set(threading.enumerate())  # an earlier test's may not have ended yet
    with Resolver(endpoint=hub.url, timeout=5, token=False, max_connections=8) as resolver:
        for _ in inspect_many((f"org/m{i}" for i in range(60)), resolver=resolver, jobs=4):
            counts[sum(thread.name == "llm-inspect" for thread in {*threading.enumerate()} - before)] += 1
    assert max(counts) <= 4 + 8


def test_a_bug_that_one_model_brings_up_is_its_record(
    hub: LoopbackHub, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LLM_INSPECT_DEBUG", raising=False)
    for name in ("org/a", "org/b"):
        hub.add_repo(name, small_files())
    resolve = resolver.resolve

    def broken(model: str, revision: str | None = None, *, config_only: bool = False) -> object:
        if model == "org/a":
            raise ZeroDivisionError("no layers")
        return resolve(model, revision, config_only=config_only)

    monkeypatch.setattr(resolver, "resolve", broken)
    bad, good = inspect_many(["org/a", "org/b"], resolver=resolver, ordered=True)
    assert (bad["outcome"], bad["error"]["exit_code"]) == ("internal_error", 4)
    assert "ZeroDivisionError: no layers" in bad["error"]["message"]
    assert good["outcome"] == "ok"


@pytest.mark.parametrize(
    "wrong", [{"jobs": 0}, {"jobs": 10**6}, {"gpus": ("RTX 4900",)}, {"batch": 0}, {"dtype": "fp7"}]
)
def test_arguments_that_cannot_be_are_refused_at_once(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        inspect_many([], **wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        ainspect_many([], **wrong)


def test_an_error_of_the_list_itself_is_raised(hub: LoopbackHub, resolver: Resolver) -> None:
    hub.add_repo("org/model", small_files())

    def ids() -> Iterator[str]:
        yield "org/model"
        raise OSError("the list broke off")

    with pytest.raises(OSError, match="broke off"):
        list(inspect_many(ids(), resolver=resolver))
