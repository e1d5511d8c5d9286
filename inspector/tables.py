"""The texts of the tables in inspector/data.

In a checkout each table is a file. A wheel has those of many small files (`PACKED`) in one, compressed one by one:
packaging/pack.py, which the build runs, makes it of what stands here.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

DATA = Path(__file__).parent / "data"
PACK = DATA / "tables.pack"
PACKED = ("classes", "designs", "training", "training_vision")
"""Folders of tables of which a run reads one or two files. What every report reads (classes/index.json) stays out."""


def table_text(name: str) -> str:
    """The text of a table: "configs.json", "classes/llama.json".

    Raises:
        FileNotFoundError: there is none of that name.
    """
    index, start = _index()
    at = index.find(f"\n{name} ") + 1
    if not at:
        return (DATA / name).read_text("utf-8")
    from zlib import decompress

    offset, length = map(int, index[at + len(name) + 1 : index.index("\n", at)].split())
    with PACK.open("rb") as file:
        file.seek(start + offset)
        return decompress(file.read(length)).decode()


def table_names(folder: str) -> tuple[str, ...]:
    """The names, without ".json", of the tables of a folder."""
    files = [path.stem for path in (DATA / folder).glob("*.json")]
    lines = (line for line in _index()[0].splitlines() if line.startswith(f"{folder}/"))
    return tuple(sorted([*files, *(line.partition(".json ")[0].partition("/")[2] for line in lines)]))


def packed(texts: dict[str, bytes]) -> bytes:
    """The packed file of tables by name: the length of an index, the index (a line "name offset length" each), and each
    table compressed by zlib, so that one is read without the others."""
    from zlib import compress

    index, bodies, offset = "\n", [], 0
    for name, text in sorted(texts.items()):
        bodies.append(compress(text, 9))
        index += f"{name} {offset} {len(bodies[-1])}\n"
        offset += len(bodies[-1])
    return b"".join([b"%d\n" % len(index), index.encode(), *bodies])


@lru_cache(maxsize=1)
def _index() -> tuple[str, int]:
    """The packed file's index, and where its first table begins; "" where there is no such file."""
    try:
        with PACK.open("rb") as file:
            length = int(file.readline())
            return file.read(length).decode(), file.tell()
    except FileNotFoundError:
        return "", 0
