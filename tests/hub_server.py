"""A Hugging Face Hub on this machine, for tests: real HTTP, and the real one's redirects, headers, refusals and faults.

    with LoopbackHub() as hub:
        repo = hub.add_repo("org/name", {"config.json": {"model_type": "llama"}, "model.safetensors": sparse(TENSORS)})
        ...  # HF_ENDPOINT=hub.url, or Resolver(endpoint=hub.url)
        assert hub.paths() == ["/org/name/resolve/main/config.json", ...]

Files are bytes, a `Path`, anything that JSON takes, or `sparse(...)`: a safetensors file whose header is real and whose
data are zeros made as they are sent, so that a 16 GB shard costs nothing. Small files are served through a redirect on
the Hub itself, weights through one to a "CDN": a second server under another host name. Both record every request.

    hub.faults.append(Fault("hang", path="config.json"))            # see Fault for the kinds
    repo.commit({...})                                              # main moves on
    hub.before("model.safetensors", lambda: repo.commit({...}))     # ... between two requests

`facts` of a repo and `collections` of the Hub are what its lists (tests/hub_lists.py) say. Nothing here imports the
package that is tested. Needs only the standard library.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from types import TracebackType
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from tests.hub_lists import collection, search

BITS = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F16": 16, "BF16": 16, "I16": 16, "U16": 16, "F32": 32, "I32": 32}
BITS |= {"U32": 32, "F64": 64, "I64": 64, "U64": 64, "C64": 64}
CHUNK = 64 * 1024
HANG_SECONDS = 60.0
"""A fault that hangs lets go after this, should nobody hang up."""
INDEX = "model.safetensors.index.json"
EXPOSED = (
    "X-Repo-Commit,X-Request-Id,X-Error-Code,X-Error-Message,X-Total-Count,ETag,Link,Accept-Ranges,Content-Range,"
    "X-Linked-Size,X-Linked-ETag,X-Xet-Hash"
)
"""What the Hub lets pages of other sites see of its headers."""


@dataclass(frozen=True)
class Sparse:
    """A file with a real beginning and `zeros` bytes of nothing after it."""

    head: bytes
    zeros: int


Content = bytes | Path | Sparse | dict[str, Any] | list[Any]


def sparse(
    tensors: dict[str, tuple[str, list[int]]], metadata: dict[str, str] | None = None, pad_to: int = 8
) -> Sparse:
    """A safetensors file of these tensors: name -> dtype, shape. `pad_to`: the header's length is a multiple of it."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata is not None else {}
    position = 0
    for name, (dtype, shape) in tensors.items():
        bits = BITS.get(dtype, 8)
        for n in shape:
            bits *= n
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [position, position + bits // 8]}
        position += bits // 8
    raw = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    raw += b" " * (-len(raw) % pad_to)
    return Sparse(struct.pack("<Q", len(raw)) + raw, position)


def sharded(
    tensors: dict[str, tuple[str, list[int]]], shards: int, metadata: dict[str, Any] | None = None
) -> dict[str, Content]:
    """The files of a sharded model: the index and its shards, the tensors dealt out in order."""
    names = list(tensors)
    files: dict[str, Content] = {}
    weight_map = {}
    per_shard = -(-len(names) // shards)
    for i in range(shards):
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        part = names[i * per_shard : (i + 1) * per_shard]
        files[file] = sparse({name: tensors[name] for name in part}, {"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    return {INDEX: {"metadata": metadata or {}, "weight_map": weight_map}, **files}


@dataclass
class Fault:
    """Something that goes wrong with the next requests that match.

    Attributes:
        kind: one of
            status (answers `status` with `headers` and `body`), answer (the same with status 200),
            reset, reset_body (after half the body), truncate (half the body, then a clean close),
            hang, hang_body (after half the body), drip (a byte of the body each `seconds`), drip_head,
            ignore_range (200 and the whole file), endless (200 and a body without end), wrong_range,
            short_range (206 with half of what was asked for), bomb (a gzip body that unpacks to `size` zeros),
            redirect (302 to `location`), close (no answer at all).
        path: a part of the path.
        method: GET or HEAD, None for both.
        server: hub or cdn, None for both.
        times: how many requests, None for all.
        skip: how many requests pass before.
    """

    kind: str
    path: str = ""
    method: str | None = None
    server: str | None = None
    times: int | None = 1
    skip: int = 0
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    seconds: float = 0.05
    size: int = 10**10
    location: str = ""


@dataclass
class Seen:
    """A request that came, and what went back."""

    server: str
    method: str
    path: str
    headers: dict[str, str]
    port: int = 0
    status: int = 0
    sent: int = 0

    @property
    def authorized(self) -> bool:
        return "authorization" in self.headers


class Repo:
    """A repo of the loopback Hub: commits, and branches that point to them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.commits: dict[str, dict[str, Content]] = {}
        self.branches: dict[str, str] = {}
        self.gated = False
        self.private = False
        self.disabled = False
        self.facts: dict[str, Any] = {}

    def commit(self, files: dict[str, Content], branch: str = "main") -> str:
        """Adds a commit with exactly these files and points the branch at it. Returns the commit."""
        sha = hashlib.sha1(f"{self.name} {len(self.commits)}".encode()).hexdigest()
        self.commits[sha] = dict(files)
        self.branches[branch] = sha
        return sha

    @property
    def head(self) -> str:
        return self.branches["main"]

    def resolve(self, revision: str) -> str | None:
        return revision if revision in self.commits else self.branches.get(revision)


class LoopbackHub:
    """The Hub and its CDN. Switches to make it less than the real Hub can be set at any time.

    Attributes:
        url: the Hub's address (on 127.0.0.1); `cdn_url` the CDN's (on localhost).
        seen: every request, in order of arrival.
        faults: what goes wrong.
        tokens: each valid token and the gated or private repos it may read ("*" for all).
        latency: seconds before each answer.
        connect_latency: seconds before the first answer of a new connection, beside those.
        headers_endpoint: whether all shard headers can be had in one answer.
        headers_commit: whether that answer names its commit.
        api: whether there is an /api/models.
        commit_header, error_codes, ranges, redirects: off for a mirror that lacks them.
        compress: whether API answers are compressed.
        page_size: models that one page of a list has at most.
        pages_of_others: whether pages of other sites may read answers (CORS): the Hub's with the headers of `EXPOSED`,
            as of the real one, the CDN's without any.
        collections: slug -> the names of its items and their types ("model", "dataset", ...).
        on_request: is called with the number of each request (from 0) before it is answered.
    """

    def __init__(self, *, latency: float = 0.0, connect_latency: float = 0.0) -> None:
        self.seen: list[Seen] = []
        self.faults: list[Fault] = []
        self.tokens: dict[str, set[str]] = {}
        self.latency = latency
        self.connect_latency = connect_latency
        self.headers_endpoint = True
        self.headers_commit = False
        self.api = True
        self.commit_header = True
        self.error_codes = True
        self.ranges = True
        self.redirects = True
        self.compress = True
        self.page_size = 1000
        self.pages_of_others = False
        self.collections: dict[str, list[tuple[str, str]]] = {}
        self.on_request: Callable[[int], object] | None = None
        self.stopping = threading.Event()
        self._repos: dict[str, Repo] = {}
        self._renamed: dict[str, str] = {}
        self._before: list[tuple[str, Callable[[], object]]] = []
        self._lock = threading.Lock()
        self._hub = _Server(self, "hub")
        self._cdn = _Server(self, "cdn")
        self.url = f"http://127.0.0.1:{self._hub.server_port}"
        self.cdn_url = f"http://localhost:{self._cdn.server_port}"

    def __enter__(self) -> LoopbackHub:
        for server in (self._hub, self._cdn):
            threading.Thread(target=server.serve, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        for server in (self._hub, self._cdn):
            server.stop()

    def add_repo(
        self, name: str, files: dict[str, Content] | Path, *, gated: bool = False, private: bool = False
    ) -> Repo:
        """A repo whose `main` has these files, or all files of a folder."""
        if isinstance(files, Path):
            files = {p.relative_to(files).as_posix(): p for p in sorted(files.rglob("*")) if p.is_file()}
        repo = Repo(name)
        repo.gated, repo.private = gated, private
        repo.commit(files)
        self._repos[name] = repo
        return repo

    def remove_repo(self, name: str) -> None:
        """Takes a repo away again."""
        del self._repos[name]

    @property
    def repos(self) -> list[Repo]:
        """All of them, in the order in which they were added."""
        return list(self._repos.values())

    def rename(self, old: str, new: str) -> None:
        """The old name redirects to the new one."""
        self._renamed[old] = new

    def before(self, path: str, action: Callable[[], object]) -> None:
        """Does something once, just before the next request whose path has this part is answered."""
        self._before.append((path, action))

    def forget(self) -> None:
        """Clears what was seen, once no request is on its way any more: a client may not wait for all it asked."""
        count = -1
        while count != len(self.seen):
            count = len(self.seen)
            self.stopping.wait(0.1)
        self.seen.clear()

    def paths(self, server: str | None = "hub") -> list[str]:
        """The paths asked for so far."""
        return [seen.path for seen in self.seen if server in (None, seen.server)]

    @property
    def bytes_sent(self) -> int:
        """Bytes of all bodies sent so far."""
        return sum(seen.sent for seen in self.seen)

    @property
    def connections(self) -> int:
        """Connections that brought a request so far."""
        return len({(seen.server, seen.port) for seen in self.seen})

    # What the handlers ask for.

    def record(self, seen: Seen) -> Fault | None:
        """Notes a request and returns what is to go wrong with it."""
        with self._lock:
            if self.on_request is not None:
                self.on_request(len(self.seen))
            self.seen.append(seen)
            actions = [item for item in self._before if item[0] in seen.path]
            self._before = [item for item in self._before if item not in actions]
            for _, action in actions:
                action()
            for fault in self.faults:
                if (
                    fault.path in seen.path
                    and fault.method in (None, seen.method)
                    and fault.server in (None, seen.server)
                ):
                    if fault.skip > 0:
                        fault.skip -= 1
                        continue
                    if fault.times is not None:
                        fault.times -= 1
                        if fault.times <= 0:
                            self.faults.remove(fault)
                    return fault
        return None

    def find(self, path: str) -> tuple[Repo | None, str, str | None]:
        """The repo that a path begins with, the rest of the path, and the repo's new name if it was renamed."""
        parts = path.split("/")
        for end in range(len(parts), 0, -1):
            name, rest = "/".join(parts[:end]), "/".join(parts[end:])
            if name in self._renamed:
                return None, rest, self._renamed[name]
            if name in self._repos:
                return self._repos[name], rest, None
        return None, path, None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, hub: LoopbackHub, kind: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = hub
        self.kind = kind

    def server_bind(self) -> None:
        """Without HTTPServer's look-up of this machine's name."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def serve(self) -> None:
        """Answers until `stop`. Unlike `serve_forever`, which looks every so often whether it should end, it waits."""
        while True:
            with suppress(OSError):
                request, address = self.get_request()
                if self.hub.stopping.is_set():
                    request.close()
                    break
                self.process_request(request, address)
        self.server_close()

    def stop(self) -> None:
        """No more connections; returns once the port is closed."""
        with suppress(OSError), socket.create_connection(self.server_address[:2]) as last:
            last.recv(1)  # the end: it was taken, and what it waited behind with it
        while self.socket.fileno() != -1:
            time.sleep(0.001)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        if self.server.hub.connect_latency:
            self.server.hub.stopping.wait(self.server.hub.connect_latency)
        super().setup()

    def do_GET(self) -> None:
        hub = self.server.hub
        headers = {key.lower(): value for key, value in self.headers.items()}
        self.seen = Seen(self.server.kind, self.command, self.path, headers, self.client_address[1])
        self.fault = hub.record(self.seen)
        self.kind = self.fault.kind if self.fault else ""
        if hub.latency:
            hub.stopping.wait(hub.latency)
        if self.fault is not None and self._fails_at_once(self.fault):
            return
        if self.server.kind == "cdn":
            self._cdn()
        elif self.path.startswith("/api/"):
            self._api()
        else:
            self._file(unquote(urlsplit(self.path).path)[1:])

    do_HEAD = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the terminal."""

    def _fails_at_once(self, fault: Fault) -> bool:
        if fault.kind == "close":
            self.close_connection = True
        elif fault.kind == "reset":
            self._reset()
        elif fault.kind == "hang":
            self._hang()
        elif fault.kind in ("status", "answer"):
            status = fault.status if fault.kind == "status" else 200
            self._send(status, fault.headers, fault.body)
        elif fault.kind == "redirect":
            self._send(302, {"Location": fault.location}, b"")
        elif fault.kind == "bomb":
            self._bomb(fault.size)
        elif fault.kind == "endless":
            self._endless()
        else:
            return False
        return True

    def _file(self, path: str) -> None:
        hub = self.server.hub
        repo, rest, new = hub.find(path)
        if new is not None:
            old = path[: len(path) - len(rest)].rstrip("/")
            self._redirect(307, f"/{new}{self.path[1 + len(old) :]}", {})
            return
        if not self._may_read(repo, path):
            return
        assert repo is not None
        match = re.fullmatch(r"/[^?]*?/resolve/([^/]+)/([^?]+)", self.path)
        if match is None:
            self._refuse(404, "EntryNotFound", "Entry not found")
            return
        self._resolved(repo, unquote(match[1]), unquote(match[2]))

    def _resolved(self, repo: Repo, revision: str, name: str) -> None:
        hub = self.server.hub
        sha = repo.resolve(revision)
        if sha is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        commit = {"X-Repo-Commit": sha} if hub.commit_header else {}
        content = repo.commits[sha].get(name)
        if content is None:
            self._refuse(404, "EntryNotFound", "Entry not found", commit)
            return
        size = _size(content)
        etag = _etag(sha, name, content)
        if not hub.redirects:
            self._content(content, {**commit, "ETag": f'"{etag}"'})
        elif name.endswith((".safetensors", ".bin", ".gguf", ".pt")):
            linked = {"X-Linked-Size": str(size), "X-Linked-Etag": f'"{etag}"', "ETag": f'"{etag}"', **commit}
            address = f"{hub.cdn_url}/{quote(repo.name)}/{sha}/{quote(name)}?Signature=s3cr3t&Expires=1"
            self._redirect(302, address, linked)
        else:
            address = f"/api/resolve-cache/models/{quote(repo.name)}/{sha}/{quote(name)}"
            self._redirect(307, address, {"ETag": f'"{etag}"', **commit})

    def _api(self) -> None:
        hub = self.server.hub
        path = unquote(urlsplit(self.path).path)
        if path.startswith("/api/resolve-cache/models/"):
            repo, rest, _ = hub.find(path[len("/api/resolve-cache/models/") :])
            if self._may_read(repo, path):
                assert repo is not None
                sha, _, name = rest.partition("/")
                content = repo.commits[sha][name]
                commit = {"X-Repo-Commit": sha} if hub.commit_header else {}
                self._content(content, {"ETag": f'"{_etag(sha, name, content)}"', **commit})
            return
        if hub.api and (path == "/api/models" or path.startswith("/api/collections/")):
            self._lists(path)
            return
        if not path.startswith("/api/models/") or not hub.api:
            self._send(404, {"Content-Type": "text/html"}, b"<html>Not found</html>")
            return
        repo, rest, new = hub.find(path[len("/api/models/") :])
        if new is not None:
            self._redirect(307, f"/api/models/{new}" + (f"/{rest}" if rest else ""), {})
        elif self._may_read(repo, path):
            assert repo is not None
            if rest.startswith("safetensors-metadata/"):
                self._all_headers(repo, rest.partition("/")[2])
            elif rest.startswith("tree/"):
                self._tree(repo, rest.partition("/")[2])
            else:
                self._listing(repo, rest.partition("/")[2] if rest.startswith("revision/") else "main")

    def _lists(self, path: str) -> None:
        hub = self.server.hub
        if path == "/api/models":
            token = self.seen.headers.get("authorization", "").removeprefix("Bearer ")
            allowed = hub.tokens.get(token, set())
            repos = [repo for repo in hub.repos if not repo.private or allowed & {"*", repo.name}]
            page, following = search(hub, urlsplit(self.path).query, repos)
            self._json(page, {"Link": f'<{following}>; rel="next"'} if following else {})
        elif (found := collection(hub, path.removeprefix("/api/collections/"))) is not None:
            self._json(found)
        else:
            self._refuse(404, None, "Collection not found")

    def _all_headers(self, repo: Repo, name: str) -> None:
        hub = self.server.hub
        files = repo.commits[repo.head]
        if not hub.headers_endpoint:
            self._send(404, {"Content-Type": "text/html"}, b"<html>Not found</html>")
            return
        if name not in files:
            self._refuse(404, "EntryNotFound", "Entry not found")
            return
        index = json.loads(_bytes(files[name]))
        headers = {}
        for shard in sorted(set(index["weight_map"].values())):
            if shard not in files:
                self._refuse(404, "EntryNotFound", "Entry not found")
                return
            head = b"".join(_read(files[shard], 0, 8))
            raw = b"".join(_read(files[shard], 8, 8 + struct.unpack("<Q", head)[0]))
            headers[shard] = json.loads(raw)
        body = {"index": {"metadata": index.get("metadata", {})}, "headers": headers}
        self._json(body, {"X-Repo-Commit": repo.head} if hub.headers_commit else {})

    def _listing(self, repo: Repo, revision: str) -> None:
        sha = repo.resolve(revision)
        if sha is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        blobs = "blobs=true" in urlsplit(self.path).query
        siblings: list[dict[str, Any]] = [{"rfilename": name} for name in repo.commits[sha]]
        for item in siblings:
            if blobs:
                item["size"] = _size(repo.commits[sha][item["rfilename"]])
        info = {"id": repo.name, "sha": sha, "gated": repo.gated, "private": repo.private, "siblings": siblings}
        if not blobs and "config.json" in repo.commits[sha]:  # what accelerate's estimate-memory goes by
            config = json.loads(_bytes(repo.commits[sha]["config.json"]))
            kept = {key: config[key] for key in ("architectures", "model_type") if key in config}
            info |= {"library_name": "transformers", "config": kept}
        self._json(info)

    def _tree(self, repo: Repo, revision: str) -> None:
        """Every file, as one page with `recursive=true`."""
        sha = repo.resolve(revision)
        if sha is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        files = repo.commits[sha].items()
        self._json([{"type": "file", "path": name, "size": _size(content)} for name, content in files])

    def _may_read(self, repo: Repo | None, path: str) -> bool:
        """Whether this request may read the repo; if not, it was refused as the Hub does it."""
        hub = self.server.hub
        token = self.seen.headers.get("authorization", "").removeprefix("Bearer ")
        if token and token not in hub.tokens:
            self._refuse(401, None, "Invalid credentials in Authorization header")
            return False
        allowed = hub.tokens.get(token, set())
        has_access = repo is not None and ("*" in allowed or repo.name in allowed)
        if repo is None or (repo.private and not has_access):
            self._refuse(404 if token else 401, "RepoNotFound", "Repository not found")
        elif repo.disabled:
            self._refuse(403, None, "Access to this resource is disabled.")
        elif repo.gated and not has_access and not path.startswith(f"/api/models/{repo.name}"):
            self._refuse(403 if token else 401, "GatedRepo", f"Access to model {repo.name} is restricted.")
        else:
            return True
        return False

    def _cdn(self) -> None:
        path = unquote(urlsplit(self.path).path)[1:]
        repo, rest, _ = self.server.hub.find(path)
        if repo is None:
            self._send(404, {}, b"")
            return
        sha, _, name = rest.partition("/")
        self._content(repo.commits[sha][name], {"ETag": f'"{sha}"', "Content-Type": "binary/octet-stream"})

    def _content(self, content: Content, headers: dict[str, str]) -> None:
        """A file, or the range of it that was asked for."""
        hub = self.server.hub
        size = _size(content)
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.seen.headers.get("range", ""))
        if asked is None or not hub.ranges or self.kind == "ignore_range":
            self._send(200, headers, _read(content, 0, size), size)
            return
        first = int(asked[1])
        last = min(int(asked[2]) if asked[2] else size - 1, size - 1)
        if first > last:
            self._send(416, {"Content-Range": f"bytes */{size}"}, b"")
            return
        if self.kind == "wrong_range":
            first, last = first + 1, last + 1
        if self.kind == "short_range":
            last = first + (last - first) // 2
        headers = {**headers, "Content-Range": f"bytes {first}-{last}/{size}"}
        self._send(206, headers, _read(content, first, last + 1), last + 1 - first)

    def _json(self, value: Any, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
        own = {"Content-Type": "application/json; charset=utf-8", **(headers or {})}
        if self.server.hub.compress and "gzip" in self.seen.headers.get("accept-encoding", ""):
            body = gzip.compress(body, 1)
            own["Content-Encoding"] = "gzip"
        self._send(200, own, body)

    def _redirect(self, status: int, location: str, headers: dict[str, str]) -> None:
        self._send(status, {"Location": location, **headers}, f"Redirecting to {location}".encode())

    def _refuse(self, status: int, code: str | None, message: str, headers: dict[str, str] | None = None) -> None:
        own = dict(headers or {})
        if self.server.hub.error_codes:
            own["X-Error-Message"] = message
            if code is not None:
                own["X-Error-Code"] = code
        self._send(status, own, json.dumps({"error": message}).encode())

    def _send(self, status: int, headers: dict[str, str], body: bytes | Iterator[bytes], size: int = -1) -> None:
        if isinstance(body, bytes):
            size = len(body)
            body = iter([body])
        self.seen.status = status
        headers = {"Content-Length": str(size), **headers}
        if self.server.hub.pages_of_others:
            headers["Access-Control-Allow-Origin"] = "*"
            headers |= {"Access-Control-Expose-Headers": EXPOSED} if self.server.kind == "hub" else {}
        lines = [f"HTTP/1.1 {status} X", *(f"{key}: {value}" for key, value in headers.items()), "", ""]
        head = "\r\n".join(lines).encode("latin-1", "replace")
        with suppress(OSError):
            if self.kind == "drip_head":
                self._drip(head)
            else:
                self.wfile.write(head)
            if self.command == "HEAD":
                return
            if self.kind in ("truncate", "reset_body", "hang_body"):
                self._half(body, size)
            elif self.kind == "drip":
                for part in body:
                    self._drip(part)
            else:
                for part in body:
                    self.seen.sent += len(part)  # before it goes out: a client may ask as soon as it has it
                    self.wfile.write(part)
            return
        self.close_connection = True

    def _half(self, body: Iterator[bytes], size: int) -> None:
        left = size // 2
        for part in body:
            self.wfile.write(part[:left])
            self.seen.sent += len(part[:left])
            left -= len(part)
            if left <= 0:
                break
        if self.kind == "truncate":
            self.close_connection = True
        elif self.kind == "reset_body":
            self._reset()
        else:
            self._hang()

    def _drip(self, data: bytes) -> None:
        assert self.fault is not None
        for i in range(len(data)):
            if self.server.hub.stopping.is_set():
                return
            self.wfile.write(data[i : i + 1])
            self.seen.sent += 1
            time.sleep(self.fault.seconds)

    def _endless(self) -> None:
        self.seen.status = 200
        with suppress(OSError):
            self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            block = b"%x\r\n%s\r\n" % (CHUNK, b"{" * CHUNK)
            while not self.server.hub.stopping.is_set():
                self.wfile.write(block)
                self.seen.sent += CHUNK
        self.close_connection = True

    def _bomb(self, size: int) -> None:
        self.seen.status = 200
        packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        first, block = (packer.compress(b" " * 10**6) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
        with suppress(OSError):
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n" + first)
            while size > 0 and not self.server.hub.stopping.is_set():
                self.wfile.write(block)  # after a full flush each block can be unpacked alone: it is made once
                self.seen.sent += len(block)
                size -= 10**6
        self.close_connection = True

    def _hang(self) -> None:
        self.server.hub.stopping.wait(HANG_SECONDS)
        self.close_connection = True

    def _reset(self) -> None:
        with suppress(OSError):
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        self.close_connection = True


def _bytes(content: Content) -> bytes:
    if isinstance(content, (dict, list)):
        return json.dumps(content).encode()
    if isinstance(content, Path):
        return content.read_bytes()
    return content if isinstance(content, bytes) else content.head + b"\0" * content.zeros


def _etag(sha: str, name: str, content: Content) -> str:
    return hashlib.sha256(f"{sha}{name}{_size(content)}".encode()).hexdigest()


def _size(content: Content) -> int:
    if isinstance(content, Sparse):
        return len(content.head) + content.zeros
    return content.stat().st_size if isinstance(content, Path) else len(_bytes(content))


def _read(content: Content, start: int, end: int) -> Iterator[bytes]:
    """Bytes `start` up to `end` (left out), in pieces."""
    if isinstance(content, Path):
        with content.open("rb") as file:
            file.seek(start)
            while start < end:
                part = file.read(min(CHUNK, end - start))
                start += len(part)
                yield part
        return
    head = content.head if isinstance(content, Sparse) else _bytes(content)
    while start < end:
        part = head[start : min(end, start + CHUNK)] if start < len(head) else bytes(min(CHUNK, end - start))
        start += len(part)
        yield part
