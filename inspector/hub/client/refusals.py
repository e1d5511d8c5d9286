"""The Hub's refusals as our errors: one table from huggingface_hub's classes, by way of its own classification."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from inspector.errors import (
    AccessError,
    FileMissing,
    GatedRepo,
    HubError,
    InspectError,
    RateLimited,
    RepoNotFound,
    RevisionNotFound,
)
from inspector.hub.client.requests import retry_after
from inspector.hub.client.response import Answer
from inspector.hub.client.urls import host
from inspector.hub.repo_id import RepoId

MAX_QUOTED_CHARACTERS = 160
"""Of a server's own words."""

INVALID_TOKEN = "Invalid credentials in Authorization header"
DISABLED = "Access to this resource is disabled."


def refusal(answer: Answer, repo: RepoId, endpoint: str, *, has_token: bool) -> InspectError | None:
    """Why there is no file in this answer, None if it is there."""
    if answer.ok and not answer.is_page:
        return None
    if answer.ok:
        return HubError(
            f"{host(answer.url)} answered with a web page instead of {repo}'s files",
            "A proxy or a login page may stand between: check the connection and HF_ENDPOINT.",
        )
    said = answer.headers.get("x-error-message", "")
    by_words = {INVALID_TOKEN: _invalid_token, DISABLED: _disabled}.get(said)
    make = by_words or _BY_CLASS.get(_hub_class(answer)) or _BY_STATUS.get(answer.status, _other)
    return make(_Case(answer, repo, endpoint, has_token))


def _hub_class(answer: Answer) -> str:
    """The name of the class that huggingface_hub raises for this answer."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils._http import hf_raise_for_status

    # Only what decides: it logs warnings that come in headers, and reads bodies without a limit.
    headers = {key: answer.headers[key] for key in ("x-error-code", "x-error-message") if key in answer.headers}
    response = httpx2.Response(answer.status, headers=headers, request=httpx2.Request("GET", answer.url))
    try:
        hf_raise_for_status(response)
    except HfHubHTTPError as error:
        return type(error).__name__
    return ""


class _Case(NamedTuple):
    """An answer that is none, and what its error's text needs to know."""

    answer: Answer
    repo: RepoId
    endpoint: str
    has_token: bool

    @property
    def hub(self) -> str:
        return host(self.endpoint)

    @property
    def server(self) -> str:
        """Who said it: the Hub, or where it redirected to."""
        return host(self.answer.url)

    @property
    def quoted(self) -> str:
        """The server's own words, if any, made safe to print."""
        said = "".join(c for c in self.answer.headers.get("x-error-message", "") if c.isprintable())
        return f": {said[:MAX_QUOTED_CHARACTERS]}" if said else ""


def _not_found(case: _Case) -> InspectError:
    login = "check that your token may read it" if case.has_token else "log in with `hf auth login` or set HF_TOKEN"
    return RepoNotFound(
        f"no model {case.repo.name} on {case.hub}, or it is private",
        f"Check the spelling; if it is private, {login}.",
    )


def _gated(case: _Case) -> InspectError:
    page = f"{case.endpoint}/{case.repo.name}"
    if case.has_token:
        return GatedRepo(
            f"{case.repo.name} is gated, and your token has no access to it",
            f"Accept its terms at {page} with the token's account, or give the token the right to read gated repos.",
        )
    return GatedRepo(
        f"{case.repo.name} is gated: it is for those who accepted its terms",
        f"Accept them at {page}, then run `hf auth login` or set HF_TOKEN.",
    )


def _no_revision(case: _Case) -> InspectError:
    return RevisionNotFound(
        f"{case.repo.name} has no revision {case.repo.revision}",
        f"Its branches and tags: {case.endpoint}/{case.repo.name}/tree/main",
    )


def _no_file(case: _Case) -> InspectError:
    return FileMissing(
        f"{case.repo} has no such file", f"Its files: {case.endpoint}/{case.repo.name}/tree/{case.repo.revision}"
    )


def _invalid_token(case: _Case) -> InspectError:
    return AccessError(
        f"{case.hub} does not accept your token: it is wrong or has expired",
        "Run `hf auth login`, set another HF_TOKEN, or unset it for public models.",
    )


def _disabled(case: _Case) -> InspectError:
    return AccessError(
        f"{case.repo.name} is disabled on {case.hub}", f"The reason may stand at {case.endpoint}/{case.repo.name}"
    )


def _forbidden(case: _Case) -> InspectError:
    return AccessError(
        f"{case.server} denies access to {case.repo}{case.quoted}", "Check what your token is allowed to read."
    )


def _rate_limited(case: _Case) -> InspectError:
    seconds = retry_after(case.answer.headers)
    when = "later" if seconds is None else f"in {seconds} seconds"
    return RateLimited(
        f"{case.server} takes no more requests from you for now",
        f"Try again {when}" + ("." if case.has_token else ", or log in for a higher limit (`hf auth login`)."),
    )


def _other(case: _Case) -> InspectError:
    return HubError(f"{case.server} answered with status {case.answer.status}{case.quoted}", "Try again later.")


Maker = Callable[[_Case], InspectError]

_BY_CLASS: dict[str, Maker] = {
    "GatedRepoError": _gated,
    "RepositoryNotFoundError": _not_found,
    "RevisionNotFoundError": _no_revision,
    "RemoteEntryNotFoundError": _no_file,
    "DisabledRepoError": _disabled,
}

_BY_STATUS: dict[int, Maker] = {
    401: _not_found,
    403: _forbidden,
    404: _not_found,
    410: _not_found,
    416: _other,
    429: _rate_limited,
    451: _disabled,
}
