"""Which models are looked at: the Hub's lists; offline what this machine's caches have, and the bundled snapshots."""

from __future__ import annotations

from inspector.errors import RepoNotFound
from inspector.finding.settings import TASK, FindQuestion
from inspector.hub import Resolver
from inspector.hub.checkpoint import ListedModel

HUB = "the Hub's lists"
HERE = "this machine's caches and the bundled snapshots"
BUNDLED = "the bundled snapshots"

WRITES_TEXT = ("image-text-to-text", "any-to-any", "audio-text-to-text")
"""Tasks whose models generate text, too."""


def candidates(question: FindQuestion, resolver: Resolver) -> tuple[list[ListedModel], str, tuple[str, ...]]:
    """The models, where they are from, and what the reader should know.

    Raises:
        InspectError: the Hub lists none, or was not reached.
    """
    if question.bundled or resolver.is_offline:
        return _here(question, resolver)
    found: dict[str, ListedModel] = {}
    queries, notes = question.queries(), []
    for query in queries:
        listed = resolver.find_models(query)
        found.update((each.name, each) for each in listed.details if each.name not in found)
        if listed.cut and question.limit is None and question.sort is not None:
            notes.append(f"the Hub has more {query} than {query.limit:,}: --limit N takes more")
    if not found:
        raise RepoNotFound(f"the Hub lists no {queries[0]}", "Check the spelling; what is private needs a token.")
    return list(found.values()), HUB, tuple(notes)


def _here(question: FindQuestion, resolver: Resolver) -> tuple[list[ListedModel], str, tuple[str, ...]]:
    from inspector.hub.cache.bundled import bundled_models

    bundled = list(bundled_models())
    names = {each.name.lower() for each in bundled}
    kept = (
        [] if question.bundled else [ListedModel(name) for name in resolver.kept_models() if name.lower() not in names]
    )
    notes = []
    if unknown := [each for each in kept if each.pipeline_tag is None] if question.license else []:
        notes.append(f"{len(unknown)} cached models are left out: offline their license is not known")
    chosen = [each for each in (*kept, *bundled) if _is_asked(each, question)]
    if question.filters:
        notes.append("offline the tags of models are not known: --filter is not heeded")
    chosen = chosen[: question.limit]
    if not chosen:
        raise RepoNotFound("none of the models of this machine is meant", "Ask the Hub, without --offline.")
    return chosen, BUNDLED if question.bundled else HERE, tuple(notes)


def _is_asked(model: ListedModel, question: FindQuestion) -> bool:
    """Whether a model of this machine is one that was asked for; a task that is not known may be any."""
    name = model.name.lower()
    task = question.pipeline_tag or TASK
    return (
        (question.author is None or name.startswith(f"{question.author.lower()}/"))
        and (question.search is None or all(word in name for word in question.search.lower().split()))
        and (question.license is None or (model.license or "").lower() == question.license.lower())
        and (model.pipeline_tag in (None, task) or (task == TASK and model.pipeline_tag in WRITES_TEXT))
    )
