"""The report for a person, at 80 columns, in colour only on a terminal."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from inspector.report.units import GIB, bytes_text, count_text, device_text, gib_text, inert, number_text, verdict_text

if TYPE_CHECKING:
    from inspector.api.inspection import Inspection
    from inspector.engines.serving import Serving
    from inspector.memory import Estimate, Part
    from inspector.model import Model
    from inspector.record import Record
    from inspector.verdict.fit import Fit

NARROWEST_NAME = 8
"""Columns that a name keeps in a table that has no room for it; numbers keep all of theirs."""

_BAR_COLUMNS = 60
_MARKS = (("█", "blue"), ("▓", "magenta"), ("▒", "yellow"), ("░", "cyan"), ("▚", "green"))
"""Of a bar's parts, in their order: told apart without colours, too."""

_VERDICT_STYLE = {True: "bold green", False: "bold red", None: "bold yellow"}


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


def _print_devices(console: Console, inspection: Inspection) -> None:
    """Each device's verdict and the workload that it is of."""
    for index in range(len(inspection.fits)):
        if index:
            console.print()
        _print_device(console, inspection, index)


def _explain(console: Console, inspection: Inspection) -> None:
    """An engine's parts on each of the GPUs, where one was asked for; else the estimate's."""
    for serving in inspection.servings:
        print_explanation(console, serving.explanation(), f"How each number is made: {serving.engine}, {serving.gpu}")
    if not inspection.servings:
        print_explanation(console, inspection.estimate.explained, "How each number is made")


def print_verdicts(console: Console, inspection: Inspection, *, explain: bool = False) -> None:
    """The answer of `llm-inspect fit`: the model, the verdict of each device, and what it is made of."""
    print_name(console, inspection)
    _print_devices(console, inspection)
    if explain:
        _explain(console, inspection)


def print_fleet(console: Console, inspection: Inspection) -> None:
    """The devices that a model fits on, least memory first."""
    print_name(console, inspection)
    heading = f"{len(inspection.fits)} known devices hold it · {_workload_text(inspection.estimate)}"
    console.print(Text(heading, "bold"))
    table = plain_table("GiB", "memory", "per GPU", "left", "context", "tok/s")
    for column in table.columns[1:]:
        column.no_wrap = True
    for fit in inspection.fits:
        rate = "" if fit.decode_bound is None else _rate_text(fit.decode_bound)
        memory, needed, left = map(gib_text, (fit.capacity * fit.count, fit.needed, fit.headroom))
        table.add_row(device_text(fit.gpu, fit.count), memory, needed, left, number_text(fit.max_context), rate)
    indented(console, table)
    if inspection.fits:
        indented(console, Text("context and tok/s are upper bounds; tok/s: decode, by the memory bandwidth", "dim"))


def print_comparison(console: Console, names: Sequence[str], records: Sequence[Record]) -> None:
    """Several models side by side, and for each device its verdict; of those that could not be read the name alone."""
    from inspector.report.columns import columns_of, value_at

    good = [record for record in records if "error" not in record]
    if not good:
        return
    columns = columns_of(good)
    heads = ["model", *(column.short or column.head for column in columns)]
    rows = []
    for name, record in zip(names, records, strict=True):
        cells = ["error", *("-" for _ in columns[1:])]
        if "error" not in record:
            cells = [column.narrow(value_at(record, column.key)) for column in columns]
        rows.append([inert(name), *cells])
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for index, head in enumerate(heads):
        number = index > 0 and not columns[index - 1].key.startswith("fit.")
        longest = max(len(text) for text in (head, *(row[index] for row in rows)))
        least = longest if number else min(longest, NARROWEST_NAME)
        table.add_column(head, justify="right" if number else "left", overflow="fold", no_wrap=number, min_width=least)
    styles = {"fits": _VERDICT_STYLE[True], "no": _VERDICT_STYLE[False], "unknown": _VERDICT_STYLE[None]}
    for row in rows:
        table.add_row(*(Text(cell, styles.get(cell, "")) for cell in row))
    # A terminal that is narrower still folds the lines itself: better than figures that are cut.
    least = sum((column.min_width or NARROWEST_NAME) + 2 for column in table.columns)
    console.width = max(console.width, least)
    console.print(table)


def print_explanation(console: Console, parts: Iterable[Part], heading: str) -> None:
    """Each part's bytes, its formula with the numbers in it, and its source; sub-parts indented."""
    console.print()
    console.print(Text(heading, "bold"))

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
    console.print(Text(inert(inspection.checkpoint.repo_id), "bold cyan"))


def print_head(console: Console, inspection: Inspection) -> None:
    """What a model is, below its name."""
    architecture, checkpoint = inspection.model.architecture, inspection.checkpoint
    origin = {
        "hub": f"commit {(checkpoint.revision or 'unknown')[:12]}",
        "cache": f"commit {(checkpoint.revision or 'unknown')[:12]}, cached",
        "local": "local files",
        "bundled": f"bundled snapshot of {checkpoint.snapshot_date}",
    }[checkpoint.source]
    kind = ", ".join(inert(text) for text in (architecture.architecture, architecture.model_type) if text)
    console.print(Text(f"{kind or 'unknown architecture'} · {inert(origin)}", "dim"))
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
        console.print(Text(" · ".join(words)))
    if quantization and (plain := (*quantization.plain_embeddings, *quantization.plain)):
        console.print(Text(f"left unquantized: {', '.join(inert(name) for name in plain)}", "dim"))
    if words:
        console.print()


def _print_components(console: Console, inspection: Inspection) -> None:
    parameters = inspection.model.parameters
    total = parameters.total
    title = Text.assemble((f"{count_text(total)} parameters", "bold"), f" ({total:,})")
    if parameters.active != total:
        title.append(f", {count_text(parameters.active)} active per token")
    console.print(title)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column(justify="right")
    table.add_column(style="cyan")
    for name, count in sorted(parameters.by_component.items(), key=lambda item: -item[1]):
        share = count / total if total else 0
        table.add_row(label(name), f"{count:,}", f"{share:.1%}", "▇" * round(20 * share))
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
    table.add_column("class", overflow="fold")
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
    console.print(Text.assemble(("Memory for inference, GiB", "bold"), f" · {_workload_text(estimate)}"))
    table = plain_table("precision", "weights", "KV cache", "activations", "overhead", "total")
    for each in (estimate, *inspection.precisions):
        if each is not estimate and _row(each) == _row(estimate):
            continue  # the same numbers under another name
        style = "bold" if each is estimate else ""
        name = each.workload.dtype
        if name == "stored":
            packing = inspection.model.architecture.quantization
            name = f"as stored ({inert(packing.method if packing else inspection.model.stored_dtype or 'none')})"
        table.add_row(*(Text(cell, style) for cell in (name, *map(gib_text, _row(each)))))
    indented(console, table)
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


def _print_device(console: Console, inspection: Inspection, index: int) -> None:
    """The verdict for one device; where a serving engine was asked for, its account."""
    fit, servings = inspection.fits[index], inspection.servings
    print_verdict(console, fit)
    if servings:
        _print_bar(console, servings[index].per_gpu, fit.capacity)
    elif fit.count == 1:
        _print_bar(console, {part.name: part.bytes for part in inspection.estimate.parts}, fit.capacity)
    if not servings:
        indented(console, Text(_workload_text(inspection.estimate)))
    print_fit(console, inspection, fit)
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
    words = ", ".join(f"{name} {value}" for name, value in serving.settings.items())
    indented(console, Text(words, "dim"))


def _print_bar(console: Console, sizes: Mapping[str, int | None], capacity: int) -> None:
    """Parts of one GPU's memory on a line as long as it, or as they are where they are more; and what is what."""
    parts = {name: size for name, size in sizes.items() if size and size > 0 and name != "total"}
    if not parts or None in sizes.values() or capacity <= 0:
        return
    scale = _BAR_COLUMNS / max(capacity, sum(parts.values()))
    bar, legend, begin = Text("["), Text("GiB: "), 0
    end_of_gpu = round(capacity * scale)
    for (name, size), (mark, style) in zip(parts.items(), itertools.cycle(_MARKS)):
        until = min(round((begin + size) * scale), _BAR_COLUMNS)
        bar.append(mark * (until - round(begin * scale)), style)
        legend.append(", " if begin else "").append(mark, style).append(f" {label(name)} {gib_text(size)}")
        begin += size
    if end_of_gpu >= _BAR_COLUMNS:
        bar.append(" " * (_BAR_COLUMNS - round(begin * scale)) + "]")
    else:
        bar = bar[: 1 + end_of_gpu] + Text("]", "bold red") + bar[1 + end_of_gpu :]
    indented(console, bar)
    indented(console, legend)


def print_verdict(console: Console, fit: Fit) -> None:
    """A device's verdict in a line, and what each of unequal GPUs must hold."""
    each = " per GPU" if fit.count > 1 and not fit.cards else ""
    line = Text.assemble((f"{device_text(fit.gpu, fit.count)}: {verdict_text(fit.fits)}", _VERDICT_STYLE[fit.fits]))
    line.append(" · the tightest" if fit.cards and fit.needed is not None else " ·")
    if fit.needed is None or fit.usable is None:
        line.append(f" needs {bytes_text(fit.needed)} of {bytes_text(fit.capacity)}{each}")
    else:
        share = f" ({fit.usable / fit.capacity:.3g} x {gib_text(fit.capacity)})" if fit.usable != fit.capacity else ""
        line.append(f" needs {_sum_text(fit.needed, fit.usable, each + share)}")
    console.print(line)
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


def _dollars(amount: float) -> str:
    """With cents, and three digits of less than a dollar."""
    return f"${amount:,.2f}" if amount >= 1 or not amount else f"${amount:.3g}"


def print_fit(console: Console, inspection: Inspection, fit: Fit) -> None:
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
        room.append(f"upper bound: decode {_rate_text(fit.decode_bound)} tok/s{prefill}")
    if fit.decode_cost is not None:
        prompt = "" if fit.prefill_cost is None else f", prefill {_dollars(fit.prefill_cost)}"
        asked = f"lower bound at {_dollars(fit.price or 0)} per GPU-hour"
        room.append(f"{asked}, per million tokens: decode {_dollars(fit.decode_cost)}{prompt}")
    for text in (*room, *fit.notes):
        indented(console, Text(inert(text)))
    for change in fit.changes:
        how = f"with {inert(change.option)}: " if change.option else "if "
        indented(console, Text(f"it fits {how}{change.text} ({bytes_text(change.needed)})"))


def _rate_text(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"


def indented(console: Console, content: Text | Table, columns: int = 2) -> None:
    """Print a part of the report below its heading."""
    console.print(Padding(content, (0, 0, 0, columns), expand=False))


def plain_table(first: str, *heads: str) -> Table:
    """A table without lines: text in the first column, numbers in the others."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column(first)
    for head in heads:
        table.add_column(head, justify="right")
    return table


def _workload_text(estimate: Estimate) -> str:
    workload = estimate.workload
    formulas = ", the article's formulas" if workload.formulas == "article" else ""
    return f"{tokens_text(workload.context, workload.batch)}{formulas}"


def tokens_text(context: int, batch: int) -> str:
    """ "4,096 tokens x 1 sequence"."""
    return f"{number_text(context)} tokens x {number_text(batch)} sequence{'s' if batch > 1 else ''}"


def _kinds_text(kinds: dict[str, int]) -> str:
    """ " (22 sliding, 5 full attention)" where there is more than the plain kind."""
    if set(kinds) <= {"full_attention", "no_cache"}:
        return ""
    return " (" + ", ".join(f"{count} {label(kind)}" for kind, count in kinds.items()) + ")"


def label(name: str) -> str:
    """A part's name as people read it."""
    return {"kv_cache": "KV cache", "mlp": "MLP", "mtp": "multi-token prediction", "kv_pool": "KV pool"}.get(
        name, name.replace("_", " ")
    )
