"""Writes the page of `llm-inspect web` as a folder of files that needs no server: `make web-static`.

The package runs in a web worker of the browser, under Pyodide. The folder works on any file host, a Hugging Face Space
(sdk: static) among them. What is read from npm and PyPI is pinned here and in web_static/requirements.txt; of Node.js
it needs npm, which brings Pyodide, and node, in which Pyodide compiles the modules: that halves the time to start.
"""

from __future__ import annotations

import argparse
import ast
import gzip
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
OWN = HERE / "web_static"
PAGE = (ROOT / "inspector" / "web" / "static", ROOT / "inspector" / "report" / "html")
"""Folders whose files of these kinds are the page's, as in inspector/web/server.py."""
PAGE_KINDS = (".html", ".css", ".js", ".svg")
PYODIDE = "314.0.7"
HUB = "https://huggingface.co"
HUB_FILES = "https://*.hf.co https://*.huggingface.co"
"""Where the Hub redirects to for weights."""
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self' {hub}; base-uri 'none'; form-action 'none'"
)
NOT_IN_PAGE = re.compile(
    r"inspector/((cli|measure|batch|manifest|finding)/|__main__|web/(server|static))"
    r"|llm_inspect-.*\.data/|\.dist-info/(RECORD|WHEEL|entry_points\.txt)|py\.typed"
)
"""Of the wheel, and of what it needs: commands, what needs torch, what asks many models, a server."""
HUGGINGFACE_HUB = re.compile(
    r"huggingface_hub/(__init__|constants|errors|utils/(__init__|_http|_lfs|_typing|logging))\.py|[^/]+\.dist-info/.+"
)
"""What inspector/hub imports of huggingface_hub, and what that imports: 8 of its 200 files."""
NOT_NEEDED = """
    _pyio _pyrepl antigravity bdb cProfile cmd code compileall configparser ctypes curses dbm doctest ensurepip
    fileinput filecmp ftplib getpass idlelib imaplib lib2to3 mailbox modulefinder multiprocessing optparse pdb
    pickletools plistlib poplib profile pstats pty pyclbr pydoc pydoc_data rlcompleter sched shelve smtplib
    socketserver sqlite3 statistics symtable tabnanny this timeit tkinter tomllib trace tracemalloc turtle
    turtledemo unittest venv wave webbrowser wsgiref xmlrpc zipapp
""".split()  # noqa: SIM905  # 60 lines of it
"""Of Python's library: what nothing here imports, at the top of a file or within."""
ENCODINGS = re.compile(
    r"encodings/(__init__|aliases|ascii|cp437|idna|latin_1|punycode|raw_unicode|unicode_esc|utf_.*)\.py"
)


def main() -> None:
    """Writes the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "web", help="the folder (default: build/web)")
    parser.add_argument("--endpoint", default=HUB, help="the Hub, or a mirror that answers other sites' pages (CORS)")
    parser.add_argument("--check", action="store_true", help="only say whether the folder is there and up to date")
    asked = parser.parse_args()
    state = {"sources": digest(), "pyodide": PYODIDE, "endpoint": asked.endpoint}
    stamp = asked.out / "built.json"
    if stamp.is_file() and json.loads(stamp.read_text("utf-8")) == state:
        print(f"{asked.out} is up to date")
        return
    if asked.check:
        sys.exit(f"{asked.out} is not there, or not up to date: make web-static")
    missing = [name for name in ("npm", "node") if shutil.which(name) is None]
    if missing:
        sys.exit(f"{' and '.join(missing)} missing: the page without a server needs Node.js 20 or newer (nodejs.org)")
    shutil.rmtree(asked.out, ignore_errors=True)
    asked.out.mkdir(parents=True)
    work = ROOT / "build" / "web-static"
    write_runtime(work, asked.out)
    write_page(asked.out, asked.endpoint)
    stamp.write_text(json.dumps(state), "utf-8")
    report(asked.out)


def digest() -> str:
    """Of all that the folder is made from in this repo: a change of it changes this."""
    found = hashlib.sha256()
    folders = (ROOT / "inspector", ROOT / "fixtures" / "snapshots", OWN)
    files = [each for folder in folders for each in folder.rglob("*") if each.is_file() and each.suffix != ".pyc"]
    for path in sorted([*files, Path(__file__).resolve(), HERE / "pack.py", ROOT / "pyproject.toml"]):
        found.update(f"{path.relative_to(ROOT).as_posix()}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def write_runtime(work: Path, out: Path) -> None:
    """Pyodide, Python's library and the packages, trimmed and compiled."""
    stage = work / "stage"
    shutil.rmtree(stage, ignore_errors=True)
    pyodide = unpacked_pyodide(work)
    with zipfile.ZipFile(pyodide / "python_stdlib.zip") as library:
        library.extractall(stage / "python_stdlib", [name for name in library.namelist() if is_needed(name)])
    for wheel in wheels(work):
        whole = HUGGINGFACE_HUB.fullmatch if wheel.name.startswith("huggingface_hub-") else lambda _name: True
        with zipfile.ZipFile(wheel) as packed:
            names = [name for name in packed.namelist() if whole(name) and not NOT_IN_PAGE.search(name)]
            packed.extractall(stage / "packages", names)
    check_imports(stage / "packages")
    licenses(stage / "packages", out / "LICENSES")
    run("node", OWN / "compile.mjs", pyodide, stage, out, "python_stdlib", "packages")
    (out / "pyodide").mkdir()
    (out / "python_stdlib.zip").rename(out / "pyodide" / "python_stdlib.zip")
    for name in ("pyodide.mjs", "pyodide.asm.mjs"):
        shutil.copy(pyodide / name, out / "pyodide" / name)
    lock = json.loads((pyodide / "pyodide-lock.json").read_bytes())
    (out / "pyodide" / "pyodide-lock.json").write_text(json.dumps(lock | {"packages": {}}), "utf-8")
    packed = gzip.compress((pyodide / "pyodide.asm.wasm").read_bytes(), 9, mtime=0)
    (out / "pyodide" / "pyodide.asm.wasm.packed").write_bytes(packed)


def is_needed(name: str) -> bool:
    """Whether a file of Python's library is one that the page may come to import."""
    first = name.partition("/")[0].partition(".")[0]
    return first not in NOT_NEEDED and (first != "encodings" or ENCODINGS.fullmatch(name) is not None)


def check_imports(packages: Path) -> None:
    """Ends it where a module imports, at the top or within a function, what is left out of Python's library."""
    for path in sorted(packages.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            for name in {name.partition(".")[0] for name in names} & set(NOT_NEEDED):
                sys.exit(f"{path.relative_to(packages)} imports {name}: take it out of NOT_NEEDED")


def unpacked_pyodide(work: Path) -> Path:
    """Pyodide's own files, from npm."""
    home = work / f"pyodide-{PYODIDE}"
    if not home.is_dir():
        work.mkdir(parents=True, exist_ok=True)
        run("npm", "pack", "--silent", "--pack-destination", work, f"pyodide@{PYODIDE}")
        with tarfile.open(work / f"pyodide-{PYODIDE}.tgz") as packed:
            packed.extractall(work / "unpacked", filter="data")
        (work / "unpacked" / "package").rename(home)
    return home


def wheels(work: Path) -> Iterable[Path]:
    """This package's wheel as a user gets it, and those of what it needs to ask the Hub."""
    own, needed = work / "wheel", work / "needed"
    shutil.rmtree(own, ignore_errors=True)
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", own, ROOT)
    run(
        *pip, "download", "--no-deps", "--only-binary", ":all:", "--python-version", "3.14", "--platform", "any",
        "--dest", needed, "--requirement", OWN / "requirements.txt",
    )  # fmt: skip
    return [*own.glob("*.whl"), *needed.glob("*.whl")]


def licenses(packages: Path, out: Path) -> None:
    """Moves the texts of the packages' licences beside the page, and adds what Pyodide and Python say of theirs."""
    out.mkdir()
    for home in packages.glob("*.dist-info/licenses"):
        for path in sorted(each for each in home.rglob("*") if each.is_file()):
            path.rename(out / f"{home.parent.name.removesuffix('.dist-info')}-{path.name}")
    (out / f"pyodide-{PYODIDE}.txt").write_text(
        f"Pyodide {PYODIDE}: MPL-2.0, https://github.com/pyodide/pyodide\n"
        "The Python interpreter and library in it: PSF-2.0, https://docs.python.org/3/license.html\n"
        "Unchanged but for modules that the page does not import, which were left out, and the rest compiled.\n",
        "utf-8",
    )


def write_page(out: Path, endpoint: str) -> None:
    """The page's own files, with a worker in the place of the server."""
    for path in (path for folder in PAGE for path in folder.iterdir() if path.suffix in PAGE_KINDS):
        shutil.copy(path, out / path.name)
    worker = (OWN / "worker.js").read_text("utf-8")
    (out / "worker.js").write_text(worker.replace('"HUB"', json.dumps(endpoint)), "utf-8")
    shutil.copy(OWN / "transport.js", out / "transport.js")
    policy = POLICY.format(hub=f"{HUB} {HUB_FILES}" if endpoint == HUB else endpoint)
    index = (out / "index.html").read_text("utf-8")
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    (out / "index.html").write_text(
        index.replace('<meta charset="utf-8">', f'<meta charset="utf-8">\n{meta}', 1), "utf-8"
    )
    readme = (OWN / "README.md").read_text("utf-8")
    own = (ROOT / "inspector" / "version.py").read_text("utf-8").split('"')[-2]
    (out / "README.md").write_text(readme.replace("{version}", own).replace("{pyodide}", PYODIDE), "utf-8")


def report(out: Path) -> None:
    """What a visitor downloads."""
    sizes = {path.relative_to(out).as_posix(): path.stat().st_size for path in out.rglob("*") if path.is_file()}
    loaded = {name: size for name, size in sizes.items() if not name.startswith("LICENSES") and name != "README.md"}
    for name, size in sorted(loaded.items(), key=lambda item: -item[1])[:6]:
        print(f"{size:>10,}  {name}")
    print(f"{sum(loaded.values()):>10,}  bytes to download, of a host that packs nothing")
    print(f"python -m http.server --directory {out}")


def run(*command: object) -> None:
    """Runs a program; its own words say what failed."""
    done = subprocess.run([str(each) for each in command], check=False)
    if done.returncode:
        sys.exit(f"{command[0]} failed: the page without a server was not written")


if __name__ == "__main__":
    main()
