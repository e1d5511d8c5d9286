"""What `find` is asked, as dataclasses of settings: of which device, of which models, and what to leave out."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from inspector.api.settings import Access, Settings
from inspector.errors import UsageError, known_hint
from inspector.hub.repo.query import DEFAULT_LIMIT, Query
from inspector.settings import setting

RANKS = ("size", "speed", "list")
CRITERIA = {
    "size": "Ranked by: 4 bits or more, most parameters, least given up, tokens per second (an upper bound).",
    "speed": "Ranked by: 4 bits or more, tokens per second (an upper bound), most parameters.",
    "list": "Ranked by: the order of the list.",
}
TASK = "text-generation"
"""The models that are listed where nothing says which."""
JOBS = 16


def engine_choices() -> tuple[str, ...]:
    """The engines' names."""
    from inspector.engines.registry import names

    return names()


@dataclass(frozen=True, kw_only=True)
class FindSettings:
    """Of which device, and what a model has to do there.

    Attributes:
        gpu: the device: a name, a size ("24GiB"), a count ("4xH100"), or "auto" for this machine's.
        context: tokens per sequence that a model must hold; the smaller of 4,096 and its own maximum where None.
        batch: sequences at once.
        engine: whose account to go by; the first that holds it where None.
        min_tokens_per_second: leave out what cannot be as fast: by the upper bound of decoding.
        rank: what comes first: a key of `CRITERIA`.
        price: US dollars per GPU-hour: also what a million tokens cost at least.
    """

    gpu: str | None = setting(
        None,
        help="The device: 'RTX 4090', 4xH100, 24GiB, or auto for this machine's.",
        docs="the device: a name, a size, a count, or `auto` for this machine's",
        option="--gpu",
        metavar="GPU",
        group="Device",
    )
    context: int | None = setting(
        None,
        help="Tokens per sequence that a model must hold: 32768, 32k. Default: 4096, or its own maximum.",
        docs="tokens per sequence that a model must hold; default the smaller of 4,096 and its own maximum",
        unit="tokens",
        least=1,
        reads="tokens",
        metavar="N",
    )
    batch: int = setting(1, help="Sequences at once.", least=1, metavar="N")
    min_tokens_per_second: float | None = setting(
        None,
        help="Leave out what cannot be as fast: by the upper bound of decoding.",
        docs="leave out what cannot decode as fast, by the upper bound",
        least=0,
        metavar="X",
    )
    rank: str = setting(
        "size",
        help="What comes first: the most parameters, the fastest, or the list's order.",
        docs="what comes first: most parameters (`size`, default), the fastest (`speed`), the list's order (`list`)",
        choices=RANKS,
    )
    engine: str | None = setting(
        None,
        help="Whose memory accounting to follow. Default: the first engine that holds it with least given up.",
        docs="whose memory accounting to follow; default the first engine that holds it with least given up",
        choices=engine_choices,
        group="Engine",
    )
    price: float | None = setting(
        None,
        help="US dollars per GPU-hour: also say what a million tokens cost at least.",
        docs="US dollars per GPU-hour: also what a million tokens cost at least",
        metavar="USD",
        unit="US dollars",
        least=0,
        most=10**6,
        group="Device",
    )


@dataclass(frozen=True, kw_only=True)
class ListSettings:
    """Which models.

    Attributes:
        author, search, filters, sort, limit: of the Hub's list, as `inspector.hub.repo.query.Query` has them; offline
            of what this machine has.
        pipeline_tag: their task; text generation where None.
        license: the license that they all have ("apache-2.0").
        bundled: of the bundled snapshots alone, which no server is asked for.
    """

    author: str | None = None
    search: str | None = None
    filters: tuple[str, ...] = ()
    pipeline_tag: str | None = None
    license: str | None = None
    sort: str | None = None
    limit: int | None = None
    bundled: bool = False

    def queries(self) -> tuple[Query, ...]:
        """What the Hub is asked for: one list as asked, or half by trending and half by downloads."""
        limit = self.limit or DEFAULT_LIMIT
        filters = (*self.filters, *((f"license:{self.license}",) if self.license else ()))
        sorts = [self.sort] if self.sort else ["trending_score", "downloads"]
        return tuple(
            Query(
                author=self.author,
                search=self.search,
                filters=filters,
                pipeline_tag=self.pipeline_tag or TASK,
                sort=sort,
                limit=max(1, limit // len(sorts)) if len(sorts) > 1 else limit,
            )
            for sort in sorts
        )


@dataclass(frozen=True, kw_only=True)
class FindQuestion(Access, FindSettings, ListSettings):
    """What `find` is asked."""

    gpu: str = field(kw_only=False)
    jobs: int = JOBS

    def __post_init__(self) -> None:
        """Refuse what cannot be, before anything is asked for."""
        if self.rank not in RANKS:
            raise UsageError(f"nothing is ranked by '{self.rank}'", known_hint(self.rank, RANKS))
        if self.engine is not None and self.engine not in engine_choices():
            raise UsageError(f"unknown engine '{self.engine}'", known_hint(self.engine, engine_choices()))
        if self.batch < 1 or (self.context is not None and self.context < 1):
            raise UsageError("context and batch must be at least 1")
        if not 1 <= self.jobs <= 256:
            raise UsageError(f"{self.jobs} models at a time cannot be", "From 1 to 256.")
        self.queries()

    @cached_property
    def asked(self) -> Settings:
        """What a verdict is asked for, whatever the model."""
        return Settings(context=self.context, batch=self.batch, price=self.price)
