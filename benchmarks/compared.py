"""Other tools' answers beside the right ones, on models that show a kind each: `make compared` writes docs/compared.md.

Every tool is the released package, run as its users run it, against a loopback Hub that serves each model's config.json
and headers; those that hard-code the Hub's address are pointed there (benchmarks/peers.py). What is right comes from
transformers' own classes (benchmarks/class_truth.py), the files' bytes, measured training steps (tests/memory/data) or
llama.cpp's reports (tests/cases): never from llm-inspect.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.peers import PROGRAMS
from inspector.version import __version__
from tests.case_files import lay_out
from tests.conftest import command_environment, repo_files
from tests.hub_server import LoopbackHub, sparse

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "compared.md"
CASES = ROOT / "tests" / "cases"
TRAINING = ROOT / "tests" / "memory" / "data" / "training_peaks.json"
GIB = 1024**3
TOKENS = 8192
QUESTIONS = {
    "parameters": "Parameters, billions",
    "weights": "Weights as stored, GiB",
    "kv_cache": "KV cache of one sequence, GiB",
    "training": "One training step, peak in GiB (bf16, AdamW, batch 1, 2,048 tokens)",
}
SECONDS = 600


class Shown(NamedTuple):
    """A model that shows a kind.

    Attributes:
        kind: what it shows.
        files: of its repo; a name of a snapshot or of a case.
        tokens: of the context.
        right: of GGUF, whose classes are llama.cpp's: question -> the right answer.
    """

    kind: str
    files: str
    tokens: int = TOKENS
    right: Mapping[str, int] = {}


MODELS = {
    "Qwen/Qwen2.5-7B": Shown("grouped query attention", "snapshot"),
    "Qwen/Qwen3-0.6B": Shown("a head dimension of its own", "snapshot"),
    "google/gemma-3-4b-it": Shown("sliding windows, vision encoder", "snapshot"),
    "deepseek-ai/DeepSeek-V3": Shown("latents (MLA), fp8, experts", "snapshot"),
    "Qwen/Qwen3-Next-80B-A3B-Instruct": Shown("linear attention in 3 of 4 layers", "snapshot"),
    "openai/gpt-oss-20b": Shown("windows, packed MXFP4 experts", "snapshot"),
    "RedHatAI/Llama-3.1-8B-w4a16": Shown("4 bits in int32 (compressed-tensors)", "ct_w4a16_llama_8b"),
    "LiquidAI/LFM2-1.2B-GGUF": Shown("GGUF, heads per layer", "gguf_lfm2_1_2b", 32768, {"kv_cache": 402_817_024}),
    "openai/gpt-oss-20b-GGUF": Shown("GGUF, windows", "gguf_gpt_oss_20b", 131_072, {"kv_cache": 3_240_099_840}),
}
"""The GGUF rows' answers: llama.cpp's cells (16-bit, windows padded) and states, as tests/cases names their sources."""
TRAINED = {"llama-3.2-1b": "Llama-3.2-1B", "gemma-2b": "Gemma-2B, 3 of its layers (a vocabulary of 256,000)"}
"""Models of tests/memory/data/training_peaks.json, each with the words for it."""


class Kept:
    """Answers of runs before: one that was stopped goes on where it was. `make compared ARGS=--afresh` asks again.

    Args:
        path: of the file; it is no part of the repo.
    """

    def __init__(self, path: Path, *, afresh: bool = False) -> None:
        self._path = path
        self._known: dict[str, Any] = {} if afresh or not path.exists() else json.loads(path.read_text())

    def of(self, key: str, ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The answer to a question, which is asked once."""
        if key not in self._known:
            self._known[key] = ask()
            self._path.write_text(json.dumps(self._known, indent=1))
        return dict(self._known[key])


class Place(NamedTuple):
    """Where a tool runs: the peers' Python, the environment's variables, node's packages; what earlier runs said."""

    python: str
    variables: dict[str, str]
    node: Path | None
    kept: Kept


Answers = dict[str, int]


def ran(command: list[str], place: Place, good: tuple[int, ...] = (0,)) -> str:
    """What it printed.

    Args:
        good: exit codes of an answer.

    Raises:
        RuntimeError: it failed; what it said.
    """
    done = subprocess.run(
        command, env=place.variables, capture_output=True, text=True, timeout=SECONDS, check=False, errors="replace"
    )
    if done.returncode not in good or not done.stdout.strip():
        raise RuntimeError(reason(done.stdout + "\n" + done.stderr) or f"exit code {done.returncode}")
    return done.stdout


def reason(text: str) -> str:
    """The last line that names an error, else the last one."""
    said = [line.strip("│╭╰| \t") for line in text.splitlines() if line.strip()]
    return next(
        (line for line in reversed(said) if re.search("(?i)error[:!]|cannot|not found|does not", line)),
        said[-1] if said else "",
    )


def found(pattern: str, text: str) -> str | None:
    match = re.search(pattern, text)
    return match[1].replace(",", "") if match else None


def sized(number: str | None, unit: str = "GB") -> int | None:
    scale = {"KB": 1024, "MB": 1024**2, "GB": GIB, "TB": 1024 * GIB}[unit]
    return None if number is None else round(float(number) * scale)


def known(**answers: int | None) -> Answers:
    return {name: value for name, value in answers.items() if value is not None}


def llm_inspect(repo: str, shown: Shown, place: Place) -> Answers:
    more = ["--engine", "llama.cpp", "--gpu", "H200"] if shown.right else []
    command = [sys.executable, "-m", "inspector", repo, "--json", "--context", str(shown.tokens), *more]
    record = json.loads(ran(command, place))
    if "error" in record:
        raise RuntimeError(record["error"]["message"].splitlines()[0])
    cache = record["memory"]["inference"]["kv_cache"]
    return known(
        parameters=record["parameters"]["total"],
        weights=record["checkpoint"]["tensor_bytes"],
        kv_cache=record["serving"]["request_bytes"] if shown.right else cache,
    )


def python_tool(name: str, arguments: list[str], place: Place) -> str:
    return ran([place.python, "-c", PROGRAMS[name].replace("ARGUMENTS", repr(arguments))], place)


def hf_mem(repo: str, shown: Shown, place: Place) -> Answers:
    arguments = [
        "--model-id",
        repo,
        "--experimental",
        "--max-model-len",
        str(shown.tokens),
        "--json-output",
        "--details",
    ]
    record = json.loads(python_tool("hf-mem", arguments, place))
    memory, cache = record.get("memory") or {}, record.get("kv_cache") or {}
    if shown.right:  # by file
        memory, cache = (next(iter(each.values()), {}) for each in (memory, cache))
    counts = [each.get("param_count") for each in memory.get("components", {}).values()]
    return known(
        parameters=sum(counts) if counts and None not in counts else None,
        weights=memory.get("bytes"),
        kv_cache=cache.get("bytes"),
    )


def modelinfo(repo: str, shown: Shown, place: Place) -> Answers:
    text = python_tool("modelinfo", [repo, "--tensors", "--context", str(shown.tokens)], place)
    weights = re.search(r"Weights:\s+([\d.,]+) ([KMGT]B)", text)
    cache = re.search(r"KV Cache:\s+([\d.,]+) ([KMGT]B)", text)
    parameters = found(r"Parameters:\s+([\d,]+) ", text)
    if parameters is None:
        raise RuntimeError(reason(text))
    return known(
        parameters=int(parameters),
        weights=sized(*weights.groups()) if weights else None,
        kv_cache=sized(*cache.groups()) if cache else None,
    )


def hf_vram_calc(repo: str, shown: Shown, place: Place) -> Answers:
    tool = str(Path(place.python).with_name("hf-vram-calc"))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        text = ran([tool, "--model", repo, "--max_seq_len", str(shown.tokens), "--output_json", str(out)], place)
        if not out.exists():
            raise RuntimeError(reason(text))
        record = json.loads(out.read_text())
    first = record["memory_requirements"][0]
    return known(
        parameters=record["model"]["parameters"],
        weights=sized(str(first["model_size_gib"])),
        kv_cache=sized(str(first["kv_cache_size_gib"])),
        training=sized(str(first["training_gib"])),
    )


def accelerate(repo: str, shown: Shown, place: Place) -> Answers:
    del shown
    arguments = [repo, "--library_name", "transformers", "--dtypes", "float16"]
    text = python_tool("accelerate", arguments, place)
    row = re.search(r"float16\W+([\d.]+) ([KMGT]B)\W+([\d.]+) ([KMGT]B)\W+([\d.]+) ([KMGT]B)", text)
    if row is None:
        raise RuntimeError(reason(text))
    return known(weights=sized(row[3], row[4]), training=sized(row[5], row[6]))


def llmfit(repo: str, shown: Shown, place: Place) -> Answers:
    tool = str(Path(place.python).with_name("llmfit"))
    command = [tool, "--json", "--memory", "80G", "--max-context", str(shown.tokens), "info", repo]
    done = subprocess.run(command, env=place.variables, capture_output=True, text=True, check=False)
    models = json.loads(done.stdout).get("models", []) if done.returncode == 0 else []  # 1: it has no such model
    own = [each for each in models if each["name"] == repo]
    if not own:
        raise RuntimeError("not in its catalogue")
    return known(parameters=round(own[0]["params_b"] * 1e9))


def fitllm(repo: str, shown: Shown, place: Place) -> Answers:
    if place.node is None:
        raise FileNotFoundError
    here = place.node / "here.mjs"
    here.write_text(
        "const get = globalThis.fetch; globalThis.fetch = (url, more) =>"
        " get(String(url.url || url).replace('https://huggingface.co', process.env.HF_ENDPOINT), more);\n"
    )
    tool = str(place.node / "node_modules" / ".bin" / "fitllm")
    asked = ["--gpu", "RTX 4090", "--ctx", str(shown.tokens), "--quant", "FP16", "--json", "--why"]
    text = ran(["node", "--import", str(here), tool, repo, *asked], place, good=(0, 1))
    basis = json.loads(text)["basis"]
    memory = basis["memoryGiB"]
    return known(
        parameters=round(basis["model"]["totalParamsB"] * 1e9),
        weights=sized(str(memory["weights"])),
        kv_cache=sized(str(memory["kvCache"] + memory["linearState"])),
    )


TOOLS: dict[str, Callable[[str, Shown, Place], Answers]] = {
    "llm-inspect": llm_inspect,
    "hf-mem": hf_mem,
    "modelinfo": modelinfo,
    "hf-vram-calc": hf_vram_calc,
    "accelerate": accelerate,
    "fitllm": fitllm,
    "llmfit": llmfit,
}
PACKAGES = {"modelinfo": "modelinfo-cli"}
REMARKS = (
    "modelinfo, hf-vram-calc and accelerate round what they print. hf-vram-calc, accelerate and fitllm size weights at"
    " a precision that is asked for (16 bits here, or what hf-vram-calc recommends), not as stored. The training"
    " columns of accelerate and hf-vram-calc follow from the parameters alone, whatever the length. llmfit answers from"
    " a catalogue of its own. DeepSeek-V3's repo has code of its own, which this Hub does not serve and hf-vram-calc"
    " asks for. Each does something well that is not in these tables: hf-mem and modelinfo are small, llmfit ranks"
    " models for a machine, fitllm is a page, too, and accelerate comes with what most have installed."
)
NOT_RUN = (
    "gguf-parser-go (a Go module; none could be had where this page was made), whichllm 0.5.21 (does not start with the"
    " typer that it asks for), llm-analysis 0.2.2 (needs an older huggingface_hub), gpu_poor and Can-it-run-LLM (web"
    " pages), DeepSpeed's and Megatron-LM's estimators (need the model, or Megatron's arguments)"
)


def repo_of(name: str, shown: Shown, folder: Path) -> dict[str, Any]:
    """The files of its repo."""
    if shown.files == "snapshot":
        return {**repo_files(name, 2)}
    lay_out(json.loads((CASES / f"{shown.files}.json").read_text())["files"], folder)
    return {path.name: path for path in folder.iterdir()}


def tensor_bytes(files: Mapping[str, Any], name: str, shown: Shown) -> int | None:
    """Bytes of the stored tensors: the safetensors files less their headers."""
    if shown.files == "snapshot":
        from tests.conftest import SNAPSHOTS, loads

        snapshot = loads((SNAPSHOTS / f"{name.replace('/', '--')}.json").read_bytes())
        return sum(tensor.nbytes for tensor in snapshot.tensors)
    sizes = [path for path in files.values() if path.suffix == ".safetensors"]
    heads = [8 + int.from_bytes(path.open("rb").read(8), "little") for path in sizes]
    return sum(path.stat().st_size for path in sizes) - sum(heads) if sizes else None


def class_truth(config: Mapping[str, Any], tokens: int, place: Place) -> dict[str, Any]:
    """What transformers' class holds and caches; without the recipe of a packed checkpoint, which changes neither."""
    with tempfile.TemporaryDirectory() as folder:
        plain = {key: value for key, value in config.items() if key != "quantization_config"}
        (Path(folder) / "config.json").write_text(json.dumps(plain))
        command = [place.python, str(ROOT / "benchmarks" / "class_truth.py"), folder, str(tokens)]
        return dict(json.loads(ran(command, place).splitlines()[-1]))


def right_of(name: str, shown: Shown, files: Mapping[str, Any], place: Place) -> Answers:
    if shown.right:
        return dict(shown.right)
    config = files["config.json"]
    config = json.loads(config.read_text()) if isinstance(config, Path) else config
    told = place.kept.of(f"class {name} {shown.tokens}", lambda: class_truth(config, shown.tokens, place))
    stored = tensor_bytes(files, name, shown)
    return known(parameters=told["parameters"], kv_cache=told.get("kv_cache"), weights=stored)


def named(rows: list[list[Any]]) -> Iterator[tuple[str, str, list[int]]]:
    """Tensors by their names: ["model.layers.{}.norm.weight", "BF16", [8], "0-2"] is those of three layers."""
    for template, dtype, shape, *layers in rows:
        if not layers:
            yield template, dtype, shape
        for part in (part for text in layers for part in text.split(",")):
            first, _, last = part.partition("-")
            yield from (
                (template.replace("{}", str(at)), dtype, shape) for at in range(int(first), int(last or first) + 1)
            )


def trained(name: str, hub: LoopbackHub) -> tuple[str, int]:
    """A repo of a measured model, and the peak that was measured."""
    data = json.loads(TRAINING.read_text())
    model = next(each for each in data["models"] if each["name"] == name)
    case = next(each for each in model["cases"] if set(each) == {"context", "measured"} and each["context"] == 2048)
    tensors = {key: (dtype, shape) for key, dtype, shape in named(model["tensors"])}
    repo = f"measured/{name}"
    config = {**model["config"], "dtype": "bfloat16"}
    hub.add_repo(repo, {"config.json": config, "model.safetensors": sparse(tensors, {"format": "pt"})})
    return repo, dict(zip(data["measured"], case["measured"], strict=True))["peak"]


def own_training(repo: str, place: Place) -> Answers:
    command = [sys.executable, "-m", "inspector", "train", repo, "--json", "--context", "2048"]
    return known(training=json.loads(ran(command, place))["training"]["peak"])


def asked(tool: str, repo: str, shown: Shown, place: Place, notes: dict[str, list[str]]) -> Answers:
    """A tool's answers; why there are none goes to the notes."""

    def ask() -> dict[str, Any]:
        try:
            return TOOLS[tool](repo, shown, place)
        except FileNotFoundError:
            return {"why": "not installed here"}
        except (RuntimeError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
            return {"why": str(error) or type(error).__name__}

    found = ask() if tool == "llm-inspect" else place.kept.of(f"{tool} {repo} {shown.tokens}", ask)
    if why := found.pop("why", ""):
        text = re.sub(r"http://(127|localhost)\S+", "the Hub", why)[:140].replace(repo, "MODEL")
        notes.setdefault(f"{tool}: {text}", []).append(repo)
    return found


def cell(question: str, value: int | None, right: int) -> str:
    """A value with how far it is off, bold where it is right within half a per cent."""
    if value is None:
        return "-"
    text = shown_as(question, value)
    off = value / right - 1
    if abs(off) < 0.005:
        return f"**{text}**"
    return f"{text} ({off:+.0%})" if off < 2 else f"{text} ({value / right:.1f} times)"


def shown_as(question: str, value: int) -> str:
    return f"{value / 1e9:,.3f}" if question == "parameters" else f"{value / GIB:,.3f}"


def versions(place: Place) -> list[str]:
    code = "import importlib.metadata as m, sys; print(m.version(sys.argv[1]))"
    told = [f"llm-inspect {__version__}"]
    for tool in TOOLS:
        if tool in ("llm-inspect", "fitllm"):
            continue
        done = subprocess.run(
            [place.python, "-c", code, PACKAGES.get(tool, tool)], capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            told.append(f"{PACKAGES.get(tool, tool)} {done.stdout.strip()}")
    if place.node is not None:
        told.append(
            f"fitllm {json.loads((place.node / 'node_modules/fitllm/package.json').read_text())['version']} (npm)"
        )
    return told


def page(
    rows: Mapping[str, list[tuple[str, str, int, dict[str, Answers]]]], notes: Mapping[str, list[str]], told: list[str]
) -> str:
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    lines = [
        "# Compared with other tools",
        "",
        "<!-- make compared writes this page -->",
        "",
        f"Made on {date.today().isoformat()} by `make compared` ({machine}): {', '.join(told)}.",
        "",
        "Each tool is the released package, run as its users run it on a Hub of this machine that serves every model's"
        " config.json and headers. What is right comes from transformers' own classes (their parameters, and what their"
        " caches hold after a prompt and a step), the files' bytes, measured training steps, or llama.cpp: never from"
        " llm-inspect. **Bold**: right within half a per cent; in brackets, how far off; `-`: the tool does not tell.",
        "",
    ]
    for question, heading in QUESTIONS.items():
        lines += [f"## {heading}", "", "| model | it shows | right | " + " | ".join(TOOLS) + " |"]
        lines += ["|---|---|---|" + "---|" * len(TOOLS)]
        for name, kind, right, answers in rows.get(question, []):
            cells = [cell(question, answers.get(tool, {}).get(question), right) for tool in TOOLS]
            lines.append(f"| {name} | {kind} | {shown_as(question, right)} | " + " | ".join(cells) + " |")
        lines.append("")
    lines += ["## What they said where they had no answer", ""]
    lines += [f"- {why} ({', '.join(dict.fromkeys(names))})" for why, names in notes.items()]
    lines += [
        "",
        REMARKS,
        "",
        f"Not run: {NOT_RUN}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", default=str(ROOT / ".venv/peers/bin/python"), help="the Python that has the peers")
    parser.add_argument(
        "--node", type=lambda text: Path(text).resolve(), help="the folder whose node_modules has fitllm"
    )
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=MODELS, metavar="MODEL")
    parser.add_argument("--afresh", action="store_true", help="ask every tool again")
    parser.add_argument("--write", action="store_true", help="write docs/compared.md; else it is printed")
    options = parser.parse_args()
    rows: dict[str, list[tuple[str, str, int, dict[str, Answers]]]] = {}
    notes: dict[str, list[str]] = {}
    with LoopbackHub() as hub, tempfile.TemporaryDirectory() as home:
        variables = command_environment(Path(home), hub.url) | {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "COLUMNS": "200"}
        kept = Kept(ROOT / ".venv" / "compared.json", afresh=options.afresh)
        place = Place(options.peers, variables, options.node, kept)
        for at, name in enumerate(options.models):
            shown = MODELS[name]
            folder = Path(home) / f"files-{at}"
            folder.mkdir()
            files = repo_of(name, shown, folder)
            hub.add_repo(name, files)
            right = right_of(name, shown, files, place)
            answers = {tool: asked(tool, name, shown, place, notes) for tool in TOOLS}
            for question, value in right.items():
                tokens = "" if question != "kv_cache" else f", {shown.tokens:,} tokens"
                rows.setdefault(question, []).append((name, shown.kind + tokens, value, answers))
            print(name, right, answers, file=sys.stderr, flush=True)
        for name, words in TRAINED.items():
            repo, peak = trained(name, hub)
            shown = Shown("", "", 2048)
            answers = {tool: asked(tool, repo, shown, place, notes) for tool in ("hf-vram-calc", "accelerate")}
            answers["llm-inspect"] = own_training(repo, place)
            rows.setdefault("training", []).append((words, "measured under fake tensors", peak, answers))
            print(name, peak, answers, file=sys.stderr, flush=True)
        text = page(rows, notes, versions(place))
    if options.write:
        PAGE.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
