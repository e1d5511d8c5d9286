"""What can be asked of one repo on the Hub, each question on a worker's thread, its answer already parsed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from inspector.errors import HubError, InspectError, InvalidHeader
from inspector.hub.checkpoint import File
from inspector.hub.client.refusals import refusal
from inspector.hub.client.requests import Client, Meter
from inspector.hub.client.response import Answer, Request
from inspector.hub.client.urls import file_url, headers_url, listing_url, origin
from inspector.hub.client.workers import Task, Workers
from inspector.hub.formats.documents import (
    CONFIG_FILE,
    INDEX_FILE,
    MAX_CONFIG_BYTES,
    MAX_HEADERS_BYTES,
    MAX_INDEX_BYTES,
    MAX_LISTING_BYTES,
    Index,
    parse_config,
    parse_headers,
    parse_index,
    parse_listing,
    too_large,
)
from inspector.hub.formats.safetensors import PREFIX_BYTES, Header, header_from_json, header_length, parse_header
from inspector.hub.repo.remote_file import RemoteFile
from inspector.hub.repo_id import RepoId

if TYPE_CHECKING:
    from inspector.hub.formats.reader import RangeReader

T = TypeVar("T")

FIRST_READ_BYTES = 100_000
"""First bytes of a weights file, where nothing tells how long its header is: enough for 97 of 100 (huggingface_hub's
count over the thousand most used models)."""
MAX_FIRST_READ_BYTES = 4_000_000
"""Of a shard whose index tells how many tensors it has."""
TENSOR_BYTES = 88
"""What a tensor's entry takes besides its name: dtype, a shape of two dimensions and offsets of ten digits."""
HEADER_SLACK_BYTES = 1024
"""For `__metadata__`."""


class Found(Generic[T]):
    """An answer and what was read from it; None where the repo has no such file."""

    __slots__ = ("answer", "value")

    def __init__(self, answer: Answer, value: T | None) -> None:
        self.answer = answer
        self.value = value

    @property
    def commit(self) -> str | None:
        return self.answer.commit


class Headers:
    """All shard headers in one answer."""

    __slots__ = ("headers", "index", "raw")

    def __init__(self, index: Index, headers: dict[str, Header], raw: dict[str, Any]) -> None:
        self.index = index
        self.headers = headers
        self.raw = raw

    def text_bytes(self, shard: str) -> int:
        """Bytes of a shard's header as every writer writes it: JSON without spaces, before padding."""
        return len(json.dumps(self.raw[shard], ensure_ascii=False, separators=(",", ":")).encode())


class Listing(NamedTuple):
    """The repo's files, and the commit that has them."""

    commit: str | None
    files: tuple[File, ...]


class RepoFiles:
    """Asks for one repo's files. Each method returns at once; `as_done` and `all` wait."""

    def __init__(
        self,
        client: Client,
        workers: Workers,
        repo: RepoId,
        meter: Meter,
        while_waiting: Callable[[], object] | None = None,
    ) -> None:
        self.repo = repo
        self._client = client
        self._workers = workers
        self._meter = meter
        self._while_waiting = while_waiting
        self._timeout = client.settings.timeout
        self._endpoint = client.settings.endpoint
        self._tasks: list[Task[Any]] = []

    def config(self, revision: str) -> Task[Found[dict[str, Any]]]:
        """config.json."""
        return self._document(revision, CONFIG_FILE, MAX_CONFIG_BYTES, parse_config)

    def index(self, revision: str, name: str = INDEX_FILE) -> Task[Found[Index]]:
        """model.safetensors.index.json, or the index of another format."""
        return self._document(revision, name, MAX_INDEX_BYTES, lambda data, where: parse_index(data, where, name))

    def document(self, revision: str, name: str) -> Task[Found[bytes]]:
        """Another small JSON document, as it is."""
        return self._document(revision, name, MAX_INDEX_BYTES, lambda data, _: data)

    def container(
        self, revision: str, name: str, size: int | None, parse: Callable[[RangeReader, str], T]
    ) -> Task[Found[T]]:
        """A weights file of another format, parsed from ranged reads.

        Args:
            revision: best a commit; the reads of one file may else be of two.
            size: in bytes, None where it is not known.
        """
        url = file_url(self._endpoint, self.repo.name, revision, name)

        def job(task: Task[Found[T]]) -> Found[T]:
            file = RemoteFile(
                lambda request: self._fetch(request, task), self._check, url, f"{name} of {self.repo}", size
            )
            value = parse(file, f"{name} of {self.repo}")
            assert file.answer is not None  # no file is parsed without a read
            return Found(file.answer, value)

        return self._start(job)

    def header(self, revision: str, name: str, first_read: int = FIRST_READ_BYTES) -> Task[Found[Header]]:
        """A weights file's header, in one ranged read, or two where it is longer than the first."""

        def job(task: Task[Found[Header]]) -> Found[Header]:
            answer = self._header_bytes(revision, name, first_read, task)
            if answer.absent:
                return Found(answer, None)
            where = f"{name} of {self.repo}"
            length = header_length(answer.body, where, answer.size)
            data = answer.body[PREFIX_BYTES : PREFIX_BYTES + length]
            if len(data) < length:
                raise InvalidHeader(f"{where} is cut short: {len(data)} of its header's {length} bytes are there")
            return Found(answer, parse_header(data, where, answer.size))

        return self._start(job)

    def headers(self) -> Task[Found[Headers]]:
        """The index and all shards' headers of `main` in one answer; None where the server has no such endpoint."""
        url = headers_url(self._endpoint, self.repo.name, INDEX_FILE)

        def job(task: Task[Found[Headers]]) -> Found[Headers]:
            answer = self._fetch(Request("GET", url, limit=MAX_HEADERS_BYTES), task)
            if not answer.ok or answer.is_page or answer.cut:
                error = self._refusal(answer) if answer.code not in (None, "EntryNotFound") else None
                if error is not None:
                    raise error
                return Found(answer, None)
            index, raw = parse_headers(answer.body, str(self.repo))
            headers = {shard: header_from_json(raw[shard], f"{shard} of {self.repo}") for shard in index.shards}
            return Found(answer, Headers(index, headers, raw))

        return self._start(job)

    def listing(self, revision: str) -> Task[Found[Listing]]:
        """The list of files with their sizes."""
        url = listing_url(self._endpoint, self.repo.name, revision)

        def job(task: Task[Found[Listing]]) -> Found[Listing]:
            answer = self._fetch(Request("GET", url, limit=MAX_LISTING_BYTES), task)
            self._check(answer)
            commit, files = parse_listing(answer.body, str(self.repo))
            return Found(answer, Listing(commit, files))

        return self._start(job)

    def commit(self, revision: str) -> Task[Found[str]]:
        """The commit that a revision stands for now; None where the server does not say."""
        url = file_url(self._endpoint, self.repo.name, revision, CONFIG_FILE)

        def job(task: Task[Found[str]]) -> Found[str]:
            answer = self._fetch(Request("HEAD", url, until_commit=True), task)
            if answer.status in (405, 501):  # a mirror that knows no HEAD
                return Found(answer, None)
            if answer.status >= 400 and not answer.absent:
                self._check(answer)
            return Found(answer, answer.commit)

        return self._start(job)

    def as_done(self, *tasks: Task[Any]) -> Iterator[Task[Any]]:
        """Each as soon as it is done or given up."""
        if self._while_waiting is not None:
            self._while_waiting()
        return self._workers.as_done(tasks, self._timeout)

    def all(self, tasks: list[Task[T]]) -> list[T]:
        """All results, in order. Raises the first error to come."""
        for task in self.as_done(*tasks):
            if task.error is not None:
                raise task.error
        return [task.result for task in tasks]

    def one(self, task: Task[T]) -> T:
        """Its result, or its error."""
        return self.all([task])[0]

    def cancel(self) -> None:
        """Lets go of everything that is still under way."""
        for task in self._tasks:
            self._workers.let_go(task)
        self._tasks.clear()

    def first_reads(self, index: Index) -> dict[str, int]:
        """How many bytes to read of each shard, so that its header comes whole, from what the index lists."""
        reads: dict[str, int] = dict.fromkeys(index.shards, PREFIX_BYTES + HEADER_SLACK_BYTES)
        for tensor, shard in (index.weight_map or {}).items():
            reads[shard] += len(tensor) + TENSOR_BYTES
        return {shard: min(count, MAX_FIRST_READ_BYTES) for shard, count in reads.items()}

    def _start(self, job: Callable[[Task[T]], T]) -> Task[T]:
        task = self._workers.start(job)
        self._tasks.append(task)
        return task

    def _fetch(self, request: Request, task: Task[Any]) -> Answer:
        return self._client.fetch(request, task, self._meter)

    def _document(self, revision: str, name: str, limit: int, parse: Callable[[bytes, str], T]) -> Task[Found[T]]:
        url = file_url(self._endpoint, self.repo.name, revision, name)

        def job(task: Task[Found[T]]) -> Found[T]:
            answer = self._fetch(Request("GET", url, limit=limit), task)
            if answer.absent:
                return Found(answer, None)
            self._check(answer)
            if answer.cut:
                raise too_large(name, str(self.repo))
            return Found(answer, parse(answer.body, str(self.repo)))

        return self._start(job)

    def _header_bytes(self, revision: str, name: str, first_read: int, task: Task[Any]) -> Answer:
        """A file's first bytes, as many as its header needs."""
        where = f"{name} of {self.repo}"
        url = file_url(self._endpoint, self.repo.name, revision, name)

        def end(body: bytearray) -> int:
            """Bytes up to the header's end, as far as can be told from these."""
            return PREFIX_BYTES + (header_length(bytes(body), where) if len(body) >= PREFIX_BYTES else 0)

        answer = self._fetch(Request("GET", url, last=first_read - 1, want=end), task)
        if answer.absent:
            return answer
        if answer.status == 416:
            raise InvalidHeader(f"{where} is no safetensors file: it is empty")
        self._check(answer)
        needed = end(bytearray(answer.body))
        have = len(answer.body)
        if have >= needed or have < first_read or (answer.size is not None and answer.size < needed):
            return answer
        # The host that the Hub redirects to keeps a file under its content: the same address is the same file.
        elsewhere = origin(answer.url) != origin(self._endpoint)
        pinned = file_url(self._endpoint, self.repo.name, answer.commit or revision, name)
        rest = self._fetch(Request("GET", answer.url if elsewhere else pinned, first=have, last=needed - 1), task)
        if elsewhere and not rest.ok:
            rest = self._fetch(Request("GET", pinned, first=have, last=needed - 1), task)
        self._check(rest)
        if answer.size is not None and rest.size is not None and answer.size != rest.size:
            raise HubError(f"{where} changed while it was read", "Try again.")
        return Answer(answer.status, answer.url, answer.headers, answer.body + rest.body, answer.commit, answer.size)

    def _check(self, answer: Answer) -> None:
        error = self._refusal(answer)
        if error is not None:
            raise error

    def _refusal(self, answer: Answer) -> InspectError | None:
        return refusal(answer, self.repo, self._endpoint, has_token=self._client.has_token)
