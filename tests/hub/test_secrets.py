"""The token goes to the Hub and nowhere else; redirects lead to web addresses outside this network alone."""

from __future__ import annotations

import logging

import pytest

from inspector.errors import HubError, InspectError, UsageError
from inspector.hub import Resolver
from inspector.hub.client.urls import file_url, host, is_internal, origin, redirect_target
from tests.hub_server import Content, Fault, LoopbackHub, sharded, sparse

TOKEN = "hf_s3cr3t"
TENSORS = {f"tensor.{i}": ("F32", [1]) for i in range(5000)}
CONFIG: dict[str, Content] = {"config.json": {"model_type": "llama"}}


def test_the_token_goes_to_the_hub_alone(hub: LoopbackHub) -> None:
    hub.tokens[TOKEN] = {"*"}
    hub.add_repo("org/one", {**CONFIG, "model.safetensors": sparse(TENSORS)}, private=True)
    hub.add_repo("org/many", {**CONFIG, **sharded(TENSORS, 3)}, gated=True)
    hub.headers_endpoint = False
    with Resolver(endpoint=hub.url, token=TOKEN) as resolver:
        for repo in ("org/one", "org/many"):
            assert len(resolver.resolve(repo).tensors) == len(TENSORS)
    assert {seen.server for seen in hub.seen if seen.authorized} == {"hub"}
    assert all(seen.authorized for seen in hub.seen if seen.server == "hub")
    assert any(seen.server == "cdn" for seen in hub.seen)


def test_the_token_does_not_follow_a_redirect_to_another_port(hub: LoopbackHub) -> None:
    hub.tokens[TOKEN] = {"*"}
    hub.add_repo("org/name", {**CONFIG, "model.safetensors": sparse(TENSORS)})
    with LoopbackHub() as other:
        other.tokens[TOKEN] = {"*"}
        other.add_repo("org/name", CONFIG)
        location = f"{other.url}/org/name/resolve/main/config.json"
        hub.faults.append(Fault("redirect", path="config.json", location=location))
        with Resolver(endpoint=hub.url, token=TOKEN) as resolver:
            resolver.resolve("org/name")
        assert other.seen
        assert not any(seen.authorized for seen in other.seen)


def test_another_host_cannot_name_the_commit(hub: LoopbackHub) -> None:
    """X-Repo-Commit counts only from the Hub itself."""
    repo = hub.add_repo("org/name", {**CONFIG, "model.safetensors": sparse(TENSORS)})
    hub.commit_header = False
    with LoopbackHub() as other:
        other.add_repo("org/name", CONFIG)
        hub.faults.append(
            Fault("redirect", path="config.json", location=f"{other.url}/org/name/resolve/main/config.json")
        )
        with Resolver(endpoint=hub.url) as resolver:
            assert resolver.resolve("org/name").revision is None
    assert repo.head


@pytest.mark.parametrize("kind", ["status", "hang", "reset", "drip_head", "redirect"])
def test_the_token_appears_in_no_error_and_no_log(
    hub: LoopbackHub, kind: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    hub.tokens[TOKEN] = {"*"}
    caplog.set_level(logging.DEBUG)
    headers = {"X-Error-Message": f"bad token {TOKEN}"} if kind != "status" else {"X-HF-Warning": "auth; log in!"}
    hub.faults.append(Fault(kind, times=None, status=418, headers=headers, location="http://user:pw@[::1"))
    with Resolver(endpoint=hub.url, token=TOKEN, timeout=0.5) as resolver, pytest.raises(InspectError) as error:
        resolver.resolve("org/name")
    output = capfd.readouterr()
    assert TOKEN not in str(error.value) + caplog.text + output.out + output.err
    assert output.err == ""


@pytest.mark.parametrize("token", ["", "hf_a b", "hf_a\nb", "hf_ä", "hf_\x1b[31m"])
def test_what_is_no_token_is_refused_without_repeating_it(token: str) -> None:
    with pytest.raises(UsageError) as error:
        Resolver(token=token)
    assert not token or token not in str(error.value)


def test_a_token_is_taken_from_the_environment_unless_forbidden(
    hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    hub.tokens[TOKEN] = {"*"}
    hub.add_repo("org/name", CONFIG)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    for token, disabled, sent in ((None, False, True), (True, False, True), (False, False, False), (None, True, False)):
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", disabled)
        hub.forget()
        with Resolver(endpoint=hub.url, token=token) as resolver:
            resolver.resolve("org/name")
        assert {seen.authorized for seen in hub.seen} == {sent}


def test_a_required_login_that_is_missing_is_a_usage_error(hub: LoopbackHub) -> None:
    with Resolver(endpoint=hub.url, token=True) as resolver, pytest.raises(UsageError) as error:
        resolver.resolve("org/name")
    assert "hf auth login" in error.value.hint
    assert hub.seen == []


def test_nothing_else_is_asked_of_the_hub(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI_AGENT", "some-agent")
    hub.add_repo("org/name", {**CONFIG, "model.safetensors": sparse(TENSORS)})
    with Resolver(endpoint=hub.url) as resolver:
        resolver.resolve("org/name")
    assert not [path for path in hub.paths() if "agent" in path]
    agents = {seen.headers["user-agent"].split("/")[0] for seen in hub.seen}
    assert agents == {"llm-inspect"}


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1/x",
        "http://127.1/",
        "http://0x7f000001/",
        "http://2130706433/",
        "http://[::1]/",
        "//localhost/x",
        "http://[::ffff:10.0.0.1]/",
        "http://10.0.0.1/",
        "http://192.168.1.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://metadata.google.internal/",
        "http://printer.local/",
        "http://router/",
        "http://0.0.0.0/",
        "http://LOCALHOST./",
        "file:///etc/passwd",
        "ftp://example.com/x",
        "gopher://x",
        "http://",
        "http://a:99999/",
        "http://[::1",
    ],
)
def test_a_public_host_cannot_redirect_into_this_network(location: str) -> None:
    with pytest.raises(HubError):
        redirect_target("https://huggingface.co/org/name/resolve/main/config.json", location)


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/api/x", "https://huggingface.co:443/api/x"),
        ("https://cdn.example.com/a?Signature=b%2F", "https://cdn.example.com:443/a?Signature=b%2F"),
        ("https://user:pw@cdn.example.com/a", "https://cdn.example.com:443/a"),
        ("http://cdn.example.com/a", "http://cdn.example.com:80/a"),
    ],
)
def test_redirects_to_public_hosts_are_followed(location: str, expected: str) -> None:
    assert redirect_target("https://huggingface.co/x", location) == expected


def test_within_one_network_redirects_are_followed() -> None:
    assert redirect_target("http://mirror:8080/x", "http://10.0.0.1/y") == "http://10.0.0.1:80/y"
    assert redirect_target("http://127.0.0.1:1/x", "http://localhost:2/y") == "http://localhost:2/y"


def test_origins_differ_by_scheme_host_or_port() -> None:
    same = origin("https://huggingface.co/a")
    assert origin("https://HUGGINGFACE.co:443/b") == same
    for other in ("http://huggingface.co", "https://huggingface.co:444", "https://huggingface.co.evil.com"):
        assert origin(other) != same


def test_urls_are_quoted() -> None:
    assert file_url("https://h", "o/n", "refs/pr/1", "a b/c#d") == "https://h/o/n/resolve/refs%2Fpr%2F1/a%20b/c%23d"
    assert host("https://u:p@h:1/x?y") == "h:1"
    assert not is_internal("huggingface.co")
