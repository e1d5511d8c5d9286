"""Every fault at every request of a cold read, for every command that reads: what comes of it, as a table.

One loopback Hub has a repo for each cell, and a fault that only the cell's own request meets. The cells run side by
side on threads of this process: `show`, `fit` and `diff` as commands of their own, and one `batch` over all of them.
"""

from __future__ import annotations

import io
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

from tests.hub.make_parts import LLAMA, LLAMA_PARAMETERS, llama
from tests.hub_server import Content, Fault, LoopbackHub, Repo, sharded, sparse

HANG_TIMEOUT = 3.0
"""Seconds, for servers that hang: each of their cells takes that long, all at once."""
HANG_PAUSE = 0.04
"""Seconds between their starts: what else they ask for is answered within the time-out, as none waits for the others.
"""
TIMEOUT = 20.0
"""Seconds, for servers that answer: none of their cells comes near it."""
COMMANDS = ("show", "fit", "diff", "batch")
SOUND = "org/sound"
ANSWER = "answer"


@dataclass(frozen=True)
class Kind:
    """A fault as the table names it.

    Attributes:
        hangs: the answer, if there is one, comes of the time-out.
        batch: of what `batch` is tried with; it waits out a rate limit that never ends, as it should.
    """

    fault: Fault | None
    hangs: bool = False
    batch: bool = True


def always(kind: str, **values: Any) -> Kind:
    return Kind(Fault(kind, times=None, **values))


HTML = {"headers": {"Content-Type": "text/html"}, "body": b"<html>Log in</html>"}
KINDS: dict[str, Kind] = {
    "connection reset, once": Kind(Fault("reset")),
    "connection reset": always("reset"),
    "reset within the body": always("reset_body"),
    "closed without an answer": always("close"),
    "body cut short": always("truncate"),
    "body cut short, once": Kind(Fault("truncate")),
    "hangs before the answer": Kind(Fault("hang", times=None), hangs=True),
    "hangs within the body": Kind(Fault("hang_body", times=None), hangs=True),
    "a byte of the head a second": Kind(Fault("drip_head", times=None, seconds=1.0), hangs=True),
    "a byte of the body a second": Kind(Fault("drip", times=None, seconds=1.0), hangs=True),
    "500": always("status", status=500),
    "503, once": Kind(Fault("status", status=503)),
    "429, an hour": Kind(Fault("status", times=None, status=429, headers={"Retry-After": "3600"}), batch=False),
    "429, a second, once": Kind(Fault("status", status=429, headers={"Retry-After": "1"})),
    "HTML, 200": always("answer", **HTML),
    "HTML, 403": always("status", status=403, **HTML),
    "no JSON, 200": always("answer", headers={"Content-Type": "application/json"}, body=b'{"a": [1,'),
    "nothing, 200": always("answer"),
    "200 for a range": always("ignore_range"),
    "another range": always("wrong_range"),
    "half the range": always("short_range"),
    "body without end": always("endless"),
    "gzip bomb": always("bomb", size=10**10),
    "brotli unasked": always("answer", headers={"Content-Encoding": "br"}, body=b"\x8b\x02\x80{}\x03"),
    "redirect to file:": always("redirect", location="file:///etc/passwd"),
    "redirect in a circle": always("redirect", location="?again"),
    "redirect to a closed port": always("redirect", location="http://127.0.0.1:9/x"),
    "redirect to another host": Kind(Fault("redirect", times=None, location="ELSEWHERE")),
    "new commit just before": Kind(None),
}
"""What goes wrong. ELSEWHERE is a server that has another file under every address."""


FORBIDDEN = "HTML, 403"


@dataclass(frozen=True)
class Place:
    """A request: which of the three shapes of repo asks it, and how to tell it (REPO and SHA filled in)."""

    shape: str
    path: str
    server: str = "hub"


PLACES: dict[str, Place] = {
    "config.json": Place("one file", "/REPO/resolve/main/config.json"),
    "its content": Place("one file", "/resolve-cache/models/REPO/SHA/config.json"),
    "weights": Place("one file", "/REPO/resolve/main/model.safetensors"),
    "their first bytes": Place("one file", "/REPO/SHA/model.safetensors", "cdn"),
    "all headers": Place("shards", "/models/REPO/safetensors-metadata"),
    "listing": Place("shards", "/models/REPO/revision"),
    "index": Place("mirror", "/REPO/resolve/SHA/model.safetensors.index.json"),
    "its text": Place("mirror", "/resolve-cache/models/REPO/SHA/model.safetensors.index"),
    "a shard": Place("mirror", "/REPO/resolve/SHA/model-00002"),
    "its first bytes": Place("mirror", "/REPO/SHA/model-00002", "cdn"),
}
"""The requests of a cold read: of one file, of shards in one answer, and of shards of a mirror without that answer."""

NEW_LAYERS = {name.replace("layers.1", "layers.2"): shape for name, shape in llama().items() if "layers.1" in name}
NEW_CONFIG = {**LLAMA, "num_hidden_layers": 3}
NEW_PARAMETERS = LLAMA_PARAMETERS + (LLAMA_PARAMETERS - 2 * 1000 * 64 - 64) // 2


def files_of(shape: str, config: Mapping[str, Any], tensors: Mapping[str, Any]) -> dict[str, Content]:
    weights = {"model.safetensors": sparse(dict(tensors))} if shape == "one file" else sharded(dict(tensors), 2)
    return {"config.json": dict(config), **weights}


@dataclass
class Cell:
    """A fault at a request, under one command. `outcome`: "answer", or the exit code, with `error` as it was said."""

    kind: str
    place: str
    command: str
    repo: str = ""
    outcome: str = ""
    error: str = ""
    wrong: list[str] = field(default_factory=list)


def cells() -> list[Cell]:
    return [
        Cell(kind, place, command)
        for kind in KINDS
        for place in PLACES
        for command in COMMANDS
        if command != "batch" or KINDS[kind].batch
    ]


def prepare(hub: LoopbackHub, elsewhere: str, cell: Cell, number: int) -> None:
    """Adds the cell's repo and its fault."""
    place, kind = PLACES[cell.place], KINDS[cell.kind]
    cell.repo = f"org/m{number}"
    repo = hub.add_repo(cell.repo, files_of(place.shape, LLAMA, llama()))
    path = place.path.replace("REPO", cell.repo).replace("SHA", repo.head)
    if kind.fault is None:
        hub.before(path, lambda: moved(repo, place.shape))
    else:
        location = elsewhere if kind.fault.location == "ELSEWHERE" else kind.fault.location
        hub.faults.append(replace(kind.fault, path=path, server=place.server, location=location))
    if place.shape == "mirror":
        hub.faults.append(Fault("status", path=f"/models/{cell.repo}/safetensors-metadata", status=404, times=None))


def moved(repo: Repo, shape: str) -> None:
    repo.commit(files_of(shape, NEW_CONFIG, {**llama(), **NEW_LAYERS}))


class Streams(io.TextIOBase):
    """Standard output or error that keeps what each thread writes apart."""

    encoding = "utf-8"
    errors = "strict"

    def __init__(self) -> None:
        self.kept = threading.local()

    def write(self, text: str) -> int:
        self.kept.text = getattr(self.kept, "text", "") + text
        return len(text)

    def take(self) -> str:
        """What this thread wrote since the last time."""
        text: str = getattr(self.kept, "text", "")
        self.kept.text = ""
        return text


@contextmanager
def hub_settings(endpoint: str, home: Path) -> Iterator[None]:
    """huggingface_hub's constants, which it took from the environment long ago, as these tests need them."""
    from huggingface_hub import constants

    names = {"ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_CACHE": str(home / "hub")}
    names |= {"HF_ASSETS_CACHE": str(home / "assets"), "HF_TOKEN_PATH": str(home / "token")}
    with mock.patch.multiple(constants, HF_HUB_OFFLINE=False, **names):
        yield


def run(home: Path) -> tuple[list[Cell], LoopbackHub, LoopbackHub]:
    """All cells. Returns them, and the Hubs with what they saw."""
    from huggingface_hub import constants
    from huggingface_hub.utils._http import close_session

    from inspector.api.inspection import prepare as import_ahead

    import_ahead()
    found = cells()
    out, err = Streams(), Streams()
    with LoopbackHub() as hub, LoopbackHub() as other:
        other.tokens[TOKEN] = hub.tokens[TOKEN] = {"*"}
        other.faults.append(Fault("answer", times=None, body=b"[]"))
        for number, cell in enumerate(found):
            prepare(hub, f"{other.url}/elsewhere", cell, number)
        hub.add_repo(SOUND, files_of("one file", LLAMA, llama()))
        with hub_settings(hub.url, home), mock.patch.multiple(sys, stdout=out, stderr=err):
            for hangs, timeout, threads, pause in ((False, TIMEOUT, 10, 0.0), (True, HANG_TIMEOUT, 120, HANG_PAUSE)):
                mine = [cell for cell in found if KINDS[cell.kind].hangs is hangs]
                single = [cell for cell in mine if cell.command != "batch"]
                with (
                    mock.patch.object(constants, "HF_HUB_DOWNLOAD_TIMEOUT", timeout),
                    ThreadPoolExecutor(threads) as pool,
                ):
                    running = [
                        pool.submit(run_batch, [cell for cell in mine if cell.command == "batch"], home, out, err)
                    ]
                    for cell in single:
                        running.append(pool.submit(run_one, cell, out, err))
                        time.sleep(pause)
                for future in running:
                    future.result()
        close_session()
        return found, hub, other


TOKEN = "hf_s3cr3tOfTheMatrix"


def run_one(cell: Cell, out: Streams, err: Streams) -> None:
    """`show`, `fit` or `diff` as a user runs it."""
    from inspector.cli.main import run as command

    arguments = {
        "show": ["show", cell.repo, "--json"],
        "fit": ["fit", cell.repo, "--gpu", "24GiB", "--json"],
        "diff": ["diff", cell.repo, SOUND, "--json"],
    }[cell.command]
    out.take(), err.take()
    code = command([*arguments, "--token", TOKEN])
    note(cell, code, json.loads(out.take()), err.take())


def run_batch(mine: Sequence[Cell], home: Path, out: Streams, err: Streams) -> None:
    """One `batch` over all of them: a line each."""
    from inspector.cli.main import run as command

    ids = home / f"ids-{id(mine)}.txt"
    ids.parent.mkdir(parents=True, exist_ok=True)
    ids.write_text("\n".join([SOUND, *(cell.repo for cell in mine)]))
    code = command(["batch", str(ids), "--jobs", "24", "--token", TOKEN])
    said = err.take()
    records = {record["repo_id"]: record for record in map(json.loads, out.take().splitlines())}
    for cell in mine:
        record = records.get(cell.repo, {})
        note(cell, record.get("error", {}).get("exit_code", 0), record, "")
    codes = [int(cell.outcome) for cell in mine if cell.outcome != ANSWER]
    if mine and (code != max(codes, default=0) or TOKEN in said or "Traceback" in said):
        mine[0].wrong.append(f"batch ended with {code}: {said[-300:]}")


def note(cell: Cell, code: int, record: Any, said: str) -> None:
    """What came of a cell, and everything that is not as it must be."""
    error = record.get("error")
    cell.outcome = str(code) if error else ANSWER
    cell.error = error["message"] if error else ""
    check: Callable[[bool, str], None] = lambda holds, text: None if holds else cell.wrong.append(text)  # noqa: E731
    text = json.dumps(record) + said
    check(TOKEN not in text and "s3cr3t" not in text, "the token, or a signed address, was printed")
    check("Traceback" not in text and "a bug in" not in text, said)
    if error:
        allowed = (3,) if cell.kind == FORBIDDEN else (4, 5)
        check(code in allowed and error["exit_code"] == code, f"exit code {code}")
        check(cell.error.count("\n") < 2, "an error of more than two lines")
        return
    sizes = (LLAMA_PARAMETERS, NEW_PARAMETERS) if KINDS[cell.kind].fault is None else (LLAMA_PARAMETERS,)
    if cell.command == "diff":
        check(code in ((0, 1) if len(sizes) > 1 else (0,)), f"exit code {code}: {text[:300]}")
        return
    check(code == 0, f"exit code {code}")
    check(record["parameters"]["total"] in sizes, f"{record['parameters']['total']} parameters")
    check(record["model"]["num_hidden_layers"] == 2 + sizes.index(record["parameters"]["total"]), "two commits mixed")
    check(record["source"] == "hub", record["source"])


LEGEND = """\
# What happens when a server fails

Made by `python -m tests.hub.fault_matrix --write`; tests/hub/test_fault_matrix.py runs every cell and holds this page
to it.

A row is something that goes wrong, a column the request it goes wrong at, each time it is asked ("once": the first
time). A cell says how `show`, `fit`, `diff` and `batch` end, which is the same for all four: **ok** with the right
answer, by another try or another way to it; **5** with the exit code of a Hub or network that failed; **4** with that
of a file that is no model's; **3** with that of no access. Nothing else happens: no traceback, no number from half an
answer, no wait beyond the time-out (`HF_HUB_DOWNLOAD_TIMEOUT`), and the token goes to the Hub alone.

The requests of a cold read: of a repo with one file, its `config.json` (a redirect, and its content) and
`model.safetensors` (a redirect, and its first bytes from the CDN); of a repo of shards, all their headers in one answer
and the list of files; of a mirror without that answer, the index (a redirect, and its text) and a shard's header (a
redirect, and its first bytes).

"""


def table(found: Sequence[Cell]) -> str:
    """The page: one table, as no two commands differ."""
    outcomes: dict[tuple[str, str], set[str]] = {}
    for cell in found:
        outcomes.setdefault((cell.kind, cell.place), set()).add("ok" if cell.outcome == ANSWER else cell.outcome)
    rows = [["", *PLACES], ["---", *("---" for _ in PLACES)]]
    rows += [[kind, *("/".join(sorted(outcomes[kind, place])) for place in PLACES)] for kind in KINDS]
    notes = (
        "\n`batch` waits for a rate limit's end (tests/batch/test_limits.py): it is not tried with one of an hour.\n"
    )
    return LEGEND + "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n" + notes


PAGE = Path(__file__).parents[2] / "docs" / "faults.md"


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        done, _, _ = run(Path(folder))
    for cell in done:
        if cell.wrong:
            print(cell)
    if "--write" in sys.argv:
        PAGE.write_text(table(done), encoding="utf-8")
    else:
        print(table(done))
