"""Which models a name may be a slip of: bundled and kept ones, and what the Hub finds."""

from __future__ import annotations

import contextlib
import difflib

from inspector.errors import InspectError
from inspector.hub.cache.bundled import bundled_names
from inspector.hub.cache.upkeep import kept_names
from inspector.hub.client.settings import Settings
from inspector.hub.repo.query import Query
from inspector.hub.resolver import Resolver

_LIKE = 0.75
"""Of difflib's ratio, from which two names look alike."""
_FOUND = 100
"""Models to ask the Hub for."""


def near_models(
    name: str, *, token: str | bool | None = None, offline: bool | None = None, count: int = 2
) -> list[str]:
    """Repo IDs that look like `name`, the nearest first. Never raises: a hint is no reason to fail.

    Unless offline, the Hub is asked for its owner's models, and where there are none for those with its name.
    """
    known = [*bundled_names(), *kept_names(Settings.of().cache)]
    owner, _, word = name.rpartition("/")
    queries = [Query(author=owner, sort="downloads", limit=_FOUND)] if owner else []
    with contextlib.suppress(InspectError), Resolver(token=token, offline=offline, timeout=5) as resolver:
        for query in (*queries, Query(search=word, sort="downloads", limit=_FOUND)):
            if found := resolver.find_models(query).models:
                known += found
                break
    lowered = {each.lower(): each for each in known if each.lower() != name.lower()}
    near = difflib.get_close_matches(name.lower(), lowered, count, _LIKE)
    # `llama/Meta-Llama-3-8B`: the right name under another owner.
    same = [each for each in lowered if each.rpartition("/")[2] == word.lower()]
    return [lowered[each] for each in dict.fromkeys([*same[:count], *near])][:count]
