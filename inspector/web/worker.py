"""The page without a server: what it asks, answered in a web worker of the browser, by Python under Pyodide."""

from __future__ import annotations

import json
from collections.abc import Callable

from inspector.api.loaded import LoadedModel
from inspector.api.settings import Source
from inspector.errors import GatedRepo, HubUnreachable, InspectError, RepoNotFound
from inspector.hub import Resolver
from inspector.web.answer import answer
from inspector.web.form import form
from inspector.web.models import Models
from inspector.web.names import FIRST, known_models, search_hub

NO_TOKEN = "This page has no token: run llm-inspect on your machine for gated and private models."
HINTS: dict[type[InspectError], str] = {
    GatedRepo: NO_TOKEN,
    RepoNotFound: f"Check the spelling. {NO_TOKEN}",
    HubUnreachable: "Check the connection. The bundled models need none.",
}
"""What to do about it, where there is no command line, no login and no environment."""


class PublicModels(Models):
    """Bundled models, which nobody is asked for, and those of the Hub that need no token.

    Args:
        endpoint: the Hub's address; None for the usual one.
    """

    def __init__(self, endpoint: str | None) -> None:
        super().__init__(Resolver(token=False, endpoint=endpoint))
        self._bundled = Models(Resolver(token=False, endpoint=endpoint, offline=True))

    def of(self, source: Source) -> LoadedModel:
        """As `Models.of`, with hints for a page."""
        try:
            return self._bundled.of(source)
        except HubUnreachable:
            pass
        try:
            return super().of(source)
        except InspectError as error:
            hint = next((hint for kind, hint in HINTS.items() if isinstance(error, kind)), None)
            if hint is None:
                raise
            raise type(error)(error.message, hint) from None


def page(endpoint: str | None = None) -> Callable[[str, str], str]:
    """What answers the page: given what is asked ("form", "search", "answer") and its argument, the answer, as JSON.

    Args:
        endpoint: the Hub's address, where it is a mirror of it.
    """
    models = PublicModels(endpoint)
    answers: dict[str, Callable[..., object]] = {
        "form": lambda _: form() | {"first": FIRST, "models": known_models(models)},
        "search": lambda words: search_hub(models, words),
        "answer": lambda request: answer(request, models),
    }
    return lambda asked, argument: json.dumps(answers[asked](json.loads(argument)))
