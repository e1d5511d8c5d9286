"""The Hub asked for the list: page by page, in its order, bounded; a list of IDs costs no such request."""

from __future__ import annotations

import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest

from inspector.errors import AccessError, HubError, HubUnreachable, RateLimited, UsageError
from inspector.hub import Resolver
from inspector.hub.repo.query import Query
from tests.batch.mixed import small_files
from tests.conftest import Run
from tests.hub_server import Fault, LoopbackHub

TOKEN = "hf_right"


@pytest.fixture
def listed(hub: LoopbackHub) -> LoopbackHub:
    """25 models of one author and 3 of another, one of them private."""
    for number in range(25):
        repo = hub.add_repo(f"meta/m{number}", {})
        repo.facts = {"downloads": number, "tags": ["gguf"] if number % 2 else ["gguf", "license:mit"]}
    for name in ("org/llama-a", "org/llama-b", "org/hidden"):
        hub.add_repo(name, {}, private=name.endswith("hidden")).facts = {"pipeline_tag": "text-generation"}
    hub.collections["org/good-ones-64f9a55bb3115b4f513ec026"] = [
        ("org/llama-b", "model"),
        ("org/data", "dataset"),
        ("meta/m3", "model"),
        ("2311.12983", "paper"),
        ("../../etc", "model"),
    ]
    return hub


def queries(hub: LoopbackHub) -> list[dict[str, list[str]]]:
    return [parse_qs(urlsplit(path).query) for path in hub.paths() if path.startswith("/api/models?")]


def test_pages_are_followed_until_there_are_enough(listed: LoopbackHub, resolver: Resolver) -> None:
    listed.page_size = 10
    found = resolver.find_models(Query(author="meta"))
    assert (found.models, found.cut) == (tuple(f"meta/m{i}" for i in range(25)), False)
    assert [query.get("cursor") for query in queries(listed)] == [None, ["10"], ["20"]]
    listed.forget()
    found = resolver.find_models(Query(author="meta", limit=10))
    assert (found.models, found.cut) == (tuple(f"meta/m{i}" for i in range(10)), True)
    # As many as the limit, and one that tells that there are more: it is on the next page here.
    assert len(queries(listed)) == 2
    listed.forget()
    listed.page_size = 1000
    assert resolver.find_models(Query(author="meta", limit=25)).cut is False
    assert queries(listed) == [{"author": ["meta"], "limit": ["26"]}]


def test_what_is_asked_for_is_what_the_hub_knows(listed: LoopbackHub, resolver: Resolver) -> None:
    def models(**query: object) -> list[str]:
        return list(resolver.find_models(Query(**query)).models)  # type: ignore[arg-type]

    assert models(search="llama") == ["org/llama-a", "org/llama-b"]
    assert models(filters=("gguf", "license:mit"), limit=3) == ["meta/m0", "meta/m2", "meta/m4"]
    assert queries(listed)[-1]["filter"] == ["gguf", "license:mit"]
    assert models(author="meta", sort="downloads", limit=2) == ["meta/m24", "meta/m23"]
    assert models(pipeline_tag="text-generation") == ["org/llama-a", "org/llama-b"]
    assert models(author="org", sort="last_modified") != []
    assert queries(listed)[-1]["sort"] == ["lastModified"]


@pytest.mark.parametrize("prefix", ["", "https://hub.example/collections/"])
def test_a_collections_models_are_taken_and_nothing_else(listed: LoopbackHub, resolver: Resolver, prefix: str) -> None:
    found = resolver.find_models(Query(collection=f"{prefix}org/good-ones-64f9a55bb3115b4f513ec026"))
    assert (found.models, found.cut) == (("org/llama-b", "meta/m3"), False)
    assert listed.paths() == ["/api/collections/org/good-ones-64f9a55bb3115b4f513ec026"]


def test_a_token_shows_what_is_private_and_goes_to_the_hub_alone(listed: LoopbackHub) -> None:
    listed.tokens[TOKEN] = {"*"}
    listed.page_size = 2
    with Resolver(endpoint=listed.url, token=TOKEN) as resolver:
        assert "org/hidden" in resolver.find_models(Query(author="org")).models
    assert all(seen.authorized and seen.server == "hub" for seen in listed.seen)
    with LoopbackHub() as other:
        elsewhere = {"Link": f'<{other.url}/api/models?cursor=9>; rel="next"'}
        listed.faults.append(Fault("answer", path="/api/models", headers=elsewhere, body=b'[{"id": "org/llama-a"}]'))
        with Resolver(endpoint=listed.url, token=TOKEN) as resolver:
            resolver.find_models(Query(author="org"))
        assert other.seen == []


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault("status", status=429, headers={"Retry-After": "99"}, times=None), RateLimited),
        (Fault("status", status=401, times=None), AccessError),
        (Fault("status", status=404, times=None), HubError),
        (Fault("status", status=503, times=None), HubError),
        (Fault("answer", body=b"<html>"), HubError),
        (Fault("answer", body=b'{"a": 1}'), HubError),
        (Fault("answer", body=b"[" * 100_000), HubError),
        (Fault("reset", times=None), HubUnreachable),
        (Fault("hang"), HubUnreachable),
    ],
)
def test_a_hub_that_fails_is_told(listed: LoopbackHub, resolver: Resolver, fault: Fault, kind: type[Exception]) -> None:
    listed.faults.append(fault)
    with pytest.raises(kind):
        resolver.find_models(Query(author="meta"))


def test_an_endless_list_ends(listed: LoopbackHub, resolver: Resolver) -> None:
    same = {"Link": f'<{listed.url}/api/models?cursor=1>; rel="next"'}
    listed.faults.append(
        Fault("answer", path="/api/models", headers=same, body=b'[{"id": "a/b"}, 7, {"id": 3}]', times=9)
    )
    assert resolver.find_models(Query(author="meta")).models == ("a/b",)
    assert len(listed.seen) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"author": ""},
        {"search": "a\nb"},
        {"sort": "size"},
        {"limit": 0},
        {"collection": "no-slash"},
        {"collection": "../../x"},
        {"filters": ("x" * 300,)},
    ],
)
def test_a_query_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Query(**wrong)  # type: ignore[arg-type]


def test_the_command_reads_what_the_hub_lists(run: Run, loopback_hub: LoopbackHub) -> None:
    for number in range(5):
        loopback_hub.add_repo(f"meta/m{number}", small_files()).facts = {"downloads": number}
    loopback_hub.collections["org/some-abc"] = [("meta/m4", "model")]
    query = ("--author", "meta", "--sort", "downloads", "--limit", "2")
    done = run("batch", *query, "--ordered", "--columns", "parameters.total", endpoint=loopback_hub.url)
    assert done.code == 0, done.err
    assert [json.loads(line)["id"] for line in done.out.splitlines()] == ["meta/m4", "meta/m3"]
    assert "the Hub has more models by meta than 2" in done.err
    both = run("batch", "-", "--collection", "org/some-abc", "--ordered", stdin="meta/m0\n", endpoint=loopback_hub.url)
    assert [json.loads(line)["id"] for line in both.out.splitlines()] == ["meta/m0", "meta/m4"]
    loopback_hub.forget()
    run("batch", "-", stdin="meta/m0\n", endpoint=loopback_hub.url)
    assert not [path for path in loopback_hub.paths() if re.match(r"/api/(models\?|collections)", path)]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "no list of models"),
        (("-", "--limit", "3"), 2, "for a search"),
        (("--sort", "likes"), 2, "for a search"),
        (("--author", "nobody"), 3, "lists no models by nobody"),
        (("--collection", "org/none"), 3, "does not show the collection org/none"),
        (("--author", "meta", "--offline"), 5, "offline nothing is asked"),
        (("-", "--workers", "3"), 2, "--engine-cluster"),
    ],
)
def test_a_list_that_is_not_there(
    run: Run, loopback_hub: LoopbackHub, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = run("batch", *arguments, endpoint=loopback_hub.url)
    assert done.code == code, done.err
    assert words in done.err
    assert done.out == ""
