"""Rate limits are kept before a 429 comes, by all threads together, and after one the wait it names is waited."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import SimpleNamespace

import pytest

from inspector.batch import HubRateLimiter, inspect_many
from inspector.batch import limits as module
from inspector.errors import RateLimited
from inspector.hub import Resolver
from tests.batch.limited_hub import Limits, limit
from tests.batch.mixed import small_files
from tests.hub_server import Fault, LoopbackHub

API, FILE = "https://hub.test/api/models/org/m", "https://hub.test/org/m/resolve/main/config.json"


class Clock:
    """Time that passes only where it is waited for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now))

    def pause(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def told(resource: str, left: int, seconds: int, quota: int = 500) -> dict[str, str]:
    return {"ratelimit": f'"{resource}";r={left};t={seconds}', "ratelimit-policy": f'"{resource}";q={quota};w=300'}


def ask(
    limiter: HubRateLimiter, clock: Clock, url: str, status: int = 200, headers: Mapping[str, str] | None = None
) -> float:
    """Sends a request; the seconds that it waited."""
    start = clock.now
    with limiter.turn(url, clock.pause) as report:
        waited = clock.now - start
        report(status, headers or {})
    return waited


def test_a_server_that_says_nothing_is_not_limited(clock: Clock) -> None:
    limiter = HubRateLimiter()
    assert [ask(limiter, clock, API) for _ in range(1000)] == [0] * 1000


def test_when_nothing_is_left_the_next_waits_for_the_window_to_end(clock: Clock) -> None:
    limiter = HubRateLimiter()
    assert ask(limiter, clock, API, headers=told("api", 0, 55)) == 0
    assert limiter.waiting() == 56
    assert ask(limiter, clock, FILE) == 0, "files are counted apart"
    assert ask(limiter, clock, API.replace("hub.test", "other.test")) == 0, "and so are other hosts"
    assert ask(limiter, clock, API) == 56, "the 55 seconds that it named and a second of margin"


def test_what_is_under_way_counts_as_spent(clock: Clock) -> None:
    limiter = HubRateLimiter()
    ask(limiter, clock, API, headers=told("api", 3, 50))
    first, second, third = (limiter.turn(API, clock.pause) for _ in range(3))
    reports = [turn.__enter__() for turn in (first, second, third)]
    assert limiter.waiting() == 51
    reports[0](200, told("api", 2, 50))
    assert limiter.waiting() == 51, "two are left, and two are under way"
    for turn in (second, third, first):
        turn.__exit__(None, None, None)


def test_a_new_window_starts_with_its_whole_quota(clock: Clock) -> None:
    limiter = HubRateLimiter()
    ask(limiter, clock, API, headers=told("api", 0, 10, quota=3))
    assert [ask(limiter, clock, API) for _ in range(3)] == [11, 0, 0]


def test_a_resource_goes_by_the_name_that_the_answers_give_it(clock: Clock) -> None:
    limiter = HubRateLimiter()
    cached = "https://hub.test/api/resolve-cache/models/org/m/abc/config.json"
    ask(limiter, clock, cached, headers=told("resolvers", 0, 7))
    ask(limiter, clock, API)
    assert ask(limiter, clock, cached) == 8
    limiter = HubRateLimiter()
    ask(limiter, clock, cached, headers=told("resolvers", 9, 7))
    ask(limiter, clock, FILE, headers=told("resolvers", 0, 7))
    assert ask(limiter, clock, cached) == 8


@pytest.mark.parametrize(
    ("headers", "seconds"), [({"retry-after": "20"}, 21), (told("api", 0, 30), 31), ({}, module.NAMELESS_SECONDS + 1)]
)
def test_after_a_429_all_wait_as_long_as_it_says(clock: Clock, headers: dict[str, str], seconds: float) -> None:
    limiter = HubRateLimiter()
    ask(limiter, clock, API, status=429, headers=headers)
    assert limiter.retries(API, clock.now)
    assert ask(limiter, clock, API) == seconds


def test_an_answer_that_still_sees_some_left_does_not_lift_a_429(clock: Clock) -> None:
    limiter = HubRateLimiter()
    with limiter.turn(API, clock.pause) as report:
        ask(limiter, clock, API, status=429, headers={"retry-after": "20"})
        report(200, told("api", 400, 250))
    assert ask(limiter, clock, API) == 21


def test_a_wait_beyond_the_budget_is_an_error_that_names_it(clock: Clock) -> None:
    limiter = HubRateLimiter(budget=60)
    ask(limiter, clock, API, status=429, headers={"retry-after": "600"})
    assert not limiter.retries(API, clock.now)
    with pytest.raises(RateLimited, match="601 seconds"):
        ask(limiter, clock, API)


def test_a_request_that_gets_no_answer_is_not_under_way_any_more(clock: Clock) -> None:
    limiter = HubRateLimiter()
    ask(limiter, clock, API, headers=told("api", 1, 5, quota=1))
    with pytest.raises(OSError, match="reset"), limiter.turn(API, clock.pause):
        raise OSError("reset")
    assert ask(limiter, clock, API) == 6
    assert ask(limiter, clock, API) == 0, "nothing tells when this window ends: one is sent to find out"


def test_a_closed_gate_lets_nobody_wait(clock: Clock) -> None:
    limiter = HubRateLimiter()
    ask(limiter, clock, API, headers=told("api", 0, 55))
    limiter.close()
    with pytest.raises(RateLimited):
        ask(limiter, clock, API)
    assert not limiter.retries(API, clock.now)


def test_a_hub_that_tells_its_limits_sees_no_request_above_them(hub: LoopbackHub) -> None:
    limits = Limits(1.5, {"api": 15, "resolvers": 60})
    limit(hub, limits)
    ids = [f"org/m{i}" for i in range(30)]
    for model in ids:
        hub.add_repo(model, small_files())
    with Resolver(endpoint=hub.url, timeout=5, token=False, max_connections=6) as resolver:
        records = list(inspect_many(ids, resolver=resolver, jobs=4))
    assert sorted(record["id"] for record in records) == sorted(ids)
    assert {record["outcome"] for record in records} == {"ok"}
    assert limits.over.total() == 0
    assert len([window for window in limits.windows if window]) >= 2


def test_a_hub_that_only_refuses_is_waited_for(hub: LoopbackHub) -> None:
    limits = Limits(1.5, {"api": 7, "resolvers": 28}, tell=False)  # few: a busy machine asks above them, too
    limit(hub, limits)
    ids = [f"org/m{i}" for i in range(15)]
    for model in ids:
        hub.add_repo(model, small_files())
    with Resolver(endpoint=hub.url, timeout=5, token=False, max_connections=6) as resolver:
        records = list(inspect_many(ids, resolver=resolver, jobs=4))
    assert sorted(record["id"] for record in records) == sorted(ids)
    assert {record["outcome"] for record in records} == {"ok"}
    assert limits.over.total() > 0


def test_a_wait_longer_than_the_time_out_is_waited_in_a_batch(hub: LoopbackHub) -> None:
    hub.add_repo("org/model", small_files())
    hub.faults.append(Fault("status", path="config.json", status=429, headers={"Retry-After": "2"}))
    start = time.monotonic()
    with Resolver(endpoint=hub.url, timeout=1, token=False) as resolver:
        (record,) = inspect_many(["org/model"], resolver=resolver)
    assert record["outcome"] == "ok"
    assert time.monotonic() - start >= 2
