"""The options that commands share, in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

_K = 1024


class TokenCount(click.ParamType[int]):
    """A number of tokens: 4096, 8k (8,192), 128k, 1m."""

    name = "tokens"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = str(value).strip().lower().replace(",", "").replace("_", "")
        factor = {"k": _K, "m": _K * _K}.get(text[-1:], 1)
        digits = text[:-1] if factor > 1 else text
        if not digits.isascii() or not digits.isdigit() or not 1 <= int(digits) * factor <= 2**40:
            self.fail(f"'{value}' is no number of tokens; try 4096, 8k or 128k", param, ctx)
        return int(digits) * factor


class PictureSize(click.ParamType[tuple[int, int]]):
    """Width and height in pixels: 1024x768, or 1024 for a square."""

    name = "pixels"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        sides = str(value).lower().split("x") if not isinstance(value, tuple) else [str(side) for side in value]
        whole = [int(side) for side in sides if side.isascii() and side.isdigit() and len(side) < 6]
        if len(whole) != len(sides) or len(sides) > 2 or not all(1 <= side <= 2**16 for side in whole):
            self.fail(f"'{value}' is no size of a picture; try 1024x768, or 1024 for a square", param, ctx)
        return whole[0], whole[-1]


def _options(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


access_options = _options(
    click.option("--token", metavar="TOKEN", help="Token of the Hub. Default: HF_TOKEN, or the saved login."),
    click.option("--offline", is_flag=True, help="Ask no server: caches and bundled snapshots only."),
)
source_options = _options(
    click.option("--revision", metavar="REV", help="Branch, tag or commit. Default: main."), access_options
)
workload_options = _options(
    click.option(
        "--context",
        type=TokenCount(),
        help="Tokens a sequence; 8k and 128k work. Default: 4096, or the model's maximum.",
    ),
    click.option("--batch", type=click.IntRange(1, 2**40), default=1, show_default=True, help="Sequences at once."),
    click.option(
        "--dtype",
        default="stored",
        show_default=True,
        metavar="TYPE",
        help="Precision of the weights: stored, fp32, bf16, fp16, fp8, int8, int4; or a recipe, scales included:"
        " nf4, nf4-dq, fp4, awq, gptq, mxfp4, nvfp4.",
    ),
    click.option("--kv-dtype", metavar="TYPE", help="Precision of the KV cache. Default: what the model computes in."),
)
picture_options = _options(
    click.option(
        "--images",
        type=click.IntRange(0, 2**20),
        metavar="N",
        help="Pictures a sequence, for models that see (vLLM: the most). Default: one, if it fits the context.",
    ),
    click.option(
        "--image-size",
        type=PictureSize(),
        metavar="WxH",
        help="Of each, in pixels: 1024x768. Default: the largest that the model's processor makes.",
    ),
)

query_options = _options(
    click.option("--author", metavar="NAME", help="Ask the Hub for the models of this user or organization."),
    click.option("--search", metavar="WORDS", help="... for those with these words in their names."),
    click.option(
        "--filter", "filters", multiple=True, metavar="TAG", help="... for those with this tag; may be repeated."
    ),
    click.option("--pipeline-tag", metavar="TASK", help="... for those of this task: text-generation, ..."),
    click.option(
        "--collection", "collections", multiple=True, metavar="OWNER/SLUG", help="... for those of this collection."
    ),
    click.option(
        "--sort",
        type=click.Choice(["downloads", "likes", "created_at", "last_modified", "trending_score"]),
        help="What the Hub lists first: the most of this.",
    ),
    click.option(
        "--limit", type=click.IntRange(1), metavar="N", help="Models to take of the Hub's list. Default: 100."
    ),
)

GPU_HELP = "'RTX 4090', 4xH100, 24GiB, 'RTX 4090 + RTX 3060 12GB', or auto for this machine's; may be repeated."
serving_options = _options(
    click.option(
        "--engine",
        type=click.Choice(["transformers", "vllm", "sglang", "llama.cpp", "mlx"]),
        default="transformers",
        show_default=True,
        help="Whose memory accounting to follow; all but transformers need a --gpu.",
    ),
    click.option(
        "--engine-version",
        "version",
        metavar="X.Y",
        help="Of vLLM, or llama.cpp's build. Default: the newest that is known.",
    ),
    click.option(
        "--tp", "tensor_parallel", type=click.IntRange(1), metavar="N", help="Tensor parallel. Default: all cards."
    ),
    click.option(
        "--pp", "pipeline_parallel", type=click.IntRange(1), metavar="N", help="Pipeline parallel. Default: 1."
    ),
    click.option(
        "--dp", "data_parallel", type=click.IntRange(1), metavar="N", help="Data parallel replicas (vLLM). Default: 1."
    ),
    click.option(
        "--ep",
        "expert_parallel",
        type=click.IntRange(1),
        metavar="N",
        help="Ranks that whole experts are dealt out to (vLLM, SGLang): 1, or --tp times --dp. Default: 1.",
    ),
    click.option("--gpu-memory-utilization", type=float, metavar="SHARE", help="vLLM's share of the card."),
    click.option("--max-num-batched-tokens", type=click.IntRange(1), metavar="N", help="vLLM's tokens a step."),
    click.option("--max-num-seqs", type=click.IntRange(1), metavar="N", help="vLLM's sequences a step."),
    click.option("--enforce-eager", is_flag=True, default=None, help="vLLM without CUDA graphs."),
    click.option("--mem-fraction-static", type=float, metavar="SHARE", help="SGLang's static share of the card."),
    click.option(
        "--n-gpu-layers", type=click.IntRange(0), metavar="N", help="llama.cpp's layers on the cards. Default: all."
    ),
    click.option("--n-ubatch", type=click.IntRange(1), metavar="N", help="llama.cpp's tokens a step. Default: 512."),
    click.option("--cache-type-k", metavar="TYPE", help="llama.cpp's keys: f16 (default), q8_0, q4_0, ..."),
    click.option("--cache-type-v", metavar="TYPE", help="llama.cpp's values, likewise."),
    click.option(
        "--prefill-step-size", type=click.IntRange(1), metavar="N", help="mlx-lm's tokens a chunk of a prompt."
    ),
    click.option("--kv-bits", type=click.IntRange(1), metavar="N", help="mlx-lm's quantized cache: 8, 4, ... bits."),
    click.option("--kv-group-size", type=click.IntRange(1), metavar="N", help="mlx-lm's groups of it. Default: 64."),
    click.option(
        "--quantized-kv-start", type=click.IntRange(0), metavar="N", help="mlx-lm quantizes from here. Default: 5000."
    ),
)
SERVING_NAMES = (
    "version",
    "tensor_parallel",
    "pipeline_parallel",
    "data_parallel",
    "expert_parallel",
    "gpu_memory_utilization",
    "max_num_batched_tokens",
    "max_num_seqs",
    "enforce_eager",
    "mem_fraction_static",
    "n_gpu_layers",
    "n_ubatch",
    "cache_type_k",
    "cache_type_v",
    "prefill_step_size",
    "kv_bits",
    "kv_group_size",
    "quantized_kv_start",
)
training_options = _options(
    click.option(
        "--method",
        type=click.Choice(["full", "lora", "qlora", "frozen-except"]),
        default="full",
        show_default=True,
        help="All parameters; adapters on linear layers; adapters on a base in 4 bits; or those of --train-only.",
    ),
    click.option("--train-only", "trained", default="", metavar="GLOB", help="Parameter names, for frozen-except."),
    click.option(
        "--precision",
        type=click.Choice(["bf16", "fp32", "mixed", "bf16-master"]),
        default="bf16",
        show_default=True,
        help="Of what trains; mixed: autocast to bf16 with fp32 weights; bf16-master: bf16 and an fp32 copy.",
    ),
    click.option(
        "--optimizer",
        default="adamw",
        show_default=True,
        metavar="NAME",
        help="adamw, adamw-8bit, paged-adamw, paged-adamw-8bit, sgd, sgd-momentum, adafactor (transformers'),"
        " adafactor-torch, lion, lion-8bit, paged-lion, paged-lion-8bit, muon, galore, apollo, torchao-adamw-8bit,"
        " torchao-adamw-4bit, torchao-adamw-fp8, fp8-lm or custom.",
    ),
    click.option(
        "--optimizer-bytes", type=click.FloatRange(0, 1024), metavar="N", help="A parameter, for --optimizer custom."
    ),
    click.option(
        "--optimizer-rank",
        type=click.IntRange(1, 2**16),
        default=128,
        show_default=True,
        help="Rank of galore's and apollo's projections.",
    ),
    click.option(
        "--optimizer-impl",
        type=click.Choice(["foreach", "for-loop", "fused"]),
        default="foreach",
        show_default=True,
        help="torch's variant of AdamW.",
    ),
    click.option(
        "--fp8",
        type=click.Choice(["none", "torchao", "te", "te-primary"]),
        default="none",
        show_default=True,
        help="Linear layers of the blocks by torchao or Transformer Engine; te-primary: on weights in fp8.",
    ),
    click.option("--compile", "compiled", is_flag=True, help="Blocks under torch.compile, which keep less."),
    click.option("--optimizer-in-backward", is_flag=True, help="Each parameter steps when its gradient is there."),
    click.option(
        "--attention",
        type=click.Choice(["sdpa", "eager", "flash"]),
        default="sdpa",
        show_default=True,
        help="Attention implementation of transformers.",
    ),
    click.option(
        "--checkpointing",
        type=click.Choice(["none", "full", "selective", "attention"]),
        default="none",
        show_default=True,
        help="Of every block, of every K-th block (selective), or of eager attention's scores alone.",
    ),
    click.option(
        "--checkpoint-every",
        type=click.IntRange(1, 2**16),
        default=2,
        show_default=True,
        metavar="K",
        help="For --checkpointing selective.",
    ),
    click.option(
        "--logits",
        type=click.Choice(["all", "chunked", "chunked-loss"]),
        default="all",
        show_default=True,
        help="All at once; by chunks in a fused linear cross entropy (Liger); or upcast by chunks (torchtune).",
    ),
    click.option(
        "--lora-rank", type=click.IntRange(1, 2**16), default=16, show_default=True, help="Rank of the adapters."
    ),
    click.option(
        "--lora-targets",
        default="all-linear",
        show_default=True,
        metavar="NAMES",
        help="Modules with adapters: all-linear, or names such as q_proj,v_proj.",
    ),
    click.option(
        "--adapter-dtype",
        type=click.Choice(["fp32", "bf16"]),
        default="fp32",
        show_default=True,
        help="Of the adapters; peft's default is fp32.",
    ),
    click.option(
        "--lora-dropout", type=click.FloatRange(0, 1, max_open=True), default=0.0, metavar="P", help="Before adapters."
    ),
    click.option(
        "--no-double-quant",
        "double_quant",
        flag_value=False,
        is_flag=True,
        default=True,
        help="qlora's scales are not quantized in turn.",
    ),
    click.option("--old-bitsandbytes", is_flag=True, help="Before 0.44, whose 4-bit layers keep their inputs."),
    click.option("--dora", is_flag=True, help="Adapters with a trained magnitude (DoRA)."),
    click.option(
        "--modules-to-save", default="", metavar="NAMES", help="Modules that train whole beside: lm_head,embed_tokens."
    ),
    click.option("--ddp", type=click.IntRange(1), default=1, metavar="N", help="Data-parallel cards."),
    click.option("--bucket-view", is_flag=True, help="DDP's gradient_as_bucket_view."),
    click.option("--zero", type=click.IntRange(0, 3), help="Stage of DeepSpeed's ZeRO, over the cards of --ddp."),
    click.option(
        "--fsdp", type=click.IntRange(1), default=1, metavar="N", help="Cards of torch's fully_shard (FSDP2)."
    ),
    click.option("--fp8-gather", is_flag=True, help="FSDP gathers blocks in fp8, for --fp8 torchao."),
    click.option("--shard-embeddings", is_flag=True, help="Embedding and head are FSDP units of their own."),
    click.option("--hsdp", type=click.IntRange(1), default=1, metavar="N", help="Replicas of such a group."),
    click.option("--tp", type=click.IntRange(1), default=1, metavar="N", help="Tensor parallel."),
    click.option("--sp", is_flag=True, help="With sequence parallel beside it."),
    click.option("--pp", type=click.IntRange(1), default=1, metavar="N", help="Pipeline stages."),
    click.option(
        "--schedule", type=click.Choice(["1f1b", "gpipe"]), default="1f1b", show_default=True, help="Of a pipeline."
    ),
    click.option("--cp", type=click.IntRange(1), default=1, metavar="N", help="Context parallel."),
    click.option("--ep", type=click.IntRange(1), default=1, metavar="N", help="Expert parallel."),
    click.option("--grad-accum", type=click.IntRange(1), default=1, metavar="N", help="Microbatches a step."),
    click.option(
        "--offload",
        multiple=True,
        type=click.Choice(["optimizer", "params", "activations"]),
        help="To the CPU; may be repeated.",
    ),
    click.option(
        "--nvme",
        multiple=True,
        type=click.Choice(["optimizer", "params"]),
        help="To disk, by ZeRO-Infinity; may be repeated.",
    ),
    click.option(
        "--measure",
        is_flag=True,
        help="Also run the step with the real class under fake tensors: needs torch and a C++ compiler, no GPU.",
    ),
    click.option(
        "--trainable",
        "trainable_parameters",
        type=click.IntRange(0),
        metavar="N",
        help="Trainable parameters, for --formulas article. Default: all.",
    ),
)
SHARDING_NAMES = (
    *(
        "ddp",
        "bucket_view",
        "zero",
        "fsdp",
        "shard_embeddings",
        "fp8_gather",
        "hsdp",
        "tp",
        "sp",
        "pp",
        "cp",
        "ep",
        "grad_accum",
    ),
    *("schedule", "offload", "nvme"),
)
"""Options of `train` that are fields of `memory.training.Sharding`."""

formulas_option = click.option(
    "--formulas",
    type=click.Choice(["exact", "article"]),
    default="exact",
    show_default=True,
    help="exact, or the article's rules of thumb, for comparison.",
)


def with_serving(settings: dict[str, Any]) -> dict[str, Any]:
    """The options of the serving engines, those that were given, as the library takes them: one mapping."""
    serving = {name: settings.pop(name) for name in SERVING_NAMES}
    return settings | {"serving": {name: value for name, value in serving.items() if value is not None}}
