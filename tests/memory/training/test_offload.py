"""What is kept off the GPU, against DeepSpeed's own estimators and its defaults."""

from __future__ import annotations

from typing import Any

import pytest

import inspector
from inspector.errors import UsageError
from inspector.memory import Workload
from inspector.memory.training import Sharding, TrainingEstimate, TrainingSetup, training_estimate
from inspector.model import Model

P = 8_030_261_248
MASTERS = TrainingSetup(precision="bf16-master", optimizer_impl="fused", checkpointing="full")
CPU = ("optimizer", "params")


@pytest.fixture(scope="module")
def llama() -> Model:
    return inspector.inspect("meta-llama/Llama-3.1-8B", offline=True).model


def estimate(model: Model, setup: TrainingSetup = MASTERS, context: int = 16, **sharding: Any) -> TrainingEstimate:
    return training_estimate(model, Workload(context), setup, Sharding(**sharding))


def size(training: TrainingEstimate, name: str) -> int | None:
    part = training.part(name)
    return None if part is None else part.bytes


@pytest.mark.parametrize(
    ("zero", "offload", "gpu", "host"),
    [
        # estimate_zero2_model_states_mem_needs: 2 P on the GPU and 16 P on the node with offload; else 2 P + 18 P / n;
        # beside the 16 or 18 P of the node, a 16-bit copy of weights, or in stage 3 of gradients (by the source)
        (2, ("optimizer",), 2, 16 + 2),
        # of which the step takes 2 P / n more: the share's gradients are put together while the old ones are there
        (2, (), 2 + 20 / 8, 0),
        # estimate_zero3_model_states_mem_needs: (2 P / n, 16 P) and (0, 18 P)
        (3, ("optimizer",), 2 / 8, 16 + 2),
        (3, CPU, 0, 18 + 2),
    ],
)
def test_states_are_what_deepspeeds_estimators_say(
    llama: Model, zero: int, offload: tuple[str, ...], gpu: float, host: int
) -> None:
    """DeepSpeed 0.19 over 8 GPUs of a node, without its factor of 1.5 for buffers and the largest layer."""
    training = estimate(llama, ddp=8, zero=zero, offload=offload, reduce_bucket_size=0, param_persistence_threshold=0)
    steady = training.phases["optimizer"]
    assert steady == pytest.approx(gpu * P, abs=2**20)
    assert (size(training, "host_memory") or 0) * 8 == pytest.approx(host * P, abs=2**20)


def test_zero_3_casts_the_gradients_of_one_group_at_a_time(llama: Model) -> None:
    """2 B of weights, 2 of gradients, 12 of masters and states a parameter; and for 1e9 of them 2 for gradients that
    are put together, and 4 for their cast. DeepSpeed's estimator says 18 B a parameter, without the former."""
    none = {"reduce_bucket_size": 0, "param_persistence_threshold": 0}
    one, eight = (estimate(llama, ddp=gpus, zero=3, **none).phases["optimizer"] for gpus in (1, 8))
    assert one == pytest.approx(16 * P + 6 * 10**9, abs=2**20)
    assert eight == pytest.approx(2 * P + 6 * 10**9, abs=2**20)
    assert eight == pytest.approx(22 * P / 8, rel=0.002)
    smaller = estimate(llama, ddp=8, zero=3, sub_group_size=10**8, **none).phases["optimizer"]
    assert eight - smaller == pytest.approx(6 * 9 * 10**8, abs=2**20)


def test_on_nvme_the_host_keeps_deepspeeds_buffers(llama: Model) -> None:
    """4 buffers of a group of 1e9 parameters at most in fp32; 5 of 1e8 values, and 1e9 parameters stay (max_in_cpu);
    and the flat buffer of all gradients of the share."""
    one = estimate(llama, ddp=1, zero=3, nvme=CPU)
    assert size(one, "host_memory") == 4 * 10**9 * 4 + 5 * 10**8 * 2 + 10**9 * 2 + 2 * P
    assert size(one, "disk") == 16 * P + 2 * (P - 10**9)
    assert size(one, "weights") == size(one, "optimizer_states") == 0
    eight = estimate(llama, ddp=8, zero=3, nvme=("optimizer",))
    assert size(eight, "host_memory") == pytest.approx(4 * 10**9 * 4 + 2 * P / 8, abs=2)
    assert size(eight, "disk") == pytest.approx(16 * P / 8)
    assert size(eight, "weights") == 2 * P // 8


def test_nvme_leaves_the_gpu_what_the_cpu_leaves_it(llama: Model) -> None:
    cpu, disk = (estimate(llama, ddp=8, zero=3, **{where: CPU}) for where in ("offload", "nvme"))
    assert cpu.phases == disk.phases
    assert size(cpu, "disk") is None


def test_fsdp_offloads_parameters_gradients_and_states_as_they_are(llama: Model) -> None:
    training = estimate(llama, TrainingSetup(checkpointing="full"), fsdp=8, offload=CPU)
    assert size(training, "host_memory") == (2 + 2 + 4) * P // 8


def test_offloaded_activations_are_the_hosts(llama: Model) -> None:
    """Inputs of 32 blocks of 8,192 tokens in bf16: unsloth's checkpointing."""
    training = estimate(llama, TrainingSetup(checkpointing="full"), context=8192, offload=("activations",))
    assert size(training, "host_memory") == pytest.approx(32 * 8192 * 4096 * 2, rel=0.06)


def test_paged_states_are_the_hosts(llama: Model) -> None:
    training = estimate(llama, TrainingSetup(optimizer="paged-adamw-8bit"))
    assert size(training, "host_memory") == pytest.approx(2 * P, rel=0.01)


def test_json_gives_host_memory_and_disk(capsys: pytest.CaptureFixture[str]) -> None:
    import json

    from inspector.cli.main import run

    words = ["train", "meta-llama/Llama-3.1-8B", "--offline", "--precision", "bf16-master", "--zero", "3", "--json"]
    assert run([*words, "--nvme", "optimizer", "--offload", "params"]) == 0
    training = json.loads(capsys.readouterr().out)["training"]
    assert training["disk"] == 16 * P
    assert training["host_memory"] == 4 * 10**9 * 4 + 2 * P + 2 * P
    assert run(["train", "meta-llama/Llama-3.1-8B", "--offline", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["training"]["disk"] is None


@pytest.mark.parametrize(
    "sharding",
    [
        {"nvme": ("optimizer",)},
        {"nvme": ("activations",), "zero": 3},
        {"nvme": ("params",), "zero": 2},
        {"schedule": "gpipe"},
        {"schedule": "zigzag", "pp": 2, "grad_accum": 4},
        {"shard_embeddings": True},
    ],
    ids=str,
)
def test_what_no_run_can_have_is_refused(sharding: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Sharding(**sharding)
