"""What torch's allocator reserves on one GPU, and what a verdict makes of it."""

from __future__ import annotations

import json

import pytest

import inspector
from inspector.cli.main import run

LLAMA = "meta-llama/Llama-3.2-1B"


def test_on_one_gpu_it_is_a_range_and_what_nvidia_smi_shows_has_the_context_too() -> None:
    training = inspector.train(LLAMA, offline=True).training
    assert training.peak is not None
    assert training.reserved is not None
    assert training.reserved_range is not None
    low, high = training.reserved_range
    assert training.peak < low < training.reserved < high < 1.4 * training.peak
    assert training.device_used == training.reserved + 256 * 2**20


def test_of_several_gpus_nccls_buffers_are_not_known() -> None:
    fsdp = inspector.train(LLAMA, offline=True, sharding={"fsdp": 8}).training
    assert fsdp.reserved is not None
    assert fsdp.reserved_range is None
    assert fsdp.device_used is None
    ddp = inspector.train(LLAMA, offline=True, sharding={"ddp": 8}).training
    assert (ddp.reserved, ddp.device_used) == (None, None)


@pytest.mark.parametrize("settings", [{"compiled": True}, {"logits": "chunked"}, {"method": "qlora"}])
def test_steps_of_which_none_was_replayed_have_none(settings: dict[str, str]) -> None:
    assert inspector.train(LLAMA, offline=True, **settings).training.reserved is None  # type: ignore[arg-type]


def test_a_range_decides_no_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    """The tensors fit; what is reserved in other steps may not."""
    needed = inspector.train(LLAMA, offline=True, gpus=["80GiB"]).fits[0].needed
    assert needed is not None
    assert run(["train", LLAMA, "--offline", "--gpu", f"{needed / 2**30 + 0.02:.2f}GiB", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["fit"][0]["fits"]
    assert found["fit"][0]["notes"] == []
    assert found["training"]["reserved"] > found["fit"][0]["needed"]
    assert found["training"]["reserved_range"][0] < found["training"]["reserved"]
