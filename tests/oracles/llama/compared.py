"""What the product says of llama.cpp's caches, beside llama.cpp itself: every architecture that it names, to the byte.

    python -m tests.oracles.llama.compared PYTHON [NAMES]      # an interpreter that has real.py's wheels

For each architecture llama.cpp makes a model of small and unequal sizes (archs.py) and contexts for it (RUNS). A GGUF
file with the same metadata and with the tensors that llama.cpp asked for is then read by the product. What llama.cpp's
own graph ends the process at, after its caches were made, is compared by the sizes in its log, which are of 0.01 MiB.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import struct
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import inspector
from inspector.engines.llama_cpp.cache import LlamaCppSettings, cache_bytes
from inspector.engines.llama_cpp.support import kept_layers
from inspector.errors import InspectError
from tests.hub.formats.make_gguf import Header, Raw, array, text
from tests.oracles.llama.archs import ARCHITECTURES, RUNS, XIELU, Metadata, metadata, variants
from tests.oracles.llama.rules import BUILD, Asked
from tests.oracles.table import FOLDER, render

TYPES = {"f16": 1, "q8_0": 8, "q4_0": 2}
MIB = 1024**2
SIZE = re.compile(r"llama_\w+: size = +([\d.]+) MiB")


def raw(value: Any) -> Raw:
    """A value as the file has it."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, bool):
        return Raw(7, value)
    if isinstance(value, int):
        return Raw(4, value)
    if isinstance(value, float):
        return Raw(6, value)
    first = value[0] if value else 0
    kind = 8 if isinstance(first, str) else 7 if isinstance(first, bool) else 6 if isinstance(first, float) else 4
    return array(kind, value)


def written(path: Path, values: Metadata, tensors: dict[str, list[int]]) -> None:
    """A file of these, with nothing in its tensors."""
    placed, offset = [], 0
    for name, shape in tensors.items():
        size = 4
        for width in shape:
            size *= width
        placed.append((name, shape, 0, offset))
        offset += -(-size // 32) * 32
    header = Header([(key, raw(value)) for key, value in values.items()], placed).bytes()
    with path.open("wb") as file:
        file.write(header)
        file.truncate(-(-len(header) // 32) * 32 + offset)


def settings_of(run: dict[str, Any]) -> LlamaCppSettings:
    """llama.cpp's parameters under the product's names."""
    names = {number: name for name, number in TYPES.items()}
    count = run.get("n_seq_max", 1)
    return LlamaCppSettings(
        n_ctx=run["n_ctx"],
        n_ubatch=run["n_ubatch"],
        n_parallel=count,
        kv_unified=run.get("kv_unified", count == 1),
        swa_full=run["swa_full"],
        cache_type_k=names[run.get("type_k", 1)],
        cache_type_v=names[run.get("type_v", 1)],
    )


def told(path: Path, run: dict[str, Any]) -> int | str:
    """The product's bytes for the file; a sentence where it does not tell."""
    try:
        model = inspector.load(str(path)).model
        size = cache_bytes(model.architecture.layers, settings_of(run))
        return size if size is not None else "no rule for a layer"
    except InspectError as error:
        return error.message


class Made(NamedTuple):
    """A model that llama.cpp makes a context for: which of `variants`, and each run's bytes or its log's lines."""

    variant: int
    mixture: bool
    values: Metadata
    sizes: list[Any]


def tried(ask: Asked, arch: str) -> Made | str:
    """The first variant that llama.cpp makes a context for; else its complaint."""
    said, logged = "", None
    for number, sizes in enumerate(variants()):
        for mixture in (False, True):
            values = metadata(arch, sizes, mixture=mixture)
            first = ask(values, RUNS[0])
            if "runs" in first:
                runs = [first, *(ask(values, run) for run in RUNS[1:])]
                found = [one["runs"][0]["context"] if "runs" in one else one.get("sizes") for one in runs]
                return Made(number, mixture, values, found)
            said = first["error"]
            if first.get("sizes") and logged is None:
                logged = Made(number, mixture, values, [first["sizes"]] + [None] * (len(RUNS) - 1))
    return logged or said


def compared(ask: Asked, names: list[str], record: dict[str, Any]) -> dict[str, Any]:
    """Counts, and what differs by name."""
    found: dict[str, Any] = {
        "architectures": len(names),
        "loaded": 0,
        "equal": 0,
        "runs": 0,
        "runs_equal": 0,
        "by_log": 0,
    }
    differs: dict[str, str] = {}
    unloaded: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, arch in enumerate(names):
            made = tried(ask, arch)
            if isinstance(made, str):
                unloaded[arch] = made[:160]
                continue
            values, sizes = made.values, made.sizes
            whole = [size if isinstance(size, int) else None for size in sizes]
            record[arch] = [made.variant, made.mixture, whole]
            path = Path(folder) / f"{number}.gguf"
            listed = ask(values, tensors=True)
            written(path, values, listed.get("tensors", {}))
            found["loaded"] += 1
            wrong = []
            for run, size in zip(RUNS, sizes, strict=True):
                if size is None:
                    continue
                answer = told(path, run)
                found["runs"] += 1
                if isinstance(size, list):  # the log's lines, each rounded to 0.01 MiB
                    found["by_log"] += 1
                    logged = sum(float(SIZE.findall(line)[0]) for line in size) * MIB
                    right = isinstance(answer, int) and abs(answer - logged) <= 0.005 * MIB * len(size) + 1
                    shown = round(logged)
                else:
                    right, shown = answer == size, size
                found["runs_equal"] += right
                if not right:
                    wrong.append(f"{run}: {answer} told, {shown:,} by llama.cpp")
            found["equal"] += not wrong
            if wrong:
                differs[arch] = wrong[0]
                print(
                    arch,
                    json.dumps({k: v for k, v in values.items() if "window" in k or "head" in k or "length" in k}),
                    *wrong,
                    sep="\n   ",
                    flush=True,
                )
    return {**found, "bytes_differ": differs, "not_loaded": unloaded}


FILLED = {
    "context_length": 8192,
    "rope.dimension_sections": [16, 24, 24, 0],
    "rope.freq_base": 10000.0,
    "rope.freq_base_swa": 10000.0,
    "expert_used_count": 2,
    "expert_shared_count": 1,
    "expert_gating_func": 2,
}
"""What a default config leaves out and files have: none of it is a cache's size."""

CONVERTED_RUN: dict[str, Any] = {"n_ctx": 4096, "n_ubatch": 512, "swa_full": False}


def told_of_config(config: dict[str, Any], folder: Path) -> int | str:
    """The product's bytes for a repo of safetensors with this config, beside one stand-in tensor."""
    header = json.dumps({"x": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    folder.mkdir()
    folder.joinpath("config.json").write_text(json.dumps(config), "utf-8")
    folder.joinpath("model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0\0")
    try:
        shape = inspector.load(str(folder)).model.architecture
        if not shape.layers:
            return "no layers are told"
        size = cache_bytes(kept_layers(shape), settings_of(CONVERTED_RUN))
        return size if size is not None else "no rule for a layer"
    except InspectError as error:
        return error.message


def compared_conversions(ask: Asked, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The same for transformers' own configs, as llama.cpp's converter writes them."""
    found: dict[str, Any] = {"classes": len(lines), "converted": 0, "equal": 0}
    differs, failed = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for line in lines:
            name = line["class"]
            answer = {"error": line.get("error", "")}
            if "metadata" in line:
                values = line["metadata"]
                filled = {f"{values['general.architecture']}.{key}": value for key, value in FILLED.items()}
                if not values.get(f"{values['general.architecture']}.expert_count"):
                    filled = {key: value for key, value in filled.items() if ".expert" not in key}
                answer = ask({**XIELU, **filled, **values}, CONVERTED_RUN)
            if "runs" not in answer and not answer.get("sizes"):
                failed[name] = answer["error"][:120]
                continue
            found["converted"] += 1
            mine = told_of_config(line["config"], Path(folder) / name)
            if "runs" in answer:
                real = answer["runs"][0]["context"]
            else:
                real = round(sum(float(SIZE.findall(size)[0]) for size in answer["sizes"]) * MIB)
            right = mine == real or ("runs" not in answer and isinstance(mine, int) and abs(mine - real) < 0.02 * MIB)
            found["equal"] += right
            if not right:
                differs[name] = f"{mine} told, {real:,} by llama.cpp ({line['metadata']['general.architecture']})"
                print(name, differs[name], flush=True)
    return {**found, "bytes_differ": differs, "not_converted": failed}


def keep(name: str, found: dict[str, Any]) -> None:
    """Stores findings and renders docs/oracles.md."""
    import transformers

    head = {"command": "make oracle-llama", "transformers": f"{transformers.__version__}, llama.cpp build {BUILD}"}
    head["date"] = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    FOLDER.joinpath(f"{name}.json").write_text(json.dumps({**head, **found}, indent=1) + "\n", "utf-8")
    render()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("python", help="an interpreter that has real.py's wheels")
    parser.add_argument("names", nargs="*", default=ARCHITECTURES)
    parser.add_argument("--write", action="store_true", help="store the findings and render docs/oracles.md")
    parser.add_argument("--record", type=Path, help="keep what llama.cpp allocated, for a test without it")
    parser.add_argument("--converted", type=Path, help="lines of converted.py: compare these configs instead")
    given = parser.parse_args()
    if given.converted:
        lines = [json.loads(line) for line in given.converted.read_text("utf-8").splitlines()]
        lines = [line for line in lines if given.names == ARCHITECTURES or line["class"] in given.names]
        found = compared_conversions(Asked(given.python), lines)
        print(json.dumps(found, indent=1))
        if given.write:
            keep("llama_cpp_conversions", found)
        return
    record: dict[str, Any] = {}
    found = compared(Asked(given.python), list(given.names), record)
    print(json.dumps(found, indent=1))
    if given.write:
        keep("llama_cpp", found)
    if given.record:
        old = json.loads(given.record.read_text("utf-8"))["architectures"] if given.record.exists() else {}
        rows = [f"{json.dumps(name)}: {json.dumps(row)}" for name, row in sorted((old | record).items())]
        about = json.dumps({"made_by": "python -m tests.oracles.llama.compared --record", "build": BUILD})
        text_of = ",\n".join(rows)
        given.record.write_text(f'{{"about": {about},\n"architectures": {{\n{text_of}\n}}}}\n', "utf-8")


if __name__ == "__main__":
    main()
