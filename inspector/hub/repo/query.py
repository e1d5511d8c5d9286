"""What the Hub is asked to list: models by author, words, tags, or those of a collection."""

from __future__ import annotations

import re
from dataclasses import dataclass

from inspector.errors import UsageError, known_hint

DEFAULT_LIMIT = 100
SORTS = {
    "downloads": "downloads",
    "likes": "likes",
    "created_at": "createdAt",
    "last_modified": "lastModified",
    "trending_score": "trendingScore",
}
"""What may be sorted by, the most first, and what the Hub calls it."""

_SLUG = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_COLLECTION_URL = re.compile(r"https?://[^/]+/collections/([^/?#]+/[^/?#]+)")


@dataclass(frozen=True, slots=True)
class Query:
    """Which models. All that is given must hold; a collection is one by itself.

    Attributes:
        author: the user or organization that they belong to.
        search: words of their IDs.
        filters: tags that they all have: a library, a language, a license ("license:mit"), ...
        pipeline_tag: their task ("text-generation").
        sort: a key of `SORTS`; None: the Hub's own order.
        limit: models at most.
        collection: `owner/slug`, or its address.
    """

    author: str | None = None
    search: str | None = None
    filters: tuple[str, ...] = ()
    pipeline_tag: str | None = None
    sort: str | None = None
    limit: int = DEFAULT_LIMIT
    collection: str | None = None

    def __post_init__(self) -> None:
        """Refuses what cannot be asked for, before anything is."""
        texts = (self.author, self.search, self.pipeline_tag, *self.filters)
        if any(text is not None and (not text.strip() or not text.isprintable() or len(text) > 200) for text in texts):
            raise UsageError("a search of the Hub is for words: neither nothing nor characters that cannot be printed")
        if self.sort is not None and self.sort not in SORTS:
            raise UsageError(f"the Hub does not sort by {self.sort!r}", known_hint(self.sort, SORTS))
        if self.limit < 1:
            raise UsageError("a limit is at least 1")
        if self.collection is not None and not _SLUG.fullmatch(self.slug):
            raise UsageError(
                f"{self.collection[:100]!r} is no collection", "It looks like owner/name-64f9a55bb3115b4f513ec026."
            )

    @property
    def slug(self) -> str:
        """The collection's, taken out of its address where that was given."""
        found = _COLLECTION_URL.match(self.collection or "")
        return found[1] if found else self.collection or ""

    def __str__(self) -> str:
        if self.collection is not None:
            return f"the collection {self.slug}"
        tags = (*self.filters, *((self.pipeline_tag,) if self.pipeline_tag else ()))
        parts = [f"by {self.author}"] if self.author else []
        parts += [f"with {self.search!r} in their names"] if self.search else []
        parts += [f"tagged {', '.join(tags)}"] if tags else []
        return " ".join(["models", *parts])
