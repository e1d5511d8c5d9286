"""The report for a person, in colour only on a terminal, and in its width: text breaks between words, no number of a
table is cut. A pipe has no width: its prose has lines of 80 columns, its tables a line per row.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from inspector.report.units import (
    GIB,
    SHOWN_OPTIONS,
    bytes_text,
    count_text,
    device_text,
    dollars_text,
    gib_text,
    inert,
    label,
    origin_text,
    rate_text,
    tokens_text,
    verdict_text,
)

if TYPE_CHECKING:
    from inspector.api.inspection import Inspection
    from inspector.devices.forecast import Forecast
    from inspector.engines.serving import Serving
    from inspector.memory import Estimate, Part
    from inspector.model import Model
    from inspector.verdict.fit import Fit

_BAR_COLUMNS = 60
MARKS = (("█", "blue"), ("▓", "magenta"), ("▒", "yellow"), ("░", "cyan"), ("▚", "green"))
"""Of a bar's parts, in their order: told apart without colours, too."""

_SHARE_COLUMNS = 20
VERDICT_STYLE = {True: "bold green", False: "bold red", None: "bold yellow"}


_WORD = re.compile(r"\s*\S+\s*")
_BREAKS = re.compile(r"(?<=[-/._,:=\[\]{}])")
"""Where a name that is wider than a line is broken."""


def print_report(console: Console, inspection: Inspection, *, explain: bool = False) -> None:
    """One model: whether it fits, what it is, its parameters, what it takes."""
    print_name(console, inspection)
    if inspection.fits:
        _print_devices(console, inspection)
        console.print()
    print_head(console, inspection)
    _print_components(console, inspection)
    _print_parts(console, inspection.model)
    _print_memory(console, inspection)
    if explain:
        _explain(console, inspection)


def report_html(inspection: Inspection) -> str:
    """`print_report`'s report as a piece of HTML; what a repo's names hold stands in it as text."""
    from io import StringIO

    console = Console(file=StringIO(), record=True, width=100, markup=False, highlight=False, emoji=False)
    print_report(console, inspection)
    return console.export_html(inline_styles=True, code_format='<pre style="line-height:1.2">{code}</pre>')


def _print_devices(console: Console, inspection: Inspection, *, all_options: bool = False) -> None:
    """Each device's verdict and the workload that it is of."""
    for index in range(len(inspection.fits)):
        if index:
            console.print()
        _print_device(console, inspection, index, all_options=all_options)


def _explain(console: Console, inspection: Inspection) -> None:
    """An engine's parts on each of the GPUs, where one was asked for; else the estimate's."""
    for serving in inspection.servings:
        print_explanation(console, serving.explanation(), f"How each number is made: {serving.engine}, {serving.gpu}")
    if not inspection.servings:
        print_explanation(console, inspection.estimate.explained, "How each number is made")


def print_verdicts(
    console: Console, inspection: Inspection, *, explain: bool = False, all_options: bool = False
) -> None:
    """The answer of `llm-inspect fit`: the model, the verdict of each device, and what it is made of."""
    print_name(console, inspection)
    _print_devices(console, inspection, all_options=all_options)
    if explain:
        _explain(console, inspection)


def print_explanation(console: Console, parts: Iterable[Part], heading: str) -> None:
    """Each part's bytes, its formula with the numbers in it, and its source; sub-parts indented."""
    console.print()
    indented(console, Text(heading, "bold"), 0)

    def show(part: Part, depth: int) -> None:
        size = "unknown" if part.bytes is None else f"{part.bytes:,} B"
        seen = "" if part.low is None else f" ({bytes_text(part.low)} to {bytes_text(part.high)} seen)"
        line = Text.assemble(
            (label(part.name), "bold" if depth == 1 else ""), f"  {size} = {inert(part.formula)}{seen}"
        )
        indented(console, line, 2 * depth)
        if not part.parts:
            indented(console, Text(f"source: {inert(part.source)}", "dim"), 2 * depth + 2)
        for sub in part.parts:
            show(sub, depth + 1)

    for part in parts:
        show(part, 1)


def print_name(console: Console, inspection: Inspection) -> None:
    """The model's name, above all that is said of it."""
    name = Text(inert(inspection.checkpoint.repo_id), "bold cyan")
    if inspection.checkpoint.design is not None:
        name.append(inert(design_text(inspection)), "dim")
    indented(console, name, 0)


def design_text(inspection: Inspection) -> str:
    """That a config alone was read, and what was changed of it; "" where weights were."""
    design = inspection.checkpoint.design
    if design is None:
        return ""
    changes = (f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in design.changes.items())
    return ", ".join((" · the config alone", *(each if len(each) <= 60 else f"{each[:57]}..." for each in changes)))


def print_head(console: Console, inspection: Inspection) -> None:
    """What a model is, below its name."""
    architecture, checkpoint = inspection.model.architecture, inspection.checkpoint
    origin = origin_text(checkpoint.source, checkpoint.revision, checkpoint.snapshot_date)
    kind = ", ".join(inert(text)[:80] for text in (architecture.architecture, architecture.model_type) if text)
    indented(console, (Text(kind or "unknown architecture", "dim"), Text(inert(origin), "dim")), 0)
    console.print()
    facts = [
        (architecture.num_hidden_layers, "{} layers" + _kinds_text(architecture.layer_kinds)),
        (architecture.hidden_size, "hidden {}"),
        (architecture.num_attention_heads, "{} heads"),
        (architecture.num_key_value_heads, "{} KV heads"),
        (architecture.head_dim, "head dimension {}"),
        (architecture.intermediate_size, "intermediate {}"),
        (architecture.vocab_size, "vocabulary {}"),
        (architecture.max_position_embeddings, "at most {} tokens"),
        (architecture.sliding_window, "window {}"),
    ]
    words = [template.format(f"{value:,}") for value, template in facts if value is not None]
    if experts := architecture.experts:
        shared = f" + {experts.shared} shared" if experts.shared else ""
        words.append(f"{experts.total} experts, {experts.active}{shared} per token")
    if quantization := architecture.quantization:
        bits = f" {quantization.bits}-bit" if quantization.bits else ""
        effective = f", {quantization.effective_bits:.2f} bits per weight" if quantization.effective_bits else ""
        words.append(f"quantized: {inert(quantization.method)}{bits}{effective}")
    if words:
        indented(console, words, 0)
    if quantization and (plain := (*quantization.plain_embeddings, *quantization.plain)):
        indented(console, Text(f"left unquantized: {', '.join(inert(name) for name in plain)}", "dim"), 0)
    if words:
        console.print()


def _print_components(console: Console, inspection: Inspection) -> None:
    parameters = inspection.model.parameters
    total = parameters.total
    title = Text.assemble((f"{count_text(total)} parameters", "bold"), f" ({total:,})")
    if parameters.active != total:
        title.append(f", {count_text(parameters.active)} active per token")
    indented(console, title, 0)
    table = plain_table("", "", "")
    table.add_column("")
    taken = max((len(label(name)) + len(f"{count:,}") for name, count in parameters.by_component.items()), default=0)
    columns = max(min(_SHARE_COLUMNS, console.width - taken - 13), 0)
    for name, count in sorted(parameters.by_component.items(), key=lambda item: -item[1]):
        share = count / total if total else 0
        table.add_row(label(name), f"{count:,}", f"{share:.1%}", Text("▇" * round(columns * share), "cyan"))
        kinds = parameters.by_attention if name == "attention" and len(parameters.by_attention) > 1 else {}
        for kind, part in kinds.items():
            table.add_row(Text(f"  in {label(kind)} layers", "dim"), Text(f"{part:,}", "dim"))
    indented(console, table)
    beside = [f"{parameters.buffers:,} elements of buffers"] if parameters.buffers else []
    beside += [f"{count:,} of {label(name)}" for name, count in parameters.stored_only.items()]
    if beside:
        text = "in the files, but no parameters of this class: " + "; ".join(beside)
        indented(console, Text(text, "dim"))
    console.print()


def _print_parts(console: Console, model: Model) -> None:
    """A table of the parts, and what an adapter is."""
    if not model.parts:
        return
    console.print(Text("Parts", "bold"))
    table = plain_table("", "parameters", "stored")
    table.add_column("dtype")
    table.add_column("class")
    for part in model.parts:
        name = part.checkpoint.repo_id if part.kind == "base" else part.name
        class_name = part.class_name or part.model.architecture.architecture or ""
        table.add_row(
            Text(inert(name)),
            f"{part.model.parameters.total:,}",
            bytes_text(part.checkpoint.tensor_bytes),
            Text(inert(part.model.stored_dtype or "")),
            Text(inert(class_name)),
        )
    indented(console, table)
    if (adapter := model.adapter) is not None:
        words = [inert(adapter.peft_type)]
        words += [f"rank {adapter.rank}"] if adapter.rank is not None else []
        words += [f"alpha {adapter.alpha:g}"] if adapter.alpha is not None else []
        words += [f"on {inert(', '.join(adapter.target_modules))}"] if adapter.target_modules else []
        words += [f"full copies of {inert(', '.join(adapter.modules_to_save))}"] if adapter.modules_to_save else []
        indented(console, Text("adapter: " + ", ".join(words)))
    console.print()


def _print_memory(console: Console, inspection: Inspection) -> None:
    estimate = inspection.estimate
    by = " by transformers" if inspection.servings else ""
    indented(console, (Text(f"Memory for inference{by}, GiB", "bold"), workload_text(estimate)), 0)
    table = plain_table("precision", "weights", "KV cache", "activations", "overhead", "total")
    holds_scores = []
    for each in (estimate, *inspection.precisions):
        if each is not estimate and _row(each) == _row(estimate):
            continue  # the same numbers under another name
        style = "bold" if each is estimate else ""
        name = each.workload.dtype
        if name == "stored":
            packing = inspection.model.architecture.quantization
            how = "as stored" if inspection.checkpoint.design is None else "as designed"
            name = f"{how} ({inert(packing.method if packing else inspection.model.stored_dtype or 'none')})"
        table.add_row(*(Text(cell, style) for cell in (name, *map(gib_text, _row(each)))))
        holds_scores += [name] if any("heads *" in part.formula for part in each.activations.parts) else []
    indented(console, table)
    if holds_scores:
        whose = f"{', '.join(holds_scores)}: " if len(holds_scores) < len(table.rows) else ""
        indented(console, Text(f"{whose}activations hold all attention scores, as no fused kernel takes them", "dim"))
    if estimate.kv_bytes_per_token:
        text = f"KV cache: {bytes_text(estimate.kv_bytes_per_token)} per token ({estimate.kv_dtype})"
        indented(console, Text(text))
    steady = bytes_text(estimate.kv_cache.bytes)
    other = [
        f"{part.name.replace('_', ' ')} {bytes_text(part.bytes)}"
        for part in estimate.kv_cache_allocated
        if part.bytes is not None and bytes_text(part.bytes) != steady
    ]
    if other:
        indented(console, Text(f"transformers allocates for it: {', '.join(other)}"))


def _row(estimate: Estimate) -> tuple[int | None, ...]:
    return (*(part.bytes for part in estimate.parts), estimate.total)


def _print_device(console: Console, inspection: Inspection, index: int, *, all_options: bool = False) -> None:
    """The verdict for one device; where a serving engine was asked for, its account."""
    fit, servings = inspection.fits[index], inspection.servings
    print_verdict(console, fit)
    if servings:
        _print_bar(console, servings[index].per_gpu, fit.capacity)
    elif fit.count == 1:
        _print_bar(console, {part.name: part.bytes for part in inspection.estimate.parts}, fit.capacity)
    if not servings:
        indented(console, Text(workload_text(inspection.estimate)))
    print_fit(console, inspection, fit, all_options=all_options)
    if servings:
        _print_serving(console, servings[index])


def _print_serving(console: Console, serving: Serving) -> None:
    """The engine's account of one GPU, in the order in which it fills it, and what the pool serves."""
    if not serving.per_gpu:
        return
    version = f" {serving.engine_version}" if serving.engine_version else ""
    table = plain_table(f"{serving.engine}{version}, per GPU", "GiB")
    for name, size in serving.per_gpu.items():
        if size is not None and size >= 0:
            table.add_row(label(name), gib_text(size))
    indented(console, table)
    if (pool := serving.per_gpu.get("kv_pool")) is not None and pool < 0:
        indented(console, Text(f"no room for a KV cache: short by {gib_text(-pool)} GiB before the first token"))
    if serving.cpu:
        left = ", ".join(f"{label(name)} {bytes_text(size)}" for name, size in serving.cpu.items())
        indented(console, Text(f"with the CPU: {left}"))
    if serving.kv_tokens:
        blocks = f" ({serving.kv_blocks:,} blocks)" if serving.kv_blocks is not None else ""
        many = f", {serving.max_concurrency:,.2f} requests at once" if serving.max_concurrency is not None else ""
        indented(console, Text(f"KV cache: {serving.kv_tokens:,} tokens{blocks}{many}"))
    indented(console, [Text(f"{name} {value}", "dim") for name, value in serving.settings.items()], separator=", ")


def _print_bar(console: Console, sizes: Mapping[str, int | None], capacity: int) -> None:
    """Parts of one GPU's memory on a line as long as it, or as they are where they are more; and what is what."""
    parts = {name: size for name, size in sizes.items() if size and size > 0 and name != "total"}
    if not parts or None in sizes.values() or capacity <= 0:
        return
    columns = max(min(_BAR_COLUMNS, console.width - 4), 10)
    scale = columns / max(capacity, sum(parts.values()))
    bar, begin = Text("["), 0
    legend: list[Text] = []
    end_of_gpu = round(capacity * scale)
    for (name, size), (mark, style) in zip(parts.items(), itertools.cycle(MARKS)):
        until = min(round((begin + size) * scale), columns)
        bar.append(mark * (until - round(begin * scale)), style)
        legend.append(Text("" if legend else "GiB: ").append(mark, style).append(f" {label(name)} {gib_text(size)}"))
        begin += size
    if end_of_gpu >= columns:
        bar.append(" " * (columns - round(begin * scale)) + "]")
    else:
        bar = bar[: 1 + end_of_gpu] + Text("]", "bold red") + bar[1 + end_of_gpu :]
    indented(console, (bar,))
    indented(console, legend, separator=", ")


def print_verdict(console: Console, fit: Fit) -> None:
    """A device's verdict in a line, and what each of unequal GPUs must hold."""
    each = " per GPU" if fit.count > 1 and not fit.cards else ""
    verdict = Text(f"{device_text(fit.gpu, fit.count)}: {verdict_text(fit.fits)}", VERDICT_STYLE[fit.fits])
    line = "the tightest needs " if fit.cards and fit.needed is not None else "needs "
    if fit.needed is None or fit.usable is None:
        line += f"{bytes_text(fit.needed)} of {bytes_text(fit.capacity)}{each}"
    else:
        share = f" ({fit.usable / fit.capacity:.3g} x {gib_text(fit.capacity)})" if fit.usable != fit.capacity else ""
        line += _sum_text(fit.needed, fit.usable, each + share)
    indented(console, (verdict, line), 0)
    for gpu in fit.cards:
        left = "" if gpu.headroom is None else f", {bytes_text(abs(gpu.headroom))} "
        left += "" if gpu.headroom is None else "left" if gpu.headroom >= 0 else "short"
        words = f"{inert(gpu.gpu)}: {bytes_text(gpu.needed)} of {bytes_text(gpu.capacity)}{left}"
        indented(console, Text(words + (", the tightest" if gpu.tightest else "")))


def _sum_text(needed: int, usable: int, of_what: str = "") -> str:
    """ "16.16 of 23.52 GiB, 7.36 left": numbers that sum as they stand, whatever is rounded."""
    left = usable - needed
    shown = round(usable / GIB, 2) - round(needed / GIB, 2)
    if usable < GIB or abs(shown) < 0.01:
        return f"{bytes_text(needed)} of {bytes_text(usable)}{of_what}, {bytes_text(abs(left))} {_left(left)}"
    return f"{gib_text(needed)} of {gib_text(usable)} GiB{of_what}, {abs(shown):,.2f} {_left(left)}"


def _left(size: float) -> str:
    return "left" if size >= 0 else "short"


def forecast_text(name: str, found: Forecast) -> str:
    """The likely range of a speed, and what it rests on."""
    return (
        f"likely: {name} {rate_text(found.low)} to {rate_text(found.high)} tok/s, {found.share_low:.0%} to"
        f" {found.share_high:.0%} of the bound, by {found.measurements} published measurements of {found.engine}"
        f" on {found.devices}"
    )


def print_fit(console: Console, inspection: Inspection, fit: Fit, *, all_options: bool = False) -> None:
    """How far a device goes, and what would make the model fit."""
    workload = inspection.estimate.workload
    room = []
    if fit.max_context:
        room.append(f"up to {fit.max_context:,} tokens at batch {workload.batch}")
    if fit.max_batch:
        plural = "s" if fit.max_batch > 1 else ""
        room.append(f"up to {fit.max_batch:,} sequence{plural} of {workload.context:,} tokens")
    if fit.decode_bound is not None:
        prefill = "" if fit.prefill_bound is None else f", prefill {fit.prefill_bound:,.0f} tok/s"
        room.append(f"upper bound: decode {rate_text(fit.decode_bound)} tok/s{prefill}")
    room += [
        forecast_text(name, found)
        for name, found in (("decode", fit.decode_forecast), ("prefill", fit.prefill_forecast))
        if found is not None
    ]
    if fit.decode_cost is not None:
        prompt = "" if fit.prefill_cost is None else f", prefill {dollars_text(fit.prefill_cost)}"
        asked = f"lower bound at {dollars_text(fit.price or 0)} per GPU-hour"
        room.append(f"{asked}, per million tokens: decode {dollars_text(fit.decode_cost)}{prompt}")
    for text in (*room, *fit.notes):
        indented(console, Text(inert(text)))
    _print_options(console, fit, every=all_options)
    for change in fit.changes:
        if not (change.option and fit.options):
            how = f"with {inert(change.option)}: " if change.option else "if "
            indented(console, Text(f"it fits {how}{change.text} ({bytes_text(change.needed)})"))


def _print_options(console: Console, fit: Fit, *, every: bool) -> None:
    """The best options as commands to paste, each with what it takes and gives up; all of them where asked for."""
    if not fit.options:
        return
    from inspector.verdict.changes import CRITERION

    best = [option for option in fit.options if option.best][:SHOWN_OPTIONS]
    shown = fit.options if every else best
    indented(console, Text("what fits:" if fit.fits is False else "other ways to run it:", "bold"))
    for option in shown:
        console.print(Text(f"    {inert(option.command)}"), soft_wrap=True)
        speed = "" if option.decode_bound is None else f"; decode {rate_text(option.decode_bound)} tok/s"
        words = f"{gib_text(option.needed)} of {gib_text(option.usable)} GiB; {option.text or 'as asked'}{speed}"
        indented(console, Text(words), 6)
    left = len(fit.options) - len(shown)
    more = f" --all-options shows {left} more." if left else ""
    indented(console, Text(CRITERION + more, "dim"))


def workload_text(estimate: Estimate) -> str:
    workload = estimate.workload
    formulas = ", the article's formulas" if workload.formulas == "article" else ""
    return f"{tokens_text(workload.context, workload.batch)}{formulas}"


def _kinds_text(kinds: dict[str, int]) -> str:
    """ " (22 sliding, 5 full attention)" where there is more than the plain kind."""
    if set(kinds) <= {"full_attention", "no_cache"}:
        return ""
    return " (" + ", ".join(f"{count} {label(kind)}" for kind, count in kinds.items()) + ")"


class Grid:
    """A table without lines: text in the first column, numbers in the others.

    Args:
        heads: of the columns; all empty for a table without heads.
        head_style: of these.
    """

    def __init__(self, *heads: str, head_style: str = "dim") -> None:
        self.heads = list(heads)
        self.head_style = head_style
        self.rows: list[list[Text]] = []
        self._left = {0}

    def add_column(self, head: str, *, number: bool = False) -> None:
        """One more, with text in it unless it has numbers."""
        if not number:
            self._left.add(len(self.heads))
        self.heads.append(head)

    def add_row(self, *cells: str | Text) -> None:
        """A row; cells that are left out are empty."""
        self.rows.append([Text(cell) if isinstance(cell, str) else cell for cell in cells])

    def lines(self, room: int | None) -> Iterator[Text]:
        """The table in lines of at most `room` columns (None: as it is): with less space between the columns, with
        each name on a line of its own above the numbers, or, in the last resort, with each number behind its head."""
        head = [[Text(each, self.head_style) for each in self.heads]] if any(self.heads) else []
        widths = [max((cell.cell_len for cell in column), default=0) for column in self._columns([*head, *self.rows])]
        own, rest = sum(widths), sum(widths[1:])
        gaps = len(widths) - 1
        if room is None or own + 2 * gaps <= room:
            yield from (self._line(row, widths, 2) for row in (*head, *self.rows))
        elif own + gaps <= room:
            yield from (self._line(row, widths, 1) for row in (*head, *self.rows))
        elif rest + gaps + 1 <= room:
            gap = 2 if rest + 2 * gaps <= room else 1
            for row in (*head, *self.rows):
                yield from wrapped(row[0], room) if row[0] else ()
                yield self._line([Text(), *row[1:]], [0, *widths[1:]], gap)
        else:
            for row in self.rows:
                yield from wrapped(row[0], room)
                named = itertools.zip_longest(self.heads[1:], row[1:], fillvalue="")
                facts = [Text(f"{name} " if name else "", self.head_style) + cell for name, cell in named if cell]
                yield from (Text("  ") + line for line in joined(facts, room - 2))

    def _columns(self, rows: Sequence[Sequence[Text]]) -> Iterator[tuple[Text, ...]]:
        return itertools.zip_longest(*rows, fillvalue=Text())

    def _line(self, cells: Sequence[Text], widths: Sequence[int], gap: int) -> Text:
        line = Text()
        for at, (cell, width) in enumerate(zip(cells, widths, strict=False)):
            space = " " * (width - cell.cell_len)
            line.append(" " * gap if at else "")
            line = line + cell + space if at in self._left else line + space + cell
        line.rstrip()
        return line


def plain_table(first: str, *heads: str) -> Grid:
    """A table without lines: text in the first column, numbers in the others."""
    return Grid(first, *heads)


def wrapped(text: Text, room: int, *, terminal: bool = True) -> Iterator[Text]:
    """The text in lines of at most `room` columns, broken between words, and within one only where it is wider than a
    line (behind a `/` or `-` of it, if it has one), and not even there where no terminal would do it."""
    offsets, used = [], 0
    for found in _WORD.finditer(text.plain):
        word = found.group()
        width = cell_len(word.rstrip())
        if used and used + width > room:
            offsets.append(found.start())
            used = 0
        if width > room and terminal:
            at = found.start()
            for piece in _pieces(word, room):
                if used and used + cell_len(piece.rstrip()) > room:
                    offsets.append(at)
                    used = 0
                used += cell_len(piece)
                at += len(piece)
        else:
            used += cell_len(word)
    for line in text.divide(offsets):
        line.rstrip()
        yield line


def _pieces(word: str, room: int) -> Iterator[str]:
    """What a word that is wider than a line may be broken into."""
    for piece in _BREAKS.split(word):
        yield from (piece[at : at + room] for at in range(0, len(piece), room))


def joined(words: Iterable[str | Text], room: int, separator: str = " · ", *, terminal: bool = True) -> Iterator[Text]:
    """Words in lines of at most `room` columns, a separator between those of a line; none is broken that fits one."""
    line, kept = Text(), separator.rstrip() if separator.strip() == "," else ""
    for each in words:
        word = Text(each) if isinstance(each, str) else each
        if line.cell_len and line.cell_len + len(separator) + word.cell_len + len(kept) > room:
            line.append(kept)
            yield from wrapped(line, room, terminal=terminal)
            line = Text()
        if line.cell_len:
            line.append(separator)
        line = line + word
    yield from wrapped(line, room, terminal=terminal)


def indented(
    console: Console, content: str | Text | Grid | Sequence[str | Text], columns: int = 2, separator: str = " · "
) -> None:
    """Print a part of the report below its heading: a text, a table, or words that stay whole."""
    terminal, room = console.is_terminal, max(console.width - columns, 8)
    if isinstance(content, Grid):
        lines = content.lines(room if terminal else None)
    elif isinstance(content, str | Text):
        lines = wrapped(Text(content) if isinstance(content, str) else content, room, terminal=terminal)
    else:
        lines = joined(content, room, separator, terminal=terminal)
    for line in lines:
        console.print(Text(" " * columns if line.plain else "") + line, soft_wrap=True)
