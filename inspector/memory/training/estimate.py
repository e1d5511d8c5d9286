"""What training/ takes and hands on: a `TrainingSetup`, and a `TrainingEstimate` of the step's peak on one GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from inspector.errors import UsageError, known_hint
from inspector.memory.estimate import ImageSettings, Part, Workload
from inspector.memory.inference.total import OVERHEAD_BYTES
from inspector.memory.training.layout import Proposal
from inspector.memory.training.objectives.objective import LogitBytes
from inspector.memory.training.objectives.settings import ObjectiveSetup
from inspector.memory.training.optimizers_by_source import BY_SOURCE
from inspector.memory.training.sharding import Sharding
from inspector.settings import setting, settings_of

ADAPTER_METHODS = frozenset({"lora", "qlora"})
"""Methods that train adapters, not the model's own parameters."""
OPTIMIZERS = (
    "adamw",
    "adamw-8bit",
    "paged-adamw",
    "paged-adamw-8bit",
    "sgd",
    "sgd-momentum",
    "adafactor",
    "adafactor-torch",
    "lion",
    "lion-8bit",
    "paged-lion",
    "paged-lion-8bit",
    "muon",
    "galore",
    "apollo",
    "torchao-adamw-8bit",
    "torchao-adamw-4bit",
    "torchao-adamw-fp8",
    *BY_SOURCE,
    "fp8-lm",
    "custom",
)


@dataclass(frozen=True, kw_only=True)
class TrainingSetup(ImageSettings, ObjectiveSetup):
    """How a model is trained.

    Attributes:
        method: "full", all parameters; "lora", low-rank adapters (arXiv 2106.09685) as peft puts them; "qlora", the
            same on a base in nf4 with double quantization (arXiv 2305.14314) as bitsandbytes has it; "frozen-except",
            the parameters whose names match `trained`.
        precision: "fp32"; "bf16", weights, gradients and states alike; "mixed", autocast to bf16 with fp32 weights,
            gradients and states (a frozen base stays in bf16; under qlora what is not quantized is fp32, as peft's
            prepare_model_for_kbit_training has it); "bf16-master", bf16 weights and gradients with an fp32 copy of
            the weights in the optimizer, as DeepSpeed keeps it.
        optimizer: torch's adamw, sgd, sgd-momentum, adafactor-torch, muon; transformers' adafactor; bitsandbytes'
            8-bit, paged and lion; galore, apollo; torchao's in 8 bits, 4 bits and fp8; those of `BY_SOURCE`; fp8-lm,
            moments in fp8 and fp16 (arXiv 2310.18313, MS-AMP); or custom, with `optimizer_bytes`.
        optimizer_impl: torch's `foreach`, `for-loop` or `fused` variant of AdamW, SGD and Adafactor; "auto", torch's
            own choice on a GPU: foreach, but for Adafactor the loop. Muon loops.
        attention: "sdpa", "eager", or "flash" (flash_attention_2).
        checkpointing: "full" keeps only the blocks' inputs and computes the rest again in the backward pass;
            "selective", so of every `checkpoint_every`-th block alone (torchtitan's selective with a number);
            "selective-op", with what every second matrix product and attention give (torchtitan's selective by op);
            "attention", scores and probabilities are computed again (Megatron-LM's selective, arXiv 2205.05198).
        reentrant: checkpointing runs blocks without a graph first (use_reentrant: true): only int8 layers differ.
        lora_rank: rank of the adapters.
        logits: "all", at once; "chunked", a chunk at a time in a fused linear cross entropy (Liger's);
            "chunked-loss", all in 16 bits, and the loss's fp32 copies a chunk at a time in compiled kernels
            (torchtune's CEWithChunkedOutputLoss); "compiled-loss", the same without chunks (torchtitan's, compiled).
        kernels: "liger", Liger Kernel's norms, rotary positions and MLPs; "xielu", the CUDA kernel of that activation.
        logits_chunk: for "chunked" and the model's own loss: GiB that a chunk's logits would take in fp32 (Unsloth's
            4); None for Liger's chunks.
        lora_targets: "all-linear", or names of modules with commas between.
        adapter_dtype: of the adapters; peft's default is fp32 (autocast_adapter_dtype).
        dora: adapters with a trained magnitude (arXiv 2402.09353).
        modules_to_save: modules outside the blocks that train beside the adapters, with commas between.
        trained: for "frozen-except", a glob over parameter names.
        optimizer_bytes: for "custom", bytes of state a trained parameter.
        optimizer_rank: rank of GaLore's and APOLLO's projections.
        optimizer_in_backward: each parameter steps as soon as its gradient is there, which is then let go of.
        checkpoint_every: for "selective".
        lora_dropout: of the adapters' inputs; any but 0 keeps its mask.
        double_quant: qlora's scales are quantized in turn (bnb_4bit_use_double_quant).
        kbit_upcast: under "mixed" what qlora leaves unquantized is fp32 (peft's prepare_model_for_kbit_training, which
            Axolotl undoes and LLaMA-Factory does not call); without, it stays in bf16.
        fp8: the blocks' linear layers multiply in fp8: by "torchao" (dynamic scaling), or Transformer Engine: "te", or
            "te-primary" on weights that are fp8 themselves (fp8_model_init).
        compiled: blocks run under torch.compile, each by itself, which keeps less for the backward pass.
        vision: what of a vision encoder and its projector trains: "frozen", nothing; "projector", that alone;
            "trained", all; "adapters", adapters on all its linear layers; "auto", all where all parameters train, else
            nothing.
        quantize_experts: qlora's base has its stacked experts in 4 bits, too (bitsandbytes' nn/parametrize.py).
        base: what qlora's base is quantized to: "nf4", or "int8" (LLM.int8(), arXiv 2208.07339; `load_in_8bit`).
        old_bitsandbytes: before 0.44, whose 4-bit layers keep their inputs for the backward pass, which needs none.
    """

    method: str = setting(
        "full",
        several=True,
        choices=("full", "lora", "qlora", "frozen-except"),
        help="All parameters; adapters on linear layers; adapters on a base in 4 bits; or what --train-only names.",
        docs="`full`; `lora`: adapters on linear layers; `qlora`: on a base in 4 bits; `frozen-except`: only what"
        " `--train-only` names",
    )
    trained: str = setting(
        "",
        option="--train-only",
        help="Patterns of parameter names, for --method frozen-except.",
        docs="patterns of parameter names, for `frozen-except`",
        metavar="GLOB",
    )
    precision: str = setting(
        "bf16",
        several=True,
        choices=("bf16", "fp32", "mixed", "bf16-master"),
        help="Precision of what trains; mixed: autocast to bf16 with fp32 weights; bf16-master: bf16 and an fp32 copy.",
        docs="`bf16`, `fp32`, `mixed` (autocast to bf16 with fp32 weights), `bf16-master` (bf16 with an fp32 copy)",
    )
    optimizer: str = setting(
        "adamw",
        several=True,
        choices=OPTIMIZERS,
        help="adamw, adamw-8bit, paged-adamw, paged-adamw-8bit, sgd, sgd-momentum, adafactor (transformers'),"
        " adafactor-torch, lion, lion-8bit, paged-lion, paged-lion-8bit, muon, galore, apollo, torchao-adamw-8bit,"
        f" torchao-adamw-4bit, torchao-adamw-fp8, {', '.join(BY_SOURCE)}, fp8-lm or custom.",
        docs=", ".join(f"`{name}`" for name in OPTIMIZERS) + "; `fp8-lm`: moments in fp8 and fp16, as MS-AMP has them",
        metavar="NAME",
    )
    optimizer_bytes: float | None = setting(
        None,
        rare=True,
        help="Bytes of state per parameter, for --optimizer custom.",
        docs="of state a parameter, for `--optimizer custom`",
        unit="bytes",
        metavar="N",
        least=0,
        most=1024,
    )
    optimizer_rank: int = setting(
        128, rare=True, help="Rank of galore's and apollo's projections.", least=1, most=2**16
    )
    optimizer_impl: str = setting(
        "auto",
        rare=True,
        choices=("auto", "foreach", "for-loop", "fused"),
        help="Variant of torch's AdamW or Adafactor. auto: foreach, for Adafactor the loop.",
        docs="torch's variant of AdamW and Adafactor: `foreach`, `for-loop`, `fused`; `auto`: `foreach`, for Adafactor"
        " `for-loop`, as torch chooses",
    )
    fp8: str = setting(
        "none",
        rare=True,
        choices=("none", "torchao", "te", "te-primary"),
        help="Linear layers of the blocks by torchao or Transformer Engine; te-primary: on weights in fp8.",
        docs="the blocks' linear layers in fp8, by `torchao`, or by Transformer Engine: `te`, or `te-primary` on"
        " weights in fp8 with `--precision bf16-master`",
    )
    compiled: bool = setting(
        False,
        option="--compile",
        help="Each block under torch.compile, which keeps less for the backward pass.",
        docs="each block under `torch.compile`, which keeps less for the backward pass; measured for plain gated"
        " decoders, else a bound",
    )
    optimizer_in_backward: bool = setting(False, rare=True, help="Each parameter steps when its gradient is there.")
    attention: str = setting(
        "sdpa",
        choices=("sdpa", "eager", "flash"),
        help="Attention implementation of transformers.",
        docs="transformers' implementation: `sdpa`, `eager`, `flash`",
    )
    checkpointing: str = setting(
        "none",
        several=True,
        choices=("none", "full", "selective", "selective-op", "attention"),
        help="Gradient checkpointing of every block, every K-th block (selective), all but attention and every second"
        " matrix product (selective-op), or eager attention's scores alone.",
        docs="gradient checkpointing: `none`, `full`, `selective` (every `--checkpoint-every`-th block, torchtitan's),"
        " `selective-op` (what attention and every second matrix product give is kept, torchtitan's), or `attention`"
        " (eager attention's scores alone, Megatron-LM's selective)",
    )
    checkpoint_every: int = setting(
        2,
        help="The K of --checkpointing selective.",
        docs="for `selective`",
        metavar="K",
        least=1,
        most=2**16,
        rare=True,
    )
    logits: str = setting(
        "all",
        rare=True,
        choices=("all", "chunked", "chunked-loss", "compiled-loss"),
        help="Logits all at once; by chunks in a fused linear cross entropy (Liger); upcast by chunks (torchtune); or"
        " upcast within a compiled loss.",
        docs="`all` at once; `chunked`: a fused linear cross entropy (Liger); `chunked-loss`: all in the model's"
        " precision, upcast a chunk at a time by a compiled loss (torchtune); `compiled-loss`: the same in one piece"
        " (torchtitan)",
    )
    logits_chunk: float | None = setting(
        None,
        rare=True,
        help="For --logits chunked: GiB of a chunk's logits in fp32 (Unsloth: 4). Default: Liger's chunks.",
        docs="for `--logits chunked`: GiB that a chunk's logits would take in fp32 (Unsloth: 4); else Liger's chunks",
        unit="GiB",
        metavar="N",
        least=0.001,
        most=1024,
    )
    kernels: str = setting(
        "none",
        rare=True,
        choices=("none", "liger", "xielu"),
        help="Fused kernels of another package in the blocks: Liger's norms, rotary positions and MLPs; or xIELU's.",
        docs="fused kernels in the blocks, of another package: `liger`, Liger Kernel's norms, rotary positions and MLPs"
        " (its loss is `--logits chunked`); `xielu`, that of Apertus's activation",
    )
    reentrant: bool = setting(
        False,
        rare=True,
        help="Checkpointing with use_reentrant: true, which lets go of what a base in int8 keeps.",
        docs="checkpointing with `use_reentrant: true`, which lets go of what the layers of `--base int8` keep of their"
        " inputs; without it they keep them",
    )
    lora_rank: int = setting(16, help="Rank of the adapters.", least=1, most=2**16, several=True)
    lora_targets: str = setting(
        "all-linear",
        help="Modules with adapters: all-linear, or names such as q_proj,v_proj.",
        docs="modules with adapters: `all-linear`, or names such as `q_proj,v_proj`",
        metavar="NAMES",
    )
    adapter_dtype: str = setting(
        "fp32",
        rare=True,
        choices=("fp32", "bf16"),
        help="Precision of the adapters; peft's default is fp32.",
        docs="precision of the adapters; peft's default is `fp32`",
    )
    lora_dropout: float = setting(
        0.0,
        help="Dropout before the adapters.",
        docs="of the adapters' inputs",
        metavar="P",
        least=0,
        most=1,
        rare=True,
    )
    double_quant: bool = setting(
        True,
        rare=True,
        option="--no-double-quant",
        help="Do not quantize qlora's scales in turn.",
    )
    quantize_experts: bool = setting(
        False,
        rare=True,
        help="Stacked experts of qlora's base are in 4 bits, too, and unpacked a block at a time.",
        docs="stacked experts of qlora's base are in 4 bits, too, and unpacked a block at a time (Axolotl's"
        " `quantize_moe_experts`)",
    )
    kbit_upcast: bool = setting(
        True,
        rare=True,
        option="--no-kbit-upcast",
        help="What qlora leaves unquantized stays in bf16 under --precision mixed.",
        docs="what qlora leaves unquantized (embeddings, norms, head) stays in bf16 under `--precision mixed`, as"
        " Axolotl and LLaMA-Factory have it; peft's `prepare_model_for_kbit_training` makes it fp32",
    )
    base: str = setting(
        "nf4",
        option="--base",
        choices=("nf4", "int8"),
        help="What qlora's base is quantized to: nf4, or int8 (LLM.int8(), load_in_8bit).",
        docs="what qlora's base is quantized to: `nf4`, or `int8` (LLM.int8(), `load_in_8bit`)",
    )
    old_bitsandbytes: bool = setting(
        False,
        rare=True,
        help="bitsandbytes before 0.44, whose 4-bit layers keep their inputs.",
        docs="bitsandbytes before 0.44, whose 4-bit layers keep their inputs",
    )
    vision: str = setting(
        "auto",
        rare=True,
        choices=("auto", "frozen", "projector", "trained", "adapters"),
        help="What of a vision encoder and its projector trains. auto: all with --method full, else nothing.",
        docs="what of a vision encoder and its projector trains: `frozen`, nothing; `projector`, that alone; `trained`,"
        " all; `adapters`, those on all its linear layers (peft's own `all-linear`); `auto`: all where all parameters"
        " train, else nothing",
    )
    dora: bool = setting(False, rare=True, help="Adapters with a trained magnitude (DoRA).")
    modules_to_save: str = setting(
        "",
        rare=True,
        help="Modules that train whole beside the adapters: lm_head,embed_tokens.",
        docs="modules that train whole beside the adapters: `lm_head,embed_tokens`",
        metavar="NAMES",
    )

    def __post_init__(self) -> None:
        """Refuse what no run can have."""
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise UsageError(f"unknown {name.replace('_', ' ')} '{value}'", known_hint(value, choices))
        self._check_optimizer()
        self._check_method()
        self._check_passes()
        self.check_objective(adapters=self.adapters, logits=self.logits)
        if self.aim.logits and self.logits == "all":
            _ = self.logit_bytes  # refuses what is not known

    def _check_optimizer(self) -> None:
        if self.lora_rank < 1 or self.optimizer_rank < 1:
            raise UsageError("a rank must be at least 1")
        if self.optimizer_rank != 128 and self.optimizer not in ("galore", "apollo"):
            raise UsageError("--optimizer-rank is of galore's and apollo's projections", "Add --optimizer galore.")
        if (self.optimizer == "custom") != (self.optimizer_bytes is not None):
            raise UsageError(
                "a custom optimizer takes its bytes a parameter", "--optimizer custom --optimizer-bytes 6."
            )
        if self.optimizer_bytes is not None and not 0 <= self.optimizer_bytes <= 1024:
            raise UsageError("bytes of optimizer state a parameter must be between 0 and 1024")
        entry = BY_SOURCE.get(self.optimizer)
        if entry is not None and entry.precision == "fp32" and self.trained_bytes != 4:
            raise UsageError(f"{self.optimizer} steps no bf16 parameters", "Use --precision fp32 or mixed.")
        if self.variant == "fused" and self.optimizer == "adafactor-torch":
            raise UsageError("torch's Adafactor has no fused variant", "Leave out --optimizer-impl.")
        if self.optimizer_in_backward and self.precision == "bf16-master":
            raise UsageError("an optimizer in the backward pass keeps no masters", "Use --precision bf16.")

    def _check_method(self) -> None:
        """What trains, and in what precision."""
        if self.precision == "fp32" and self.method == "qlora":
            raise UsageError("qlora computes in bf16", "Use --precision bf16, or mixed for autocast.")
        if (self.method == "frozen-except") != bool(self.trained):
            raise UsageError(
                "frozen-except takes a pattern of parameter names",
                "E.g. --method frozen-except --train-only '*.norm*'.",
            )
        if self.precision == "bf16-master" and self.adapters:
            raise UsageError("adapters have no masters: they are fp32 themselves", "Use --precision bf16 or mixed.")
        if self.fp8 != "none" and (self.method != "full" or self.precision == "fp32"):
            raise UsageError(
                "fp8 is known where all parameters train and the rest is bf16", "Use --method full --precision bf16."
            )
        if self.fp8 == "te-primary" and self.precision != "bf16-master":
            raise UsageError("weights in fp8 have fp32 masters in the optimizer", "Add --precision bf16-master.")
        if not 0 <= self.lora_dropout < 1:
            raise UsageError("a dropout must be at least 0 and less than 1")
        if not self.adapters and (
            self.dora
            or self.modules_to_save
            or self.lora_targets != "all-linear"
            or self.lora_rank != 16
            or self.adapter_dtype != "fp32"
            or self.lora_dropout
        ):
            raise UsageError("these settings are of adapters", "Add --method lora or qlora.")
        if self.vision == "adapters" and not self.adapters:
            raise UsageError("--vision adapters is of adapters", "Add --method lora or qlora.")
        if self.vision in ("projector", "trained") and self.method != "full":
            raise UsageError(
                f"--vision {self.vision} trains parameters of the model itself",
                "Add --method full, or --vision adapters; --modules-to-save trains modules beside adapters.",
            )
        if self.method != "qlora" and (self.old_bitsandbytes or not (self.double_quant and self.kbit_upcast)):
            raise UsageError("these settings are of a base in 4 bits", "Add --method qlora.")
        if self.quantize_experts and (self.method != "qlora" or self.base != "nf4"):
            raise UsageError("experts in 4 bits are of a base in 4 bits", "Add --method qlora.")
        if self.quantize_experts and self.checkpointing != "full":
            raise UsageError("without checkpointing every block's experts stay unpacked", "Add --checkpointing full.")
        if self.base != "nf4" and (self.method != "qlora" or self.old_bitsandbytes or not self.double_quant):
            raise UsageError("a base in int8 is of qlora, without what is set of 4 bits", "Add --method qlora.")
        if self.adapter_dtype == "bf16" and (self.dora or self.precision != "bf16"):
            raise UsageError("adapters in bf16 are known with --precision bf16 and without --dora alone")

    def _check_passes(self) -> None:
        """How the passes compute, and what they keep."""
        if self.logits_chunk is not None and self.logits != "chunked":
            raise UsageError("--logits-chunk is of chunked logits", "Add --logits chunked.")
        if self.precision == "fp32" and self.attention == "flash":
            raise UsageError("flash attention computes in 16 bits only", "Use --precision bf16 or mixed.")
        whole = self.method == "full" or (self.method == "lora" and self.adapter_dtype == "bf16" and not self.dora)
        computes = self.compute in ("bf16", "mixed")  # "mixed" over FSDP alone: see training_estimate
        if self.compiled and (not whole or not computes or self.attention == "eager" or self.lora_dropout):
            raise UsageError(
                "what compiled blocks keep is known in bf16, with sdpa, where all parameters or adapters in bf16 train",
                "Leave out --compile: without it the estimate is a bound.",
            )
        if self.checkpoint_every < 1 or (self.checkpoint_every != 2 and self.checkpointing != "selective"):
            raise UsageError(
                "--checkpoint-every is of selective checkpointing", "--checkpointing selective --checkpoint-every 3."
            )
        if self.checkpointing == "selective-op" and (self.method != "full" or self.attention == "eager"):
            raise UsageError(
                "selective-op is known where all parameters train, with sdpa or flash attention", "Use --method full."
            )
        if self.checkpointing == "attention" and self.attention != "eager":
            raise UsageError("sdpa and flash attention keep no scores to compute again", "Add --attention eager.")
        if self.logits == "chunked-loss" and self.precision == "mixed":
            raise UsageError("chunked-loss is known without autocast", "Use --precision bf16 or fp32.")

    @property
    def adapters(self) -> bool:
        """Whether adapters train, and the model's own parameters do not."""
        return self.method in ADAPTER_METHODS

    @property
    def in_tiles(self) -> bool:
        """Whether an objective's head makes its logits a tile at a time: always where its loss has no other way."""
        return self.logits == "chunked" or bool(self.aim.fused and not self.aim.logits)

    @property
    def vision_part(self) -> str:
        """What of the vision part trains: "frozen", "projector", "trained" or "adapters"."""
        return ("trained" if self.method == "full" else "frozen") if self.vision == "auto" else self.vision

    @property
    def reference_model(self) -> str:
        """Where the objective's reference model is: "copy", "adapters-off", "precomputed" or "none"."""
        return self.aim.reference(self.reference, adapters=self.adapters)

    @property
    def logit_bytes(self) -> LogitBytes:
        """What the objective's loss over whole logits holds.

        Raises:
            UsageError: in this precision that is not known.
        """
        if self.outputs not in self.aim.logits:
            known = ", ".join(self.aim.logits)
            raise UsageError(
                f"what {self.objective} holds of logits in {self.outputs} is not known", f"Known: {known}."
            )
        return self.aim.logits[self.outputs]

    @property
    def prompt_bytes(self) -> LogitBytes | None:
        """The same of every token, where an objective makes logits of prompts, too."""
        return self.aim.prompts.get(self.outputs)

    @property
    def outputs(self) -> str:
        """The precision by which what the loss holds of logits is told: that of the passes and of what they return."""
        return "mixed" if self.fp32_outputs and self.compute == "bf16" else self.compute

    @property
    def variant(self) -> str:
        """torch's variant that the optimizer steps by; Adafactor takes foreach only where it is asked to."""
        if self.optimizer_impl != "auto":
            return self.optimizer_impl
        return "for-loop" if self.optimizer == "adafactor-torch" else "foreach"

    @property
    def trained_bytes(self) -> int:
        """Bytes of one parameter that trains, of its gradient, and of each of its full-size torch states."""
        if self.adapters:
            return 4 if self.adapter_dtype == "fp32" else 2
        return 2 if self.precision in ("bf16", "bf16-master") else 4

    @property
    def frozen_bytes(self) -> int:
        """Bytes of one parameter that does not train and is not quantized."""
        upcast = self.method == "frozen-except" or (self.method == "qlora" and self.kbit_upcast)
        return 4 if self.precision == "fp32" or (self.precision == "mixed" and upcast) else 2

    @property
    def compute(self) -> str:
        """The precision whose activations are kept: that of the table's entries."""
        return "bf16" if self.precision == "bf16-master" else self.precision


CHOICES: Mapping[str, tuple[str, ...]] = {
    name: each.about.values() for name, each in settings_of(TrainingSetup).items() if each.about.choices
}
"""Every choice of a `TrainingSetup` and what it may be, the default first."""


@dataclass(frozen=True, slots=True, repr=False)
class TrainingEstimate:
    """Memory of one training step on one GPU, in bytes.

    Attributes:
        workload: context, batch and formulas.
        setup: how it is trained.
        trainable_parameters: those that the optimizer changes; None where the adapters' are not known.
        parts: what lives at the peak; they sum to it.
        peak: None where a part is unknown.
        peak_phase: the phase with the peak: forward, loss, backward or optimizer. None under the article's formulas.
        phases: phase -> its own peak.
        inference_bytes: what the ratio is taken of: the weights at inference, or the article's inference total.
        warnings: what the reader of the numbers should know.
        reserved: what torch's caching allocator holds at its most, on the GPU where that is most; None where no rule
            is known (inspector.memory.training.reserved).
        reserved_range: where that is the median of replayed steps, their 10th and 90th percentile.
        measured: what `--measure` found: weights, optimizer_states, the peak of each pass, and the peak of all.
        sharding: over how many GPUs; all sizes are those of the fullest one.
        off_gpu: what its process keeps elsewhere: parts "host_memory" and "disk".
        layout: where one was asked for: what is proposed for a number of GPUs, of which this is the one with the least
            memory (inspector.advice.layouts).
    """

    workload: Workload
    setup: TrainingSetup
    trainable_parameters: int | None
    parts: tuple[Part, ...]
    peak_phase: str | None = None
    phases: Mapping[str, int] = field(default_factory=dict)
    inference_bytes: int | None = None
    warnings: tuple[str, ...] = ()
    sharding: Sharding = field(default_factory=Sharding)
    measured: Mapping[str, int] = field(default_factory=dict)
    off_gpu: tuple[Part, ...] = ()
    reserved: int | None = None
    reserved_range: tuple[int, int] | None = None
    layout: Proposal | None = None

    def __repr__(self) -> str:
        peak = "unknown" if self.peak is None else f"{self.peak / 2**30:.2f} GiB"
        tokens = f"{self.workload.context:,} tokens x {self.workload.batch:,}"
        return f"<TrainingEstimate {self.setup.method}, {tokens}: peak {peak}>"

    @property
    def optimizer(self) -> str:
        return self.setup.optimizer

    @property
    def peak(self) -> int | None:
        total = 0
        for part in self.parts:
            if part.bytes is None:
                return None
            total += part.bytes
        return total

    @property
    def ratio_to_inference(self) -> float | None:
        """Peak over `inference_bytes`; the article's rule of thumb puts it at 4 to 6."""
        if self.peak is None or not self.inference_bytes:
            return None
        return self.peak / self.inference_bytes

    @property
    def device_used(self) -> int | None:
        """What nvidia-smi shows of one GPU, about: what is reserved, and CUDA's context and libraries. None with
        several GPUs: NCCL's buffers are 9.2 MiB a connection and channel (NVIDIA/nccl 5067397, src/init.cc), and how
        many of these it opens depends on links and GPUs."""
        if self.reserved is None or self.sharding.cards > 1:
            return None
        return self.reserved + OVERHEAD_BYTES

    def part(self, name: str) -> Part | None:
        """The part of that name, where there is one."""
        return next((part for part in (*self.parts, *self.off_gpu) if part.name == name), None)
