"""The commands of the other tools, pointed at the loopback Hub where they hard-code the real one's address.

Each is a piece of Python for `python -c`; REPO is put in as a string. The patches cost microseconds.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

OURS = "llm-inspect"

_HF_MEM = """
import os, sys, httpx2
build = httpx2.AsyncClient.build_request
def here(self, method, url, **options):
    return build(self, method, str(url).replace("https://huggingface.co", os.environ["HF_ENDPOINT"]), **options)
httpx2.AsyncClient.build_request = here
from hf_mem.cli import main
sys.argv = ["hf-mem", *ARGUMENTS]
sys.exit(main())
"""

_MODELINFO = """
import os, sys
import modelinfo.parsers.huggingface as hub
hub._get_hf_endpoint = lambda: os.environ["HF_ENDPOINT"]
from modelinfo.cli import main
sys.argv = ["modelinfo", *ARGUMENTS]
sys.exit(main())
"""

_ACCELERATE = """
import sys
from accelerate.commands.estimate import main
sys.argv = ["accelerate-estimate-memory", *ARGUMENTS]
sys.exit(main())
"""

REPORTS: dict[str, tuple[str, str]] = {
    "hf-mem": (_HF_MEM, "['--model-id', REPO, '--experimental']"),
    "modelinfo --tensors": (_MODELINFO, "[REPO, '--tensors']"),
    "hub: one answer": ("from huggingface_hub import get_sharded_safetensors_metadata as get; get(REPO)", ""),
    "hub: each shard": ("from huggingface_hub import get_safetensors_metadata as get; get(REPO)", ""),
    "accelerate": (_ACCELERATE, "[REPO, '--library_name', 'transformers']"),
}
"""Peer -> its program, and its arguments for a report. accelerate reads no header: it builds the model from config."""

PROGRAMS = {"hf-mem": _HF_MEM, "modelinfo": _MODELINFO, "accelerate": _ACCELERATE}
"""Tool -> its program, of which ARGUMENTS are put in as a list."""

ONE_ANSWER = "hub: one answer"
"""One request, no config, and nothing worked out: what a report is held against on its own."""
READ_HEADERS = ("hf-mem", "modelinfo --tensors", "hub: each shard")
"""The others that read every header."""

MODULES = {"hf-mem": "hf_mem", "modelinfo --tensors": "modelinfo", "accelerate": "accelerate.commands.estimate"}


def report(name: str, repo: str, python: str) -> list[str]:
    """The process that reports on one repo. `python` runs the peers."""
    if name == OURS:
        return [sys.executable, "-m", "inspector", repo]
    program, arguments = REPORTS[name]
    return [python, "-c", program.replace("ARGUMENTS", arguments).replace("REPO", repr(repo))]


def show(name: str, python: str, option: str) -> list[str] | None:
    """The process that prints its help or version; None for a library."""
    if name == OURS:
        return [sys.executable, "-m", "inspector", option]
    program, arguments = REPORTS[name]
    return [python, "-c", program.replace("ARGUMENTS", f"[{option!r}]")] if arguments else None


def many(name: str, repos: list[str], folder: Path, python: str) -> list[list[str]]:
    """The processes that report on a list: one with the list where the tool or library can, else one a model."""
    if name == OURS:
        listed = folder / "models.txt"
        listed.write_text("\n".join(repos))
        return [[sys.executable, "-m", "inspector", "batch", str(listed)]]
    program, arguments = REPORTS[name]
    if not arguments:
        return [[python, "-c", program.replace("get(REPO)", f"[get(repo) for repo in {repos!r}]")]]
    return [report(name, repo, python) for repo in repos]


def installed(python: str) -> list[str]:
    """The peers that an environment has; only huggingface_hub's readers where it is this one."""
    if not Path(python).exists():
        return []
    found = []
    for name in REPORTS:
        module = MODULES.get(name, "huggingface_hub")
        if subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False).returncode == 0:
            found.append(name)
    return found
