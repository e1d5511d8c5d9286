"""The names that the page's model box offers: what no server is asked for, and what the Hub finds."""

from __future__ import annotations

from typing import Any

from inspector.errors import InspectError
from inspector.web.models import Models

FIRST = "meta-llama/Meta-Llama-3-8B"
"""The bundled model that the page begins with where none is named."""
FOUND = 20
"""Models to take from the Hub's list."""


def known_models(models: Models) -> list[dict[str, str]]:
    """The models that no server is asked for: those of the command line, those cached, those bundled."""
    from inspector.hub.cache.bundled import bundled_names

    homes = (
        ("bundled", sorted(bundled_names())),
        ("cached", models.resolver.kept_models()),
        ("local", models.paths),
    )
    where = {name: home for home, names in homes for name in names}
    return [{"name": name, "where": home} for name, home in where.items()]


def search_hub(models: Models, words: str) -> dict[str, Any]:
    """The Hub's models with these words in their names, the most downloaded first; why there are none, where it was
    not asked or did not answer."""
    from inspector.hub.repo.query import Query

    if models.resolver.is_offline:
        return {"models": [], "problem": "offline: the Hub is not searched"}
    try:
        found = models.resolver.find_models(Query(search=words, sort="downloads", limit=FOUND))
    except InspectError as error:
        return {"models": [], "problem": error.message}
    return {"models": [{"name": name, "where": "Hub"} for name in found.models], "problem": None}
