"""From what the user typed to a checkpoint: local files, kept answers, the Hub and the bundled snapshots, in order."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspector.errors import GatedRepo, HubError, HubUnreachable, InspectError, InvalidConfig
from inspector.hub.cache.store import Cache, has_hub_cache
from inspector.hub.checkpoint import Checkpoint, Design, Network, config_alone
from inspector.hub.client.settings import Settings
from inspector.hub.repo_id import DEFAULT_REVISION, LocalPath, RepoId, parse_model

if TYPE_CHECKING:  # loaded when the network is needed
    from inspector.hub.client.requests import Client, RateLimiter
    from inspector.hub.client.workers import Workers
    from inspector.hub.repo.listing import Listed
    from inspector.hub.repo.query import Query

MAX_CONNECTIONS = 32
"""At once: enough for 163 shards in a few rounds, fewer than the client's own pool of 100."""


class Resolver:
    """Resolves models, one after the other or from several threads. Close it, or use it in a `with`.

    Args:
        token: a token, True (the saved one is required), False (none), None (the saved one if there is one).
        offline: ask nothing over the network; None: as HF_HUB_OFFLINE says.
        endpoint: the Hub's address; None: as HF_ENDPOINT says.
        timeout: seconds to wait for a server; None: as HF_HUB_DOWNLOAD_TIMEOUT says (10).
        cache_dir: where answers are kept; None: below huggingface_hub's assets cache.
        max_connections: requests at the same time.
        while_waiting: is called by the thread that waits, each time that it begins to wait for the Hub: the moment to
            import what comes next.
        substitutes: a kept copy or a bundled snapshot answers where the Hub does not. False: its error is raised.

    Attributes:
        rate_limiter: where each request asks whether it may be sent, if many are; None: all may.

    Raises:
        UsageError: an argument, or a variable of the environment, that cannot be.
    """

    def __init__(
        self,
        *,
        token: str | bool | None = None,
        offline: bool | None = None,
        endpoint: str | None = None,
        timeout: float | None = None,
        cache_dir: Path | None = None,
        max_connections: int = MAX_CONNECTIONS,
        while_waiting: Callable[[], object] | None = None,
        substitutes: bool = True,
    ) -> None:
        self._settings = Settings.of(
            token=token, offline=offline, endpoint=endpoint, timeout=timeout, cache_dir=cache_dir
        )
        self._cache = Cache(self._settings.cache, self._settings.endpoint)
        self._max_connections = max_connections
        self._while_waiting = while_waiting
        self._substitutes = substitutes
        self.rate_limiter: RateLimiter | None = None
        self._network: tuple[Client, Workers] | None = None
        self._lock = threading.Lock()

    def resolve(
        self, model: str | PathLike[str] | Mapping[str, Any], revision: str | None = None, *, config_only: bool = False
    ) -> Checkpoint:
        """The checkpoint of a repo ID (`org/name`, `org/name@revision`, `gpt2`) or of a local folder or file.

        `org/name:Q4_K_M` is one of the GGUF models that a repo holds, `org/name:fp16` a variant of its files,
        `org/name:FOLDER` what one of its folders holds, `org/name:FILE` one of its files. An adapter comes with its
        base.

        Args:
            model: as above; or a config as parsed, which stands for itself.
            config_only: leave the weights out: one file of the Hub. A place without weights is read so by itself.

        Raises:
            InspectError: of the kind that tells what is wrong.
        """
        if isinstance(model, Mapping):
            return design_of(model)
        target = parse_model(model, revision)
        checkpoint = self._config_alone(target) if config_only else self._alone(target)
        if checkpoint.parts:
            from inspector.hub.formats.adapters import needs_base, with_base

            if needs_base(checkpoint):
                return with_base(checkpoint, self._alone)
        return checkpoint

    def find_models(self, query: Query) -> Listed:
        """The models that the Hub lists for a query.

        Raises:
            InspectError: no such collection, or the Hub was not reached; offline nobody is asked.
        """
        from inspector.hub.repo.listing import find_models, offline_refusal

        if self._settings.offline:
            raise offline_refusal(query)
        return find_models(*self._connected(), query)

    @property
    def is_offline(self) -> bool:
        """Whether nothing is asked over the network."""
        return self._settings.offline

    def kept_models(self) -> tuple[str, ...]:
        """The repo IDs of what is cached on this machine: answers kept between runs, and what was downloaded."""
        from inspector.hub.cache.upkeep import hub_cache_names, kept_names

        names = (*kept_names(self._settings.cache), *hub_cache_names(self._settings.hub_cache))
        return tuple(sorted(dict.fromkeys(names)))

    def _alone(self, target: RepoId | LocalPath) -> Checkpoint:
        """What one repo, folder or file holds."""
        if isinstance(target, LocalPath):
            from inspector.hub.repo.local import read_local

            return read_local(target)
        if self._settings.offline:
            return self._offline(target)
        kept = self._kept(target, target.revision) if target.is_commit else None
        return kept or self._online(target)

    def _config_alone(self, target: RepoId | LocalPath) -> Checkpoint:
        """The config of one repo, folder or file. A kept answer with the weights has it, too; without, none is kept."""
        if isinstance(target, LocalPath):
            from inspector.hub.repo.local import read_local

            return read_local(target, config_only=True)
        if self._settings.offline:
            return config_alone(self._offline(target))
        kept = self._kept(target, target.revision) if target.is_commit else None
        if kept is not None:
            return config_alone(kept)
        from inspector.hub.client.requests import Meter
        from inspector.hub.repo.files import RepoFiles
        from inspector.hub.repo.remote import read_remote_config

        meter = Meter()
        try:
            return read_remote_config(RepoFiles(*self._connected(), target, meter, self._while_waiting), meter)
        except (HubError, GatedRepo) as error:
            instead = self._instead(target, error) if self._substitutes else None
            if instead is None:
                raise
            return replace(config_alone(instead), network=meter.network(cached=instead.source == "cache"))

    def close(self) -> None:
        """Lets the threads go. Nothing waits for what they still do."""
        with self._lock:
            network, self._network = self._network, None
        if network is not None:
            network[1].close()

    def __enter__(self) -> Resolver:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _online(self, repo: RepoId) -> Checkpoint:
        """Asks the Hub; of a repo that was read before, only whether it has moved."""
        from inspector.hub.client.requests import Meter
        from inspector.hub.repo.files import RepoFiles
        from inspector.hub.repo.remote import current_commit, read_remote

        meter = Meter()
        try:
            files = RepoFiles(*self._connected(), repo, meter, self._while_waiting)
            if not repo.is_commit and (self._cache.commit(repo) or has_hub_cache(self._settings.hub_cache, repo)):
                commit = current_commit(files)
                kept = None if commit is None else self._kept(repo, commit)
                if kept is not None and commit is not None:
                    self._cache.remember(repo, commit)
                    return replace(kept, network=meter.network(cached=True))
            checkpoint = read_remote(files, meter)
        except (HubError, GatedRepo) as error:
            instead = self._instead(repo, error) if self._substitutes else None
            if instead is None:
                raise
            return replace(instead, network=meter.network(cached=instead.source == "cache"))
        problem = self._cache.store(repo, checkpoint)
        return checkpoint if problem is None else replace(checkpoint, warnings=(*checkpoint.warnings, problem))

    def _instead(self, repo: RepoId, error: InspectError) -> Checkpoint | None:
        """What answers where the Hub does not: a copy kept on this machine, else a bundled snapshot."""
        kept = self._kept(repo, self._cache.commit(repo))
        if kept is not None:
            note = f"{_reason(error)}: this is commit {kept.revision}, cached; it may be out of date"
            return replace(kept, warnings=(note, *kept.warnings))
        return _bundled(repo, _reason(error))

    def _offline(self, repo: RepoId) -> Checkpoint:
        checkpoint = self._kept(repo, self._cache.commit(repo))
        if checkpoint is None:
            checkpoint = _bundled(repo, "offline, so the Hub was not asked")
        if checkpoint is None:
            asked = str(repo) if repo.selector is None else f"{repo}:{repo.selector}"
            raise HubUnreachable(
                f"{asked} is not cached, and offline nothing is asked",
                "Ask for it once without --offline (and with HF_HUB_OFFLINE unset).",
            )
        return checkpoint

    def _kept(self, repo: RepoId, commit: str | None) -> Checkpoint | None:
        """A copy on this machine, of this commit or (None) of the one that huggingface_hub saw last."""
        kept = None if commit is None else self._cache.load(repo, commit)
        if kept is None and has_hub_cache(self._settings.hub_cache, repo):
            from inspector.hub.repo.local import read_hub_cache

            kept = read_hub_cache(self._settings.hub_cache, repo, commit)
        return None if kept is None else replace(kept, network=Network(cached=True))

    def _connected(self) -> tuple[Client, Workers]:
        from inspector.hub.client.requests import Client
        from inspector.hub.client.workers import Workers

        with self._lock:
            if self._network is None:
                self._network = Client(self._settings), Workers(self._max_connections)
            if self.rate_limiter is not None:
                self._network[0].rate_limiter = self.rate_limiter
            return self._network


def resolve(
    model: str | PathLike[str],
    revision: str | None = None,
    *,
    token: str | bool | None = None,
    offline: bool | None = None,
    endpoint: str | None = None,
    timeout: float | None = None,
    cache_dir: Path | None = None,
) -> Checkpoint:
    """One model's checkpoint; for many, share a `Resolver`. The arguments are `Resolver`'s.

    Raises:
        InspectError: of the kind that tells what is wrong.
    """
    with Resolver(token=token, offline=offline, endpoint=endpoint, timeout=timeout, cache_dir=cache_dir) as resolver:
        return resolver.resolve(model, revision)


def design_of(config: Mapping[str, Any]) -> Checkpoint:
    """The checkpoint of a config as parsed, under the name "config".

    Raises:
        InvalidConfig: it is no JSON, or deeper or larger than that of any model.
    """
    from inspector.hub.formats.documents import parse_config

    try:
        data = json.dumps(dict(config)).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidConfig(f"a config holds JSON's values alone ({error})") from None
    return Checkpoint("config", None, "local", parse_config(data, "the config", "config"), (), design=Design())


def _bundled(repo: RepoId, reason: str) -> Checkpoint | None:
    """The bundled snapshot, which stands for `main` and for nothing that was selected of it."""
    if repo.revision != DEFAULT_REVISION or repo.selector is not None:
        return None
    from inspector.hub.cache.bundled import read_bundled

    return read_bundled(repo.name, reason)


def _reason(error: InspectError) -> str:
    if isinstance(error, HubUnreachable):
        return f"the Hub could not be reached ({error.message})"
    return f"the Hub did not answer ({error.message})" if isinstance(error, HubError) else error.message
