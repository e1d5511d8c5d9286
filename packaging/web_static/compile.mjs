// node compile.mjs PYODIDE STAGE OUT NAME...: each folder STAGE/NAME as OUT/NAME.zip, its modules compiled by Pyodide's own Python.

import { pathToFileURL } from "node:url";
import { resolve } from "node:path";

const [pyodide, stage, out, ...names] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(resolve(pyodide, "pyodide.mjs")));
const python = await loadPyodide({ indexURL: resolve(pyodide) });
for (const [at, folder] of [["/stage", stage], ["/out", out]]) {
  python.FS.mkdir(at);
  python.FS.mount(python.FS.filesystems.NODEFS, { root: resolve(folder) }, at);
}
python.globals.set("names", python.toPy(names));
python.runPython(`
import importlib.util
import zipfile
from importlib._bootstrap_external import _code_to_hash_pyc
from pathlib import Path

for name in names:
    home = Path("/stage", name)
    level = 2 if name == "python_stdlib" else 0  # without docstrings and assertions; ours assert for a reason
    with zipfile.ZipFile(f"/out/{name}.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for path in sorted(home.rglob("*")):
            inside, data = path.relative_to(home).as_posix(), path.read_bytes() if path.is_file() else None
            if data is not None and path.suffix == ".py":
                code = compile(data, inside, "exec", dont_inherit=True, optimize=level)
                inside, data = f"{inside}c", bytes(_code_to_hash_pyc(code, importlib.util.source_hash(data), False))
            if data is not None:
                entry = zipfile.ZipInfo(inside)  # without a date: the same files are the same bytes
                entry.compress_type = zipfile.ZIP_DEFLATED
                packed.writestr(entry, data)
`);
