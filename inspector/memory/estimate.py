"""What memory/ hands on: an `Estimate`, a small tree of named parts that say what they are made of."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from inspector.memory.precision import RECIPE_NAMES
from inspector.settings import setting

Formulas = Literal["exact", "article"]


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What is asked of any run, of inference or of training.

    Attributes:
        context: tokens per sequence, prompt and answer together, as a number or "8k"; None for the smaller of 4,096 and
            the model's maximum.
        batch: sequences at once.
        dtype: the weights' precision: "stored", or a key of `precision.PRECISION_BITS` or `precision.RECIPES`.
        formulas: "exact" or "article".
    """

    context: int | str | None = setting(
        None,
        help="Tokens per sequence; 8k and 128k work. Default: 4096, or the model's maximum.",
        docs="tokens per sequence, `8k` and `128k` work; default the smaller of 4096 and the model's maximum",
        unit="tokens",
        least=1,
        most=2**40,
        reads="tokens",
        several=True,
    )
    batch: int = setting(
        1, help="Sequences at once.", docs="sequences at once; default 1", least=1, most=2**40, several=True
    )
    dtype: str = setting(
        "stored",
        help="Precision of the weights: stored, fp32, bf16, fp16, fp8, int8, int4; or a recipe, scales included: "
        + ", ".join(RECIPE_NAMES)
        + "; or, with --engine llama.cpp, a file type: Q4_K_M, Q8_0, IQ4_XS, ...",
        docs="the weights: `stored` (default); a precision, every weight alike (`fp32`, `bf16`, `fp16`, `fp8`, `int8`,"
        " `int4`); or a recipe with its scales and the parts that it leaves alone ("
        + ", ".join(f"`{name}`" for name in RECIPE_NAMES)
        + "); or a type of llama.cpp's quantize (`Q4_K_M`, `Q8_0`, `IQ4_XS`, `MXFP4_MOE`, ...:"
        " all of `llama-quantize`); with train for `--formulas article` alone",
        metavar="TYPE",
        several=True,
    )
    formulas: Formulas = setting(
        "exact",
        help="exact, or the rules of thumb of the article 'LLM System Requirements', for comparison.",
        docs="`exact`, or the rules of thumb of an [`article`](formulas.md#the-article), for comparison",
        choices=("exact", "article"),
        rare=True,
    )


@dataclass(frozen=True, kw_only=True)
class ImageSettings:
    """The images of a run, of inference or of training.

    Attributes:
        images: images in each sequence, for models that take some; None for one where its tokens fit the context.
        image_size: (width, height) of each in pixels; None for the largest that the processor's class makes.
    """

    images: int | None = setting(
        None,
        help="Images per sequence, with a vision encoder (vLLM: the most). Default: one, if it fits the context.",
        docs="images per sequence of a model with a vision encoder (vLLM: the most that a prompt may have); default"
        " one, if its tokens fit the context; `0` for text alone",
        least=0,
        most=2**20,
        metavar="N",
    )
    image_size: tuple[int, int] | None = setting(
        None,
        help="Size of an image in pixels: 1024x768. Default: the largest that the model's processor makes.",
        docs="their size, `1024x768`; default the largest that the model's processor makes by its class",
        unit="pixels",
        reads="pixels",
        metavar="WxH",
    )


@dataclass(frozen=True, kw_only=True)
class WorkloadSettings(ImageSettings, RunSettings):
    """What is asked of inference. A field here is an option of every command that tells what inference takes.

    Attributes:
        kv_dtype: the cache's precision, or None for the one the model computes in.
    """

    kv_dtype: str | None = setting(
        None,
        help="Precision of the KV cache. Default: what the model computes in.",
        docs="precision of the KV cache; default the one that the model computes in",
        metavar="TYPE",
        several=True,
    )


@dataclass(frozen=True)
class Workload(WorkloadSettings):
    """What is asked of one model: `WorkloadSettings` with the context filled in. Context and batch may go unnamed."""

    context: int = field()
    batch: int = 1


@dataclass(frozen=True, slots=True)
class Part:
    """One named share of memory.

    Attributes:
        name: "weights", "kv_cache", "activations", "overhead", or a sub-part's.
        bytes: None where it is not known; then `formula` says why.
        formula: the equation with the numbers put in.
        source: the paper, or the library and class, that the equation mirrors.
        parts: what it is the sum (or, where the formula says so, the maximum) of.
        low / high: of a measured cost, the least and the most that was seen; None for what is worked out.
    """

    name: str
    bytes: int | None
    formula: str
    source: str
    parts: tuple[Part, ...] = ()
    low: int | None = None
    high: int | None = None


@dataclass(frozen=True, repr=False)
class Estimate:
    """Memory of one model under one workload, in bytes, on one device.

    `total` is None where a part is unknown: a partial number is never shown as a whole one. `kv_cache` is what the
    tokens hold in steady state; `kv_cache_allocated` has what transformers' classes allocate for it, a part each.
    """

    workload: Workload
    weights: Part
    kv_cache: Part
    activations: Part
    overhead: Part
    kv_bytes_per_token: int | None
    kv_dtype: str | None
    warnings: tuple[str, ...] = ()
    kv_cache_allocated: tuple[Part, ...] = ()
    image_tokens: int | None = None
    """Of each sequence's context, the tokens that its images take; None where none are counted."""

    def __repr__(self) -> str:
        asked, total = self.workload, "unknown" if self.total is None else f"{self.total / 2**30:.2f} GiB"
        return f"<Estimate of {asked.context:,} tokens x {asked.batch:,}, {asked.dtype}: {total}>"

    @property
    def explained(self) -> tuple[Part, ...]:
        """The parts of the total, and beside it what transformers' cache classes allocate for `kv_cache`."""
        beside = (replace(part, name=f"allocated_{part.name}") for part in self.kv_cache_allocated)
        return (*self.parts, *beside)

    @property
    def parts(self) -> tuple[Part, Part, Part, Part]:
        return (self.weights, self.kv_cache, self.activations, self.overhead)

    @property
    def total(self) -> int | None:
        total = 0
        for part in self.parts:
            if part.bytes is None:
                return None
            total += part.bytes
        return total
