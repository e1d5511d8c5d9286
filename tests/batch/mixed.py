"""A list of models of every sort on a loopback Hub, and what each is to come to."""

from __future__ import annotations

from tests.conftest import repo_files
from tests.hub_server import Content, Fault, LoopbackHub

GPT2 = "openai-community/gpt2"
PARAMETERS = 124_439_808
"""Of gpt2: 50,257 x 768 + 1,024 x 768 + 12 x 7,087,872 + 1,536."""

MIXED = {
    "org/good1": "ok",
    "org/hangs": "hub_unreachable",
    "org/gated": "gated_repo",
    "org/missing": "repo_not_found",
    "org/broken": "invalid_header",
    "org/listconfig": "invalid_config",
    "org/good2@nope": "revision_not_found",
    "org/limited": "ok",
    "org/resets": "ok",
    "org/down": "hub_error",
    "org/good2": "ok",
}


def small_files() -> dict[str, Content]:
    """gpt2's config and header; its weights are made up as they are sent."""
    return repo_files(GPT2)


def add_mixed(hub: LoopbackHub) -> None:
    files = small_files()
    for name in ("good1", "good2", "hangs", "limited", "resets", "down"):
        hub.add_repo(f"org/{name}", files)
    hub.add_repo("org/gated", files, gated=True)
    hub.add_repo("org/broken", files | {"model.safetensors": b"\x40\0\0\0\0\0\0\0{"})
    hub.add_repo("org/listconfig", files | {"config.json": b"[1, 2]"})
    hub.faults += [
        Fault("hang", path="/org/hangs/", times=None),
        Fault("status", path="/org/limited/", status=429, headers={"Retry-After": "1"}, times=2),
        Fault("reset", path="/org/resets/", times=1),
        Fault("status", path="/org/down/", status=503, times=None),
    ]
