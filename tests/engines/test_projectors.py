"""`fit --mmproj`: an encoder's own GGUF file beside the model, under llama.cpp."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import inspector
from inspector.api.drafts import inspect_beside
from tests.case_files import lay_out
from tests.conftest import LoopbackHub, Run, repo_files
from tests.hub_server import Content

GEMMA = "google/gemma-3-12b-pt"
ENCODER: dict[str, Any] = {
    "gguf": {"general.architecture": "clip", "clip.has_vision_encoder": True},
    "tensors": {
        "F16": {"v.blk.{0-26}.attn_{q,k,v,out}.weight": [1152, 1152], "mm.input_projection.weight": [3840, 1152]},
        "F32": {"v.blk.{0-26}.ln1.weight": [1152]},
    },
}
BYTES = 27 * 4 * 1152 * 1152 * 2 + 3840 * 1152 * 2 + 27 * 1152 * 4


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    lay_out({"mmproj-F16.gguf": ENCODER}, tmp_path)
    return tmp_path / "mmproj-F16.gguf"


def test_its_tensors_are_a_part_of_the_account(run: Run, encoder: Path) -> None:
    asked = ("fit", GEMMA, "--gpu", "RTX 4090", "--engine", "llama.cpp", "--dtype", "Q4_K_M", "--offline", "--json")
    alone, beside = run(*asked).record, run(*asked, "--mmproj", str(encoder), "--explain").record
    without, found = alone["serving"], beside["serving"]
    assert found["per_gpu"]["projector"] == BYTES
    assert found["per_gpu"]["total"] - without["per_gpu"]["total"] == BYTES
    assert beside["fit"][0]["needed"] - alone["fit"][0]["needed"] == BYTES
    said = "the encoder for images or sound is a file of its own (mmproj) and is not counted"
    assert said in without["notes"]
    assert said not in found["notes"]
    assert any("encoded in is not counted" in note for note in found["notes"])


def test_the_command_names_a_local_file_and_one_of_the_hub(run: Run, loopback_hub: LoopbackHub, encoder: Path) -> None:
    asked = ("fit", GEMMA, "--gpu", "RTX 4090", "--dtype", "Q4_K_M", "--emit", "llama-server", "--mmproj")
    assert run(*asked, str(encoder), "--offline").out.endswith(f" --mmproj {encoder}\n")
    files: dict[str, Content] = {**repo_files(GEMMA), "mmproj-F16.gguf": encoder.read_bytes()}
    loopback_hub.add_repo(GEMMA, files)
    done = run(*asked, "mmproj-F16.gguf", endpoint=loopback_hub.url)
    assert done.code == 0, done.err
    assert done.out.endswith(f" --mmproj-url https://huggingface.co/{GEMMA}/resolve/main/mmproj-F16.gguf\n")


def test_what_is_no_projector_or_has_no_account_is_refused(run: Run, encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    llama = {"gguf": {"general.architecture": "llama"}, "tensors": {"F16": {"output_norm.weight": [8]}}}
    lay_out({"model-F16.gguf": llama}, tmp_path / "m")
    asked = ("fit", GEMMA, "--gpu", "RTX 4090", "--dtype", "Q4_K_M", "--offline")
    other = run(*asked, "--engine", "llama.cpp", "--mmproj", str(tmp_path / "m" / "model-F16.gguf"))
    assert (other.code, "is no projector" in other.err) == (2, True), other.err
    for more in (("--engine", "vllm"), ("--engine", "llama.cpp", "--all-gpus"), ("--emit", "ollama")):
        assert run(*asked, *more, "--mmproj", str(encoder)).code == 2
    unlike = ("fit", GEMMA, "--gpu", "RTX 4090 + RTX 3060 12GB", "--engine", "llama.cpp", "--dtype", "Q4_K_M")
    assert run(*unlike, "--offline", "--mmproj", str(encoder)).code == 2


def test_the_library_takes_it_too(encoder: Path) -> None:
    found = inspect_beside(GEMMA, mmproj=encoder, gpus="RTX 4090", engine="llama.cpp", dtype="Q4_K_M", offline=True)
    plain = inspector.inspect(GEMMA, gpus="RTX 4090", engine="llama.cpp", dtype="Q4_K_M", offline=True)
    assert found.projector is not None
    assert (found.inspection.fits[0].needed or 0) - (plain.fits[0].needed or 0) == BYTES
