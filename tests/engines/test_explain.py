"""An engine's account explained: the parts are the account's own bytes, and their sub-parts add up to them."""

from __future__ import annotations

from typing import Any

import pytest

from inspector.devices.spec import parse_gpu
from inspector.memory import Workload
from tests.conftest import Run
from tests.engines.planning import plan_serving
from tests.memory.test_ledger import inspection

MODELS = ("meta-llama/Meta-Llama-3-70B", "openai/gpt-oss-20b", "google/gemma-3-4b-it", "deepseek-ai/DeepSeek-V3")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("engine", ["vllm", "sglang"])
@pytest.mark.parametrize("settings", [{}, {"pipeline_parallel": 2, "enforce_eager": True}])
def test_parts_are_the_accounts_own_bytes(name: str, engine: str, settings: dict[str, Any]) -> None:
    serving = plan_serving(inspection(name).model, Workload(8192), parse_gpu("8xH200"), engine, **settings)
    parts = {part.name: part for part in serving.explanation()}
    assert {key: part.bytes for key, part in parts.items()} == {
        key: size for key, size in serving.per_gpu.items() if key != "total" and size is not None
    }
    for key in ("weights", "activations"):
        if parts[key].parts:
            assert sum(sub.bytes or 0 for sub in parts[key].parts) == parts[key].bytes
    assert all(part.formula and part.source for part in parts.values())


def test_the_command_explains_every_number(run: Run) -> None:
    done = run(
        "fit", MODELS[0], "--gpu", "2xA100-80GB", "--engine", "vllm", "--context", "8k", "--explain", "--offline"
    )
    words = " ".join(done.out.split())
    assert done.code == 0
    assert "85,095,088,128 B x gpu_memory_utilization 0.92 - weights - activations - non torch - graphs" in words
    assert "1,335 blocks of 2,621,440 B" in words
    # 80 layers x 16 tokens x 4 KV heads of the rank x (128 + 128) x 2 B
    assert 2_621_440 == 80 * 16 * 4 * 256 * 2


def test_what_does_not_fit_names_the_changes_that_do(run: Run) -> None:
    record = run(
        "fit", MODELS[0], "--gpu", "A100-80GB", "--engine", "vllm", "--context", "8k", "--offline", "--json"
    ).record
    assert [change["option"] for change in record["serving"]["changes"]] == ["--dtype fp8", "--gpu '2xA100 80GB'"]
    assert record["serving"]["fits"] is False
