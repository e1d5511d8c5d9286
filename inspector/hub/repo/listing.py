"""Models that the Hub lists: by author, words, tags, or in a collection. A request for each thousand of them.

The wire format is that of huggingface_hub's `list_models` (GET /api/models, pages by the Link header) and
`get_collection` (GET /api/collections/SLUG).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from inspector.errors import AccessError, HubError, HubUnreachable, InspectError, RateLimited, UsageError
from inspector.hub.checkpoint import ListedModel
from inspector.hub.client.requests import Client, Meter, retry_after
from inspector.hub.client.response import Answer, Request
from inspector.hub.client.urls import host
from inspector.hub.client.workers import Task, Workers
from inspector.hub.formats.documents import MAX_LISTING_BYTES
from inspector.hub.repo.query import SORTS, Query
from inspector.hub.repo_id import parse_repo

PAGE = 1000
"""Models to ask for in one request."""
_NEXT = re.compile(r'<([^<>]*)>\s*;[^,<]*\brel="?next"?')


@dataclass(frozen=True, slots=True)
class Listed:
    """Models, each once, in the Hub's order; and whether the Hub has more than the limit."""

    details: tuple[ListedModel, ...]
    cut: bool

    @property
    def models(self) -> tuple[str, ...]:
        """Their IDs."""
        return tuple(each.name for each in self.details)


def find_models(client: Client, workers: Workers, query: Query) -> Listed:
    """The models that the Hub lists.

    Raises:
        InspectError: no such collection, or the Hub failed.
    """

    def ask(url: str) -> Answer:
        def job(task: Task[Answer]) -> Answer:
            return client.fetch(Request("GET", url, limit=MAX_LISTING_BYTES), task, Meter())

        task = workers.start(job)
        try:
            for done in workers.as_done([task], client.settings.timeout):
                if done.error is not None:
                    raise done.error
        finally:
            workers.let_go(task)
        error = _refusal(task.result, query)
        if error is not None:
            raise error
        return task.result

    endpoint = client.settings.endpoint
    found: dict[str, ListedModel] = {}
    source = _collected(ask, endpoint, query) if query.collection is not None else _searched(ask, endpoint, query)
    for model in source:
        if model.name not in found and len(found) >= query.limit:
            return Listed(tuple(found.values()), cut=True)
        found.setdefault(model.name, model)
    return Listed(tuple(found.values()), cut=False)


def _searched(ask: Callable[[str], Answer], endpoint: str, query: Query) -> Iterator[ListedModel]:
    """Page after page, as they are needed. One more than the limit is asked for: it tells whether there are more."""
    wanted: dict[str, Any] = {
        "author": query.author,
        "search": query.search,
        "filter": query.filters or None,
        "pipeline_tag": query.pipeline_tag,
        "sort": None if query.sort is None else SORTS[query.sort],
        "limit": min(query.limit + 1, PAGE),
    }
    base = f"{endpoint}/api/models"
    asked = urlencode({key: value for key, value in wanted.items() if value is not None}, doseq=True)
    seen = set()
    while asked and asked not in seen:
        seen.add(asked)
        answer = ask(f"{base}?{asked}")
        page = _parsed(answer)
        if not isinstance(page, list):
            raise _nonsense(answer)
        yield from _models(page)
        following = _NEXT.search(answer.headers.get("link", "")) if page else None
        # Its query alone: a mirror's answer may name the Hub, and a token goes to no other host.
        asked = urlsplit(following[1]).query if following else ""


def _collected(ask: Callable[[str], Answer], endpoint: str, query: Query) -> Iterator[ListedModel]:
    answer = ask(f"{endpoint}/api/collections/{quote(query.slug)}")
    collection = _parsed(answer)
    items = collection.get("items") if isinstance(collection, dict) else None
    if not isinstance(items, list):
        raise _nonsense(answer)
    return _models([item for item in items if isinstance(item, dict) and item.get("type") == "model"])


def _models(items: list[Any]) -> Iterator[ListedModel]:
    """What an answer lists; what has no valid ID is left out, and what is not of its type is not known."""
    for item in items:
        name = item.get("id", item.get("modelId")) if isinstance(item, dict) else None
        if isinstance(name, str):
            try:
                yield ListedModel(parse_repo(name).name, *_facts(item))
            except UsageError:
                continue


def _facts(item: dict[str, Any]) -> tuple[str | None, str | None, int | None, int | None]:
    """License, task, downloads and likes."""
    tags = item.get("tags")
    licenses = (
        [tag[8:] for tag in tags if isinstance(tag, str) and tag.startswith("license:")]
        if isinstance(tags, list)
        else []
    )
    counts = (item.get("downloads"), item.get("likes"))
    downloads, likes = (each if type(each) is int and 0 <= each < 2**63 else None for each in counts)
    task = item.get("pipeline_tag")
    return next(iter(licenses), None), task if isinstance(task, str) else None, downloads, likes


def _parsed(answer: Answer) -> Any:
    if answer.cut:
        raise _nonsense(answer)
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        raise _nonsense(answer) from None


def _nonsense(answer: Answer) -> HubError:
    return HubError(f"{host(answer.url)} answers with no list of models", "Check HF_ENDPOINT, or try again later.")


def _refusal(answer: Answer, query: Query) -> InspectError | None:
    if answer.ok:
        return None
    where = host(answer.url)
    if answer.status == 429:
        seconds = retry_after(answer.headers)
        return RateLimited(
            f"{where} takes no more requests from you for now",
            f"Try again {'later' if seconds is None else f'in {seconds} seconds'}.",
        )
    if answer.status in (401, 403) or (answer.status == 404 and query.collection is not None):
        return AccessError(f"{where} does not show {query}", "Check the spelling, and that your token may see it.")
    if answer.status == 404:
        return HubError(f"{where} has no lists of models", "It may be a mirror without them; give a list of IDs.")
    return HubError(f"{where} answered with status {answer.status}", "Try again later.")


def offline_refusal(query: Query) -> HubUnreachable:
    """Offline there is nobody to ask."""
    return HubUnreachable(f"{query}: only the Hub knows, and offline nothing is asked", "Give a list of IDs.")
