"""One real training step of a transformers class on the pretend GPU: forward, loss, backward, optimizer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from inspect import signature
from typing import Any

import torch
from transformers import (
    Adafactor,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)
from transformers.modeling_layers import GradientCheckpointingLayer

from inspector.measure.allocator import replay
from inspector.measure.gpu import DEVICE, MemoryLog, autocast, pretend_training_gpu, trained_shapes
from inspector.measure.images import freeze, image_inputs, language_linears, tower_blocks
from inspector.measure.kernels import kernels_in_place, put_kernels
from inspector.measure.values import ValuesKept
from inspector.memory.training.recompute import recomputed_blocks

LAYER_DROPS = ("layerdrop", "encoder_layerdrop", "decoder_layerdrop")
"""Chances that a block is left out of a step; the peak is that of a step with all of them."""


CLASSIFIERS = {
    "ForSequenceClassification": AutoModelForSequenceClassification,
    "ForTokenClassification": AutoModelForTokenClassification,
    "ForQuestionAnswering": AutoModelForQuestionAnswering,
}
"""Classes with another head than a vocabulary's, by the end of their names."""


@dataclass(frozen=True)
class Step:
    """How the step is taken; the fields are those of `inspector.memory.training.TrainingSetup`.

    `head` is one of CLASSIFIERS, or "" for the class with a head for the vocabulary. `fused_loss`: with Liger's
    kernels, its loss, too.
    """

    precision: str = "bf16"
    method: str = "full"
    attention: str = "sdpa"
    checkpointing: str = "none"
    optimizer: str = "adamw"
    optimizer_impl: str = "foreach"
    lora_rank: int = 16
    lora_targets: str = "all-linear"
    adapter_dtype: str = "fp32"
    dora: bool = False
    modules_to_save: str = ""
    trained: str = ""
    checkpoint_every: int = 2
    lora_dropout: float = 0.0
    kbit_upcast: bool = True
    base: str = "nf4"
    reentrant: bool = False
    optimizer_in_backward: bool = False
    batch: int = 1
    context: int = 512
    images: int = 0
    image_size: tuple[int, int] | None = None
    vision: str = "auto"
    head: str = ""
    kernels: str = "none"
    fused_loss: bool = False


def build(model_type: str, config: dict[str, Any], step: Step, *, encoder: bool = False) -> Any:
    """The class on the meta device, with what trains set to train, in train mode."""
    made = AutoConfig.for_model(model_type, **config)
    auto: Any = CLASSIFIERS.get(step.head) or (AutoModelForMaskedLM if encoder else AutoModelForCausalLM)
    if step.images or _sees(made):
        auto = AutoModelForImageTextToText
    if made.is_encoder_decoder:
        auto = AutoModelForSeq2SeqLM
        if getattr(made, "decoder_start_token_id", None) is None:  # labels become the decoder's inputs
            made.decoder_start_token_id = made.pad_token_id or 0
    for key in LAYER_DROPS:
        if getattr(made, key, None):
            setattr(made, key, 0.0)
    # A frozen base needs no fp32 masters: under "mixed" it stays in bf16, and the adapters are fp32.
    masters = step.precision == "mixed" and step.method in ("full", "frozen", "frozen-except")
    single = step.precision == "fp32" or masters
    dtype = torch.float32 if single else torch.bfloat16
    model = _empty_model(auto, made, dtype, step.attention)
    put_kernels(model, step.kernels, fused_loss=step.fused_loss)
    if step.method == "qlora":
        quantize(model, step.base, fp32_rest=step.precision == "mixed" and step.kbit_upcast)
    if step.method in ("lora", "qlora"):
        model = add_lora(model, step)
    elif step.images:
        freeze(model, step.vision if step.vision != "auto" else "trained")
    if step.method == "frozen-except":
        for name, parameter in model.named_parameters():
            parameter.requires_grad = fnmatchcase(name, step.trained)
    if step.method == "frozen":
        model.requires_grad_(False)
        model.enable_input_require_grads()
    if step.checkpointing in ("full", "selective"):
        model.activation_checkpointing_enable({"use_reentrant": step.reentrant})
        blocks: list[Any] = blocks_of(model)
        for block, again in zip(
            blocks, recomputed_blocks(len(blocks), step.checkpointing, step.checkpoint_every), strict=True
        ):
            block.gradient_checkpointing = again
        if step.method in ("lora", "qlora"):
            model.enable_input_require_grads()
    if step.checkpointing == "selective-op":
        model.activation_checkpointing_enable({"use_reentrant": False, "context_fn": saved_operations})
    model.config.use_cache = False
    return model.train()


def _sees(config: Any) -> bool:
    """Whether a config's class is one of images and text alone."""
    kind = type(config)
    return kind in AutoModelForImageTextToText._model_mapping and kind not in AutoModelForCausalLM._model_mapping


def saved_operations() -> Any:
    """The contexts of one block's checkpoint that keep what torchtitan keeps: attention's outputs and those of every
    second matrix product, counted in the forward pass and again when the block is computed again."""
    from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts

    products = dict.fromkeys((False, True), 0)

    def policy(context: Any, function: Any, *_: Any, **__: Any) -> CheckpointPolicy:
        if function is torch.ops.aten.mm.default:
            products[context.is_recompute] += 1
            saved = products[context.is_recompute] % 2 == 1
        else:
            saved = function.overloadpacket.__name__.startswith("_scaled_dot_product")
        return CheckpointPolicy.MUST_SAVE if saved else CheckpointPolicy.PREFER_RECOMPUTE

    return create_selective_checkpoint_contexts(policy)


def _empty_model(auto: Any, config: Any, dtype: torch.dtype, attention: str) -> Any:
    """The class on the meta device; with eager attention where it has no sdpa, as transformers chooses by itself."""
    with torch.device("meta"):
        try:
            return auto.from_config(config, dtype=dtype, attn_implementation=attention)
        except ValueError as error:
            if attention != "sdpa" or "scaled_dot_product_attention" not in str(error):
                raise
            return auto.from_config(config, dtype=dtype, attn_implementation="eager")


PACKED = ("Params4bit", "Int8Params")
"""bitsandbytes' classes of parameters."""


def quantize(model: Any, base: str, *, fp32_rest: bool) -> None:
    """Puts bitsandbytes' layers in place, as transformers does for nf4 with double quantization in bf16, or for int8.

    Args:
        fp32_rest: what stays unquantized goes to fp32, as peft's `prepare_model_for_kbit_training` has it.
    """
    import bitsandbytes  # noqa: F401  (transformers would say what is missing less clearly)
    from transformers import BitsAndBytesConfig
    from transformers.integrations.bitsandbytes import replace_with_bnb_linear
    from transformers.quantizers.base import get_keys_to_not_convert

    four_bits: dict[str, Any] = {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_compute_dtype": torch.bfloat16,
    }
    config = BitsAndBytesConfig(**(four_bits if base == "nf4" else {"load_in_8bit": True}))
    kept = get_keys_to_not_convert(model) + sorted(model._keep_in_fp32_modules or ())  # T5's wo
    replace_with_bnb_linear(model, kept, config)
    for parameter in model.parameters():
        parameter.requires_grad = False
        if fp32_rest and type(parameter).__name__ not in PACKED:
            parameter.data = parameter.data.to(torch.float32)
    setattr(model, "is_loaded_in_4bit" if base == "nf4" else "is_loaded_in_8bit", True)  # peft asks for it


def add_lora(model: Any, step: Step) -> Any:
    """Adapters as peft puts them on."""
    from peft import LoraConfig, get_peft_model

    targets: Any = step.lora_targets if step.lora_targets == "all-linear" else step.lora_targets.split(",")
    if tower_blocks(model) and step.vision != "adapters":
        targets = language_linears(model, step.lora_targets)
    with torch.device("meta"):
        saved = step.modules_to_save.split(",") if step.modules_to_save else None
        config = LoraConfig(
            r=step.lora_rank,
            target_modules=targets,
            use_dora=step.dora,
            modules_to_save=saved,
            lora_dropout=step.lora_dropout,
        )
        adapted = get_peft_model(model, config, autocast_adapter_dtype=step.adapter_dtype == "fp32")
    if step.adapter_dtype == "bf16":
        for parameter in adapted.parameters():
            if parameter.requires_grad:  # on the meta device peft leaves them in fp32
                parameter.data = parameter.data.to(torch.bfloat16)
    return adapted


def move_to_gpu(model: torch.nn.Module, device: torch.device = DEVICE) -> None:
    """Replaces a meta model's parameters and buffers by empty ones of a device; what trains still trains."""
    twins: dict[int, torch.Tensor] = {}

    def twin(tensor: torch.Tensor, *, parameter: bool) -> Any:
        if id(tensor) not in twins:
            made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device)
            twins[id(tensor)] = torch.nn.Parameter(made, requires_grad=tensor.requires_grad) if parameter else made
        return twins[id(tensor)]

    originals = list(model.parameters()) + list(model.buffers())  # alive, so that their ids stay theirs
    modules: list[Any] = list(model.modules())
    for module in modules:
        for name, tensor in module._parameters.items():
            if type(tensor).__name__ == "Params4bit":
                module._parameters[name] = four_bit_weight(module.out_features, module.in_features)
            elif type(tensor).__name__ == "Int8Params":
                module._parameters[name] = eight_bit_weight(module.out_features, module.in_features)
            elif tensor is not None:
                module._parameters[name] = twin(tensor, parameter=True)
        for name, tensor in module._buffers.items():
            if tensor is not None:
                module._buffers[name] = twin(tensor, parameter=False)
    del originals


def four_bit_weight(rows: int, columns: int) -> Any:
    """A fake nf4 weight with double quantization: half a byte a value, a byte for every 64, fp32 for 256 of those."""
    from bitsandbytes.functional import QuantState

    def empty(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.empty(*shape, dtype=dtype, device=DEVICE)

    count = rows * columns
    scales = -(-count // 64)
    nested = QuantState(absmax=empty(-(-scales // 256)), code=empty(256), blocksize=256, dtype=torch.float32)
    weight = torch.nn.Parameter(empty(-(-count // 2), 1, dtype=torch.uint8), requires_grad=False)
    weight.bnb_quantized = True  # type: ignore[attr-defined]
    weight.quant_state = QuantState(  # type: ignore[attr-defined]
        absmax=empty(scales, dtype=torch.uint8),
        shape=torch.Size((rows, columns)),
        dtype=torch.bfloat16,
        code=empty(16),
        blocksize=64,
        quant_type="nf4",
        offset=empty(1),
        state2=nested,
    )
    return weight


def eight_bit_weight(rows: int, columns: int) -> Any:
    """A fake weight of LLM.int8: a byte a value, a scale in fp32 for each row."""
    weight = torch.nn.Parameter(torch.empty(rows, columns, dtype=torch.int8, device=DEVICE), requires_grad=False)
    weight.CB, weight.SCB = weight.data, torch.empty(rows, dtype=torch.float32, device=DEVICE)  # type: ignore[attr-defined]
    return weight


def make_optimizer(model: Any, step: Step) -> Any:
    """torch's optimizer; the implementation is forced, since torch would not choose foreach for fake tensors."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if step.optimizer == "adafactor":
        return Adafactor(parameters)
    if step.optimizer == "adafactor-torch":
        return torch.optim.Adafactor(parameters, foreach=step.optimizer_impl == "foreach")
    if step.optimizer == "muon":
        return _muon(model, step)
    how: dict[str, Any] = {"foreach": step.optimizer_impl == "foreach"}
    if step.optimizer_impl == "fused":
        how["fused"] = True
    if step.optimizer == "adamw":
        return torch.optim.AdamW(parameters, **how)
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9 if step.optimizer == "sgd-momentum" else 0.0, **how)


def step_in_backward(model: Any, optimizer: Any) -> list[Any]:
    """Hooks that let each parameter step, with the states it has, once its gradient is whole, and let go of that.

    As PyTorch's tutorial on the optimizer step in backward has it: one optimizer for each parameter.
    """
    handles, taken = [], signature(type(optimizer)).parameters
    options = {name: value for name, value in optimizer.defaults.items() if name in taken}
    for parameter in model.parameters():
        if not parameter.requires_grad:
            continue
        own = type(optimizer)([parameter], **options)
        own.state[parameter] = optimizer.state[parameter]

        def then(tensor: Any, own: Any = own) -> None:
            own.step()
            tensor.grad = None

        handles.append(parameter.register_post_accumulate_grad_hook(then))
    return handles


class _Both:
    """Two optimizers that step one after the other."""

    def __init__(self, *optimizers: Any) -> None:
        self.optimizers = optimizers

    def step(self) -> None:
        for optimizer in self.optimizers:
            optimizer.step()

    def zero_grad(self) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad()


def _muon(model: Any, step: Step) -> _Both:
    """torch's Muon for the matrices of the blocks, AdamW for the rest."""
    inside = {id(parameter) for block in blocks_of(model) for parameter in block.parameters() if parameter.dim() == 2}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in trained if id(parameter) in inside]
    rest = [parameter for parameter in trained if id(parameter) not in inside]
    return _Both(torch.optim.Muon(matrices), torch.optim.AdamW(rest, foreach=step.optimizer_impl == "foreach"))


def blocks_of(model: Any) -> list[torch.nn.Module]:
    """The repeated blocks that checkpointing works on, in order."""
    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]


def encoder_blocks(model: Any) -> int:
    """How many of the blocks, the first ones, are the encoder's of an encoder-decoder, or of images."""
    if not getattr(model.config, "is_encoder_decoder", False):
        return len(tower_blocks(model))
    return sum(
        isinstance(module, GradientCheckpointingLayer) and "encoder" in name.split(".")
        for name, module in model.named_modules()
    )


@contextlib.contextmanager
def marked(model: Any, log: MemoryLog) -> Iterator[None]:
    """Marks the log: "forward i" where block i starts, "head" where the last one ends, "backward head" where the
    gradient of the last block's output is known, and "backward i" where that of block i's input is. Of an
    encoder-decoder also "bridge" and "backward bridge": the same of the encoder's last block."""
    blocks = blocks_of(model)
    encoders = encoder_blocks(model)
    first_pass = True

    def enter(index: int) -> Callable[..., None]:
        def hook(module: Any, args: Any, kwargs: Any) -> None:
            if first_pass:
                log.mark(f"forward {index}")
                hidden = args[0] if args else kwargs["hidden_states"]
                if hidden.requires_grad:
                    hidden.register_hook(lambda _grad: log.mark(f"backward {index}"))
                elif encoders and index == encoders:
                    _mark_with_last_gradient(module, log, f"backward {index}")

        return hook

    def leave(_module: Any, _args: Any, output: Any) -> None:
        nonlocal first_pass
        if first_pass:  # checkpointing runs the blocks once more, in the backward pass
            first_pass = False
            note(output, "head")

    def cross(_module: Any, _args: Any, output: Any) -> None:
        if first_pass:
            note(output, "bridge")

    def note(output: Any, name: str) -> None:
        log.mark(name)
        hidden = output[0] if isinstance(output, tuple) else output
        if hidden.requires_grad:
            hidden.register_hook(lambda _grad: log.mark(f"backward {name}"))

    handles = [block.register_forward_pre_hook(enter(i), with_kwargs=True) for i, block in enumerate(blocks)]
    handles.append(blocks[-1].register_forward_hook(leave))
    if encoders:
        handles.append(blocks[encoders - 1].register_forward_hook(cross))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _mark_with_last_gradient(block: torch.nn.Module, log: MemoryLog, name: str) -> None:
    """For a decoder whose embedding is frozen: its first block's backward pass is over with its last own gradient."""
    waiting = {id(parameter) for parameter in block.parameters() if parameter.requires_grad}

    def arrived(parameter: torch.Tensor) -> None:
        waiting.discard(id(parameter))
        if not waiting:
            log.mark(name)

    for parameter in block.parameters():
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(arrived)


def record(model_type: str, config: dict[str, Any], step: Step, *, encoder: bool = False) -> MemoryLog:
    """The log of one forward and backward pass, with marks."""
    with kernels_in_place(step.kernels, model_type):
        model = build(model_type, config, step, encoder=encoder)
        with pretend_training_gpu(MemoryLog(trained_shapes(model))) as log, marked(model, log):
            move_to_gpu(model)
            forward_and_backward(model, step, log)
    return log


def forward_and_backward(model: Any, step: Step, log: MemoryLog) -> None:
    """Forward with the model's own loss, then backward; marked "start", "loss" (the forward pass is done), "end"."""
    if not step.images:
        given = inputs_of(model, step)
    log.mark("start")
    with values_kept(step):
        if step.images:  # pixels are of the step
            given = inputs_of(model, step)
        with autocast(step.precision == "mixed"):
            loss = model(**given).loss
        log.mark("loss")
        loss.backward()
        del loss
    log.mark("end")


def values_kept(step: Step) -> Any:
    """What a step with images runs in: its shapes follow from the values of whole numbers."""
    return ValuesKept() if step.images else contextlib.nullcontext()


def inputs_of(model: Any, step: Step) -> dict[str, Any]:
    """A batch: every token has a label and none is padding."""
    if step.images:
        return image_inputs(model, step.batch, step.context, step.images, step.image_size)
    ids = torch.ones(step.batch, step.context, dtype=torch.long, device=DEVICE)
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    each = torch.ones(step.batch, dtype=torch.long, device=DEVICE)
    if step.head == "ForQuestionAnswering":
        return {**given, "start_positions": each, "end_positions": each}
    return {**given, "labels": each if step.head == "ForSequenceClassification" else ids}


def _first_step(model: Any, optimizer: Any, step: Step, *, whole: bool) -> None:
    """Make the optimizer's states: by a whole step, or of gradients that no pass has made."""
    if whole:
        with values_kept(step):
            with autocast(step.precision == "mixed"):
                loss = model(**inputs_of(model, step)).loss
            loss.backward()
    else:
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.empty_like(parameter)
    optimizer.step()
    optimizer.zero_grad()


def measure(
    model_type: str, config: dict[str, Any], step: Step, *, encoder: bool = False, whole: bool = False
) -> dict[str, int]:
    """Peak bytes of each phase of the second step, when the optimizer's states exist; and what lives between steps.

    Args:
        whole: the first step has its passes, too; then also what torch's allocator reserves after both, "reserved".
    """
    with kernels_in_place(step.kernels, model_type):
        return _measure(build(model_type, config, step, encoder=encoder), step, whole=whole)


def _measure(model: Any, step: Step, *, whole: bool) -> dict[str, int]:
    """`measure` of a model that is built."""
    with pretend_training_gpu(MemoryLog(trained_shapes(model))) as log:
        move_to_gpu(model)
        weights = log.live
        optimizer = make_optimizer(model, step)
        _first_step(model, optimizer, step, whole=whole)
        between = log.live
        peaks = {"weights": weights, "optimizer_states": between - weights}
        handles = step_in_backward(model, optimizer) if step.optimizer_in_backward else []

        def phase(name: str) -> None:
            peaks[name] = log.peak
            log.reset_peak()

        log.reset_peak()
        with values_kept(step):
            given = inputs_of(model, step)
            with autocast(step.precision == "mixed"):
                loss = model(**given).loss
            phase("forward")
            loss.backward()
            del loss
            phase("backward")
        peaks["gradients"] = log.live - between
        if not handles:
            optimizer.step()
        phase("optimizer")
        peaks["peak"] = max(peaks[name] for name in ("forward", "backward", "optimizer"))
        if whole:
            peaks["reserved"] = replay(log.events, log.births).reserved
        optimizer.zero_grad()
        del optimizer
    return peaks
