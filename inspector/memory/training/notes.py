"""What the reader of a training estimate should know: what was not measured, and what is taken for granted."""

from __future__ import annotations

from inspector.memory.training.classifiers import classifies
from inspector.memory.training.compiled import kept_by_type
from inspector.memory.training.estimate import TrainingSetup
from inspector.memory.training.optimizers import BLOCKS, LOW_RANK
from inspector.memory.training.optimizers_by_source import BY_SOURCE
from inspector.memory.training.sharding import Sharding
from inspector.memory.training.states import already_packed
from inspector.memory.training.vision import VisionRun, still_parameters
from inspector.model.model import Model


def notes(
    model: Model, setup: TrainingSetup, sharding: Sharding, paged: int, vision: VisionRun | None = None
) -> tuple[str, ...]:
    """One sentence each; `vision`: what was counted of images."""
    found = (
        _objective(model, setup)
        + _kernels(model, setup)
        + _optimizer(setup, paged)
        + _model(model, setup)
        + _media(model, setup, sharding, vision)
        + _trained(model, setup)
    )
    if sharding.cards > 1 or sharding.away:
        found.append(_spread(setup, sharding))
    if sharding.pp > 1 and sharding.grad_accum == 1:
        found.append("as many microbatches as stages are taken to be in flight: --grad-accum says how many there are")
    if sharding.schedule == "gpipe":
        found.append("gpipe: the logits of earlier microbatches on the last stage are not counted")
    return tuple(found)


def _objective(model: Model, setup: TrainingSetup) -> list[str]:
    """What the step trains for: whose step it is, and what is taken for granted of its batch."""
    if setup.objective == "sft":
        return []
    objective = setup.aim
    found = [f"{objective.title}: by {objective.source}", *objective.notes]
    if setup.logits == "chunked":
        found.append(f"chunked logits: log-probabilities by the fused head of {objective.fused}")
    if setup.generates == "colocated-sleep":
        found.append("vLLM asleep: its CUDA graphs and context, which stay, are not counted")
    if model.architecture.experts is not None:
        found.append(
            "the routers' own loss, which TRL adds where the config asks for it, is not counted: 4 B a token, layer"
            " and expert at most"
        )
    return found


def _kernels(model: Model, setup: TrainingSetup) -> list[str]:
    """How the passes compute."""
    found = []
    if setup.attention == "flash":
        found.append("flash: not measured; taken to keep what torch's own flash kernel keeps")
    if setup.compiled and model.architecture.model_type not in kept_by_type():
        found.append("torch.compile: what it keeps was not measured for this type; what eager blocks keep is a bound")
    elif setup.compiled:
        loss = "" if setup.logits == "compiled-loss" else "; the loss as it is eager"
        found.append(f"torch.compile: what blocks keep as torch's partitioner decides on the CPU{loss}")
    if setup.checkpointing == "selective-op":
        found.append("selective-op: what is kept follows torchtitan's list of operations; within a block a bound")
    if setup.fp8 == "torchao" and setup.compiled:
        found.append("torchao under torch.compile: casts are taken to be fused, which was not measured")
    elif setup.fp8 == "torchao":
        found.append(
            "torchao: activations as measured without torch.compile, which may keep fp8 copies instead: a bound"
        )
    elif setup.fp8 != "none":
        found.append(
            "Transformer Engine: what its layers keep follows its source (1.x) for gated decoders, not measured"
        )
    return found


def _optimizer(setup: TrainingSetup, paged: int) -> list[str]:
    """What the optimizer keeps; `paged`: bytes of states that move between GPU and CPU."""
    found = []
    if setup.optimizer == "fp8-lm":
        found.append("fp8-lm: by the paper, not measured; MS-AMP's fp8 gradients would take a byte less a parameter")
    own = setup.optimizer not in BLOCKS  # torchao's are measured
    if setup.optimizer in (*LOW_RANK, *BY_SOURCE) or (own and "8bit" in setup.optimizer) or "lion" in setup.optimizer:
        found.append(f"{setup.optimizer}: the states follow the library's source, and were not measured")
    if paged:
        found.append(
            f"{paged / 2**30:.2f} GiB of optimizer states are paged: they move between GPU and CPU as needed, and are"
            " not in the peak"
        )
    if setup.precision == "bf16-master":
        found.append(
            "bf16-master: as DeepSpeed keeps them (2 B weights, 2 B gradients, fp32 copy and states); estimated"
        )
    return found


def _model(model: Model, setup: TrainingSetup) -> list[str]:
    """What is in the model beside plain text layers."""
    found = []
    if setup.objective == "sft" and classifies(model.architecture):
        found.append(f"{model.architecture.architecture}: its head is a classifier, with no logits of a vocabulary")
    if model.architecture.quantization is not None and not already_packed(setup, model):
        found.append(f"a {model.architecture.quantization.method} checkpoint is taken as unpacked before it is trained")
    if setup.method == "qlora" and model.architecture.experts is not None and not setup.quantize_experts:
        found.append(
            "transformers 5 stacks a mixture's experts in one parameter, which bitsandbytes does not quantize: they"
            f" stay at {setup.frozen_bytes} B a value"
        )
    if setup.logits == "chunked" and setup.objective == "sft" and setup.logits_chunk is None:
        found.append(
            "chunked logits are those of Liger 0.8.5; its versions 0.6.1 to 0.8.2 make two more of a trained head"
        )
    elif setup.logits == "chunked" and setup.objective == "sft":
        found.append(
            f"chunks of at most {setup.logits_chunk:g} GiB of fp32 logits, by Unsloth's source: smaller where less than"
            " twice as much is free; its versions before the fused loss made all logits at once"
        )
    return found


def _media(model: Model, setup: TrainingSetup, sharding: Sharding, vision: VisionRun | None) -> list[str]:
    """Images and sound."""
    if vision is not None:
        return [f"{vision.note}; see --images"]
    if model.architecture.vision or model.architecture.audio:
        text = "only text passes, counted as in a model of its language part alone: images or sound would keep more"
        still = setup.method == "full" and still_parameters(model, setup, sharding, None)
        return [f"{text}, and their encoders' {still:,} parameters would have gradients and states" if still else text]
    return ["no image is counted: the model takes none"] if setup.images or setup.image_size else []


def _trained(model: Model, setup: TrainingSetup) -> list[str]:
    """Where only a part trains, or is kept."""
    found = []
    if setup.adapters and setup.lora_targets != "all-linear":
        found.append(
            "targets of adapters: what other linear layers would keep is taken off; within the block an estimate"
        )
    if setup.adapters and model.architecture.experts is not None and setup.lora_targets != "all-linear":
        found.append("names do not reach stacked experts, which are no modules of their own")
    if setup.base == "int8":
        found.append("int8: outliers, whose inputs are kept once more, are taken to be none")
        if setup.checkpointing != "none" and not setup.reentrant:
            found.append(
                "int8: bitsandbytes keeps each layer's input, which checkpointing without reentrance does not let go"
                " of; with use_reentrant: true (--reentrant) it does"
            )
    if setup.old_bitsandbytes:
        found.append(
            "inputs that old 4-bit layers keep are counted of gated decoders' own projections, by their source"
        )
    if setup.checkpointing == "attention":
        found.append(
            "recomputed attention: scores are taken off where attention is not at work; within a block a bound"
        )
    if setup.method == "frozen-except":
        found.append(
            "blocks in which only some parameters train are taken to keep what wholly trained ones keep: a bound"
        )
    return found


def _spread(setup: TrainingSetup, sharding: Sharding) -> str:
    """How sure the layout is. What was measured: tests/oracles/training_ranks.py and training_fsdp.py."""
    papers = {
        "replicas of FSDP groups": sharding.hsdp > 1,
        "sequence parallel": sharding.sp,
        "context parallel": sharding.cp > 1,
        "expert parallel": sharding.ep > 1,
        "offload": bool(sharding.away),
    }
    unmeasured = ", ".join(name for name, used in papers.items() if used)
    kind = f"; from papers and sources, not measured: {unmeasured}" if unmeasured else ""
    divided = "; adapters and states are divided like the weights" if setup.adapters else ""
    torch = sharding.fsdp > 1 or sharding.tp > 1 or sharding.pp > 1 or (sharding.ddp > 1 and sharding.zero in (None, 1))
    shares = ", with shares as torch's own classes make them" if torch else ""
    return f"{sharding.words()}: an estimate for the fullest GPU{shares}{kind}{divided}"
