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


def _options(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


source_options = _options(
    click.option("--revision", metavar="REV", help="Branch, tag or commit. Default: main."),
    click.option("--token", metavar="TOKEN", help="Token of the Hub. Default: HF_TOKEN, or the saved login."),
    click.option("--offline", is_flag=True, help="Ask no server: caches and bundled snapshots only."),
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
        help="Precision of the weights: stored, fp32, bf16, fp16, fp8, int8, int4.",
    ),
    click.option("--kv-dtype", metavar="TYPE", help="Precision of the KV cache. Default: what the model computes in."),
)

GPU_HELP = "'RTX 4090', 4xH100, 24GiB, or auto for this machine's; may be repeated."
serving_options = _options(
    click.option(
        "--engine",
        type=click.Choice(["transformers", "vllm", "sglang"]),
        default="transformers",
        show_default=True,
        help="Whose memory accounting to follow; vllm and sglang need a --gpu.",
    ),
    click.option("--engine-version", "version", metavar="X.Y", help="Of vLLM. Default: the newest that is known."),
    click.option(
        "--tp", "tensor_parallel", type=click.IntRange(1), metavar="N", help="Tensor parallel. Default: all cards."
    ),
    click.option(
        "--pp", "pipeline_parallel", type=click.IntRange(1), metavar="N", help="Pipeline parallel. Default: 1."
    ),
    click.option("--gpu-memory-utilization", type=float, metavar="SHARE", help="vLLM's share of the card."),
    click.option("--max-num-batched-tokens", type=click.IntRange(1), metavar="N", help="vLLM's tokens a step."),
    click.option("--max-num-seqs", type=click.IntRange(1), metavar="N", help="vLLM's sequences a step."),
    click.option("--enforce-eager", is_flag=True, default=None, help="vLLM without CUDA graphs."),
    click.option("--mem-fraction-static", type=float, metavar="SHARE", help="SGLang's static share of the card."),
)
SERVING_NAMES = (
    "version",
    "tensor_parallel",
    "pipeline_parallel",
    "gpu_memory_utilization",
    "max_num_batched_tokens",
    "max_num_seqs",
    "enforce_eager",
    "mem_fraction_static",
)
training_options = _options(
    click.option(
        "--method",
        type=click.Choice(["full", "lora"]),
        default="full",
        show_default=True,
        help="All parameters, or adapters on all linear layers of the blocks.",
    ),
    click.option(
        "--precision",
        type=click.Choice(["bf16", "fp32", "mixed"]),
        default="bf16",
        show_default=True,
        help="Of what trains; mixed: autocast to bf16 with fp32 weights.",
    ),
    click.option(
        "--optimizer",
        type=click.Choice(["adamw", "adamw-8bit", "sgd", "sgd-momentum"]),
        default="adamw",
        show_default=True,
        help="Optimizer; the 8-bit one is bitsandbytes'.",
    ),
    click.option(
        "--optimizer-impl",
        type=click.Choice(["foreach", "for-loop", "fused"]),
        default="foreach",
        show_default=True,
        help="torch's variant of it.",
    ),
    click.option(
        "--attention",
        type=click.Choice(["sdpa", "eager", "flash"]),
        default="sdpa",
        show_default=True,
        help="Attention implementation of transformers.",
    ),
    click.option(
        "--checkpointing",
        type=click.Choice(["none", "full"]),
        default="none",
        show_default=True,
        help="Gradient checkpointing of every block.",
    ),
    click.option(
        "--lora-rank", type=click.IntRange(1, 2**16), default=16, show_default=True, help="Rank of the adapters."
    ),
    click.option(
        "--trainable",
        "trainable_parameters",
        type=click.IntRange(0),
        metavar="N",
        help="Trainable parameters, for --formulas article. Default: all.",
    ),
)
formulas_option = click.option(
    "--formulas",
    type=click.Choice(["exact", "article"]),
    default="exact",
    show_default=True,
    help="exact, or the article's rules of thumb, for comparison.",
)
output_options = _options(
    click.option("--explain", is_flag=True, help="Show each formula with the numbers in it, and its source."),
    click.option(
        "--format",
        "output",
        type=click.Choice(["text", "json", "csv", "markdown"]),
        default="text",
        show_default=True,
        help="How to print.",
    ),
    click.option("--json", "output", flag_value="json", help="Short for --format json."),
)
