"""The estimate of a training step, against numbers worked out by hand."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import inspector
from inspector.errors import UsageError
from inspector.memory import Workload
from inspector.memory.training import CHOICES, TrainingEstimate, TrainingSetup, training_estimate
from inspector.memory.training.sizes import sizes_of
from inspector.memory.training.table import known_types, read_table
from inspector.model import Model
from tests.memory.test_ledger import inspection

LLAMA = "meta-llama/Meta-Llama-3-8B"
PARAMETERS = 8_030_261_248


@pytest.fixture(scope="module")
def llama() -> Model:
    return inspector.inspect(LLAMA, offline=True).model


def estimate(model: Model, context: int = 512, batch: int = 1, **setup: object) -> TrainingEstimate:
    return training_estimate(model, Workload(context=context, batch=batch), TrainingSetup(**setup))  # type: ignore[arg-type]


def size(training: TrainingEstimate, name: str) -> int | None:
    part = training.part(name)
    assert part is not None, name
    return part.bytes


# When the optimizer rules, the peak is a number of bytes a parameter: weights, gradients, two states, and temporaries.
@pytest.mark.parametrize(
    ("precision", "implementation", "expected"),
    [
        ("bf16", "fused", 8),
        ("bf16", "foreach", 10),
        ("fp32", "fused", 16),
        ("fp32", "foreach", 20),
        ("mixed", "foreach", 20),
    ],
)
def test_bytes_a_parameter_of_adamw(llama: Model, precision: str, implementation: str, expected: int) -> None:
    training = estimate(llama, context=16, precision=precision, optimizer_impl=implementation)
    assert training.phases["optimizer"] == expected * PARAMETERS


def test_the_loop_of_adamw_holds_two_of_the_largest_tensor(llama: Model) -> None:
    training = estimate(llama, context=16, optimizer_impl="for-loop")
    assert training.phases["optimizer"] == 8 * PARAMETERS + 2 * 2 * 128_256 * 4096


@pytest.mark.parametrize(
    ("optimizer", "states"), [("sgd", 0), ("sgd-momentum", 2), ("adamw", 4), ("adamw-8bit", 2.03125)]
)
def test_states_of_the_optimizers(llama: Model, optimizer: str, states: float) -> None:
    assert size(estimate(llama, optimizer=optimizer), "optimizer_states") == pytest.approx(states * PARAMETERS)


def test_a_llama_block_keeps_what_the_published_derivation_says(llama: Model) -> None:
    """T * (16h + 8f + 4q + 4k + 4a + 8) bytes in bf16, with h = q = 4096, f = 14336, k = 1024, a = 32."""
    table = read_table("llama")
    assert table is not None
    block = table.profiles["full/bf16/sdpa/none/grouped"].layers["full_attention"].forward.end
    sizes = sizes_of(llama.architecture, batch=2, context=512, rank=16)
    expected = 1024 * (16 * 4096 + 8 * 14336 + 4 * 4096 + 4 * 1024 + 4 * 32 + 8)
    assert sizes.bytes_of(block) == expected + 24  # and flash attention's random state


@pytest.mark.parametrize(
    ("model_type", "way", "expected"),
    [
        ("llama", "full/fp32/sdpa/none", {"Th": 24, "Tf": 16, "Tq": 16, "T": 8}),
        ("gpt2", "full/bf16/sdpa/none", {"Th": 18, "Tf": 10, "Ta": 4}),
        ("bert", "full/bf16/eager/none", {"Th": 18, "Tf": 4, "bass": 5}),
        ("bert", "full/fp32/eager/none", {"bass": 9}),
        ("qwen3", "full/bf16/sdpa/none/grouped", {"Th": 16, "Tf": 8, "Tq": 10, "Tk": 10}),
    ],
)
def test_the_table_agrees_with_the_earlier_derivation(model_type: str, way: str, expected: dict[str, int]) -> None:
    """Coefficients derived on other measurements, before the generator was written."""
    table = read_table(model_type)
    assert table is not None
    block = table.profiles[way].layers["full_attention"].forward.end
    assert {name: block.get(name) for name in expected} == expected


def test_adapters_of_rank_16_on_all_linear_layers(llama: Model) -> None:
    """r * (in + out) of q, k, v, o, gate, up, down in 32 blocks."""
    pairs = [(4096, 4096), (4096, 1024), (4096, 1024), (4096, 4096), (4096, 14336), (4096, 14336), (14336, 4096)]
    adapters = 32 * 16 * sum(a + b for a, b in pairs)
    training = estimate(llama, method="lora", lora_rank=16)
    assert training.trainable_parameters == adapters == 41_943_040
    assert size(training, "weights") == 2 * PARAMETERS + 4 * adapters
    assert size(training, "optimizer_states") == 8 * adapters


def test_the_parts_sum_to_the_largest_phase(llama: Model) -> None:
    for context in (16, 512, 8192):
        training = estimate(llama, context=context)
        assert training.peak == max(training.phases.values()) == training.phases[training.peak_phase or ""]


def test_the_logits_rule_where_the_vocabulary_is_large(llama: Model) -> None:
    training = estimate(llama, context=8192, method="lora", checkpointing="full")
    assert training.peak_phase == "loss"
    assert size(training, "logits") == 12 * 8192 * 128_256


def test_an_unknown_type_has_no_peak_and_says_why(llama: Model) -> None:
    architecture = dataclasses.replace(llama.architecture, model_type="never_seen")
    training = training_estimate(dataclasses.replace(llama, architecture=architecture), Workload(512), TrainingSetup())
    assert training.peak is None
    assert "never_seen" in training.warnings[0]
    assert size(training, "optimizer_states") == 4 * PARAMETERS


@pytest.mark.parametrize(
    "setup",
    [
        {"method": "magic"},
        {"optimizer": "adam"},
        {"method": "qlora", "precision": "fp32"},
        {"method": "frozen-except"},
        {"trained": "*"},
        {"optimizer": "custom"},
        {"optimizer_bytes": 4.0},
        {"dora": True},
        {"lora_targets": "q_proj"},
        {"method": "lora", "precision": "bf16-master"},
        {"method": "qlora", "adapter_dtype": "bf16", "precision": "mixed"},
        {"optimizer": "custom", "optimizer_bytes": float("nan")},
        {"attention": "flash", "precision": "fp32"},
        {"logits_chunk": 4.0},
        {"lora_rank": 0},
    ],
)
def test_impossible_setups_are_refused(setup: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        TrainingSetup(**setup)  # type: ignore[arg-type]


def test_every_table_can_be_read() -> None:
    for model_type in known_types():
        table = read_table(model_type)
        assert table is not None
        assert table.profiles


def possible(setup: dict[str, str]) -> bool:
    """Whether a run can have these choices, and they need no tensor names."""
    try:
        TrainingSetup(**setup)  # type: ignore[arg-type]
    except UsageError:
        return False
    autocast = setup["precision"] == "mixed"  # of which no compiled loss is known
    if setup["checkpointing"] == "selective-op" or (autocast and setup["logits"] == "compiled-loss"):
        return False
    if setup["base"] == "int8":
        return False
    return setup["optimizer"] not in NEEDS_SHAPES


NEEDS_SHAPES = {"adafactor", "adafactor-torch", "muon", "galore", "apollo", "adam-mini", "soap", "shampoo"}
POSSIBLE = (
    st.fixed_dictionaries({name: st.sampled_from(values) for name, values in CHOICES.items()})
    .map(lambda setup: setup | ({"reference": "auto"} if setup["objective"] == "sft" else {"logits": "all"}))
    .filter(possible)
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.filter_too_much])
@given(setup=POSSIBLE, context=st.integers(1, 5000), batch=st.integers(1, 8), more=st.integers(1, 1000))
def test_more_tokens_and_more_sequences_never_take_less(
    setup: dict[str, str], context: int, batch: int, more: int
) -> None:
    model = inspector.inspect(LLAMA, offline=True).model
    small = estimate(model, context, batch, **setup).peak
    assert small is not None
    assert (estimate(model, context + more, batch, **setup).peak or 0) >= small
    assert (estimate(model, context, batch + 1, **setup).peak or 0) >= small


@settings(deadline=None, max_examples=30)
@given(context=st.integers(1, 5000), rank=st.integers(1, 128))
def test_checkpointing_never_keeps_more_and_a_higher_rank_never_takes_less(context: int, rank: int) -> None:
    model = inspector.inspect(LLAMA, offline=True).model
    plain = estimate(model, context, method="lora", lora_rank=rank)
    assert (estimate(model, context, method="lora", lora_rank=rank + 1).peak or 0) >= (plain.peak or 0)
    checkpointed = estimate(model, context, method="lora", lora_rank=rank, checkpointing="full")
    assert checkpointed.phases["loss"] <= plain.phases["loss"]


def test_falcons_adapters_have_no_gradients_below_nothing() -> None:
    found = inspection("tiiuae/falcon-7b")
    setup = TrainingSetup(method="lora")
    training = training_estimate(found.model, Workload(2048), setup)
    assert min(part.bytes or 0 for part in training.parts) >= 0
    assert sum(part.bytes or 0 for part in training.parts) == training.peak
