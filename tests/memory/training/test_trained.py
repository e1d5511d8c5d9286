"""What trains: adapters on named modules, whole modules beside them, parameters whose names match a pattern."""

from __future__ import annotations

from typing import Any

import pytest

import inspector
from inspector.errors import UsageError
from inspector.memory.training import TrainingEstimate

LLAMA = "meta-llama/Meta-Llama-3-8B"
P = 8_030_261_248
HEAD = 128_256 * 4096


def train(context: int = 512, **how: Any) -> TrainingEstimate:
    return inspector.train(LLAMA, offline=True, context=context, **how)[1]


def size(training: TrainingEstimate, name: str) -> int:
    part = training.part(name)
    assert part is not None
    assert part.bytes is not None
    return part.bytes


def test_adapters_on_named_modules_have_their_shapes() -> None:
    """q: 4096 -> 4096 and v: 4096 -> 1024 in 32 blocks, rank 8; the LoRA paper's choice."""
    training = train(method="lora", lora_targets="q_proj,v_proj", lora_rank=8)
    assert training.trainable_parameters == 32 * 8 * (4096 + 4096 + 4096 + 1024)


def test_dora_adds_a_magnitude_for_each_output() -> None:
    plain = train(method="lora").trainable_parameters
    dora = train(method="lora", dora=True).trainable_parameters
    assert (dora or 0) - (plain or 0) == 32 * (4096 + 1024 + 1024 + 4096 + 14336 + 14336 + 4096)


def test_fewer_targets_keep_less_than_all_linear() -> None:
    """In bf16 an adapter keeps an fp32 copy of its input and r fp32 values a token: q and v remain of seven."""
    all_linear, two = train(method="lora"), train(method="lora", lora_targets="q_proj,v_proj")
    others = 32 * 512 * (4 * (4096 + 4096 + 4096 + 4096 + 14336) + 5 * 4 * 16)
    adapters = (all_linear.trainable_parameters or 0) - (two.trainable_parameters or 0)
    assert all_linear.phases["loss"] - two.phases["loss"] == others + 12 * adapters


def test_a_module_to_save_is_a_second_copy_that_trains_in_the_bases_precision() -> None:
    alone = train(method="lora", lora_targets="q_proj")
    beside = train(method="lora", lora_targets="q_proj", modules_to_save="lm_head")
    assert (beside.trainable_parameters or 0) - (alone.trainable_parameters or 0) == HEAD
    assert size(beside, "weights") - size(alone, "weights") == 2 * HEAD
    assert size(beside, "optimizer_states") - size(alone, "optimizer_states") == 4 * HEAD


def test_a_pattern_of_names_trains_what_it_matches() -> None:
    block = 2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 14336 * 4096 + 2 * 4096
    training = train(method="frozen-except", trained="model.layers.3[01].*")
    assert training.trainable_parameters == 2 * block
    assert size(training, "weights") == 2 * P
    assert size(training, "optimizer_states") == 4 * 2 * block
    assert training.phases["optimizer"] == 2 * P + (4 + 2 + 2) * 2 * block


def test_blocks_below_all_that_trains_keep_nothing() -> None:
    last = train(2048, method="frozen-except", trained="model.layers.31.*")
    first = train(2048, method="frozen-except", trained="model.layers.0.*")
    assert size(first, "activations") > 10 * size(last, "activations")
    head = train(2048, method="frozen-except", trained="lm_head.*")
    assert head.trainable_parameters == HEAD
    assert size(head, "activations") < size(last, "activations")


def test_qlora_holds_4127_thousandths_of_bits_a_weight_and_the_rest_in_fp32() -> None:
    """4 + 8/64 + 32/(64 * 256) bits; embedding, head and norms go to fp32 under prepare_model_for_kbit_training."""
    kept = 2 * HEAD + 65 * 4096
    adapters = 41_943_040
    mixed = size(train(method="qlora", precision="mixed"), "weights")
    assert mixed == pytest.approx((P - kept) * (4 + 8 / 64 + 32 / 64 / 256) / 8 + 4 * kept + 4 * adapters, abs=8)
    assert mixed - size(train(method="qlora"), "weights") == 2 * kept


def test_a_7b_under_qlora_fits_a_24_gb_gpu_and_its_full_training_does_not() -> None:
    """Dettmers et al. (2023) tune a 33B on 24 GB and a 65B on 48 GB."""
    how = {"gpus": ("24GiB",), "context": 2048, "offline": True}
    name = "mistralai/Mistral-7B-v0.1"
    inspection, _ = inspector.train(name, method="qlora", precision="mixed", checkpointing="full", **how)  # type: ignore[arg-type]
    assert inspection.fits[0].fits
    inspection, _ = inspector.train(name, **how)  # type: ignore[arg-type]
    fit = inspection.fits[0]
    assert fit.fits is False
    assert any("qlora" in change.option for change in fit.changes)
    assert all(change.needed <= fit.capacity for change in fit.changes)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"method": "lora", "lora_targets": "nothing_here"}, "q_proj"),
        ({"method": "lora", "modules_to_save": "nothing_here"}, "no module"),
        ({"method": "frozen-except", "trained": "nothing.*"}, "no parameter"),
        ({"no_such_setting": 1}, "no such setting"),
        ({"sharding": {"no_such": 1}}, "no such setting"),
    ],
)
def test_names_that_are_not_there_are_refused_with_a_hint(how: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as refused:
        train(**how)
    assert words in str(refused.value)


def test_a_base_in_8_bits_takes_a_byte_a_weight_of_linear_layers() -> None:
    """Embedding and head stay in bf16; norms, 266,240 values, too."""
    plain = 2 * HEAD + 266_240
    training = train(method="qlora", base="int8")
    adapters = 4 * (training.trainable_parameters or 0)
    assert size(training, "weights") == (P - plain) + 2 * plain + adapters


def test_checkpointing_lets_go_of_what_layers_in_8_bits_keep_only_with_reentrance() -> None:
    """The inputs of q, k and v; of o; of gate and up; and of down, in 32 blocks, in bf16."""
    setup: dict[str, Any] = {"method": "qlora", "base": "int8", "checkpointing": "full"}
    kept, gone = train(**setup), train(**setup, reentrant=True)
    assert kept.phases["loss"] - gone.phases["loss"] == 32 * 512 * 2 * (4096 + 4096 + 4096 + 14336)
    assert any("use_reentrant" in note for note in kept.warnings)


def test_what_layers_in_8_bits_keep_of_a_layer_norms_output_is_not_known() -> None:
    """Under autocast it is fp32 in Phi, and 16 bits in Llama."""
    setup: dict[str, Any] = {"method": "qlora", "base": "int8", "precision": "mixed", "kbit_upcast": False}
    found = inspector.train("microsoft/phi-2", offline=True, **setup).training
    assert found.peak is None
    assert "known for gated decoders" in found.warnings[-1]


def test_a_base_in_8_bits_is_of_qlora() -> None:
    with pytest.raises(UsageError, match="a base in int8 is of qlora"):
        train(method="lora", base="int8")
