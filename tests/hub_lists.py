"""The loopback Hub's lists of models and collections, in the form that the real Hub answers in.

The form is that which huggingface_hub's `list_models` and `get_collection` send and read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode

if TYPE_CHECKING:
    from tests.hub_server import LoopbackHub, Repo

Facts = dict[str, Any]


def facts_of(repo: Repo) -> Facts:
    """What a list says of a repo; its own facts may say `base_model`, and the `relation` to it."""
    facts = {"likes": 0, "downloads": 0, "tags": [], "createdAt": "2026-01-01T00:00:00.000Z", **repo.facts}
    # What a model card says of its base, with the relation that the Hub tells by the files, are tags of the repo.
    base, relation = facts.pop("base_model", None), facts.pop("relation", "quantized")
    if base is not None:
        facts["tags"] = [*facts["tags"], f"base_model:{base}", f"base_model:{relation}:{base}"]
    return {"_id": "0" * 24, "id": repo.name, "modelId": repo.name, "private": repo.private, **facts}


def search(hub: LoopbackHub, query: str, repos: list[Repo]) -> tuple[list[Facts], str | None]:
    """A page of the list that a query asks for, and the address of the next one."""
    asked = parse_qs(query)

    def one(name: str) -> str | None:
        return asked.get(name, [None])[-1]  # type: ignore[list-item]

    found = [facts_of(repo) for repo in repos]
    if author := one("author"):
        found = [facts for facts in found if facts["id"].startswith(author + "/")]
    if words := one("search"):
        found = [facts for facts in found if words.lower() in facts["id"].lower()]
    if tag := one("pipeline_tag"):
        found = [facts for facts in found if facts.get("pipeline_tag") == tag]
    for tag in asked.get("filter", []):
        found = [facts for facts in found if tag in (*facts["tags"], facts.get("pipeline_tag"))]
    if sort := one("sort"):
        found.sort(key=lambda facts: facts.get(sort, 0), reverse=True)
    start = int(one("cursor") or 0)
    end = start + min(int(one("limit") or hub.page_size), hub.page_size)
    rest = {name: values for name, values in asked.items() if name != "cursor"}
    following = f"{hub.url}/api/models?{urlencode({**rest, 'cursor': end}, doseq=True)}"
    return found[start:end], following if end < len(found) else None


def collection(hub: LoopbackHub, slug: str) -> Facts | None:
    """A collection with all its items, None where there is none."""
    items = hub.collections.get(slug)
    if items is None:
        return None
    return {
        "slug": slug,
        "title": "A collection",
        "owner": {"name": slug.partition("/")[0]},
        "items": [
            {"_id": f"{position:024}", "id": name, "type": kind, "position": position}
            for position, (name, kind) in enumerate(items)
        ],
        "lastUpdated": "2026-01-01T00:00:00.000Z",
        "position": 0,
        "private": False,
        "theme": "green",
        "upvotes": 0,
    }
