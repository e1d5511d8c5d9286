"""Of the HTML report: one model, from its name to its layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from inspector.memory.layer_table import indices_text
from inspector.report.columns import value_at
from inspector.report.html.element import (
    MAX_PROSE,
    Child,
    Element,
    chart,
    element,
    figure,
    folded,
    name,
    row,
    rows,
    section,
    table,
)
from inspector.report.html.explained import part_row, plain_row
from inspector.report.html.grid import grid_section
from inspector.report.html.training import training_sections
from inspector.report.html.verdicts import pairs_list, published, servings, verdict, verdicts
from inspector.report.units import bytes_text, count_text, gib_text, label, origin_text, tokens_text

if TYPE_CHECKING:
    from inspector.record import Record

PARTS = ("weights", "kv_cache", "activations", "overhead")
OPEN_NOTES = 4
"""Notes that stand open; more are folded."""


def article(page: Record, index: int) -> Element:
    """All that is said of a model, or why nothing is.

    Args:
        page: `record`, and beside it `curve` and `bars` where they can be drawn (inspector/api/drawn.py).
        index: its place among the page's models.
    """
    record = page["record"]
    heading = element("h1", name(record.get("repo_id") or "", "span"), id=f"model-{index}")
    if "error" in record:
        inside: list[Child] = [heading, element("p", record["error"]["message"], class_="bad")]
    elif "grid" in record:
        inside = [element("header", heading, _origin(record)), _notes(record), grid_section(record["grid"])]
    elif "memory" not in record:
        inside = [heading, section("Answer", _keys(page, "record", record))]
    else:
        inside = [element("header", heading, _origin(record)), _notes(record), verdicts(page, index), _tiles(page)]
        inside.append(published(page))
        inside += [training_sections(page, index)] if "training" in record else [_inference(page, index)]
        inside += [_parameters(page), _parts(page), _layers(page, index), _facts(page)]
    return element("article", *inside, data_model=str(index), aria_labelledby=f"model-{index}")


def _origin(record: Record) -> Element:
    model = record["model"]
    changes = value_at(record, "design.set")
    origin = origin_text(record["source"], record["revision"], record["snapshot_date"], changes)
    words = [*filter(None, (model["architecture"], model["model_type"])), origin]
    parts: list[Child] = []
    for word in words:
        parts += [" · ", name(word)] if parts else [name(word)]
    return element("p", *parts, class_="quiet")


def _notes(record: Record) -> Element | None:
    notes: Sequence[str] = record.get("warnings") or ()
    if not notes:
        return None
    listed = element("ul", *(element("li", name(note, "span", MAX_PROSE)) for note in notes), class_="notes")
    return listed if len(notes) <= OPEN_NOTES else rows(folded(f"{len(notes)} notes", listed))


def _tiles(page: Record) -> Element:
    """The numbers that are asked for most."""
    record = page["record"]
    chosen: list[tuple[str, str, Any, str]] = [("parameters", "record.parameters.total", count_text, "parameters")]
    if record["parameters"]["active"] != record["parameters"]["total"]:
        chosen.append(("active per token", "record.parameters.active", count_text, "parameters"))
    if "training" in record:
        chosen.append(("trainable", "record.training.trainable_parameters", count_text, "parameters"))
        chosen.append(("peak of a step, per GPU", "record.training.peak", bytes_text, "bytes"))
    else:
        chosen.append(("memory for inference", "record.memory.inference.total", bytes_text, "bytes"))
        chosen.append(("KV cache per token", "record.memory.inference.kv_bytes_per_token", bytes_text, "bytes"))
    if "design" not in record:
        chosen.append(("to download", "record.checkpoint.download_bytes", bytes_text, "bytes"))
    tiles = (
        element("div", element("dt", text), element("dd", figure(page, key, shown, unit)))
        for text, key, shown, unit in chosen
    )
    return element("dl", *tiles, class_="tiles")


def _inference(page: Record, index: int) -> Iterator[Element | None]:
    record = page["record"]
    inference, engines = record["memory"]["inference"], bool(record.get("serving"))
    tokens = tokens_text(inference["context"], inference["batch"])
    article = ", the article's formulas" if inference["formulas"] == "article" else ""
    yield from servings(page, index)
    explained = {} if engines else {each["name"]: at for at, each in enumerate(record.get("explain") or ())}
    lines = []
    for each in PARTS:
        if each in explained:
            lines.append(part_row(page, f"record.explain.{explained[each]}"))
        else:
            lines.append(plain_row(label(each), figure(page, f"record.memory.inference.{each}", bytes_text, "bytes")))
    lines.append(plain_row("total", figure(page, "record.memory.inference.total", bytes_text, "bytes"), strong=True))
    beside = [part_row(page, f"record.explain.{at}") for each, at in explained.items() if each not in PARTS]
    unfold = "" if engines else "; select a row to see how its number is made"
    yield section(
        f"Memory for inference{' by transformers' if engines else ''}",
        rows(*lines),
        rows(folded("What transformers allocates for the KV cache", rows(*beside))) if beside else None,
        about=f"{tokens}{article}, weights {_precision(inference['dtype'], record)}, "
        f"KV cache {inference['kv_dtype'] or 'none'}{unfold}.",
    )
    yield _precisions(page, index)
    yield _curve(page, index)


def _precision(dtype: str, record: Record) -> str:
    if dtype != "stored":
        return dtype
    quantization = record["model"]["quantization"]
    stored = value_at(record, "checkpoint.dtype") or value_at(record, "design.dtype")
    return f"as stored ({quantization['method'] if quantization else stored or 'unknown'})"


def _precisions(page: Record, index: int) -> Element | None:
    """The bars, and the same numbers as a table."""
    bars = page.get("bars")
    if not bars:
        return None
    devices = [each["gpu"] for each in bars["devices"]]
    lines = []
    for at, value in enumerate(bars["values"]):
        sizes = [figure(page, f"bars.parts.{each}.{at}", gib_text, "bytes") for each in bars["parts"]]
        sizes.append(figure(page, f"bars.total.{at}", gib_text, "bytes"))
        told = [verdict(page, f"bars.devices.{device}.fits.{at}") for device in range(len(devices))]
        lines.append([name(_precision(value, page["record"])), *sizes, *told])
    heads: list[Child] = ["precision", *map(label, bars["parts"]), "total", *map(name, devices)]
    return section(
        "By precision of the weights",
        chart("bars", index),
        table(heads, lines, "Sizes in GiB"),
        about="All else as above, on one device under transformers; the verdicts are the engine's.",
    )


def _curve(page: Record, index: int) -> Element | None:
    curve = page.get("curve")
    if not curve:
        return None
    devices = [each["gpu"] for each in curve["devices"]]
    lines = []
    for at in range(len(curve["values"])):
        cells: list[Child] = [figure(page, f"curve.values.{at}"), figure(page, f"curve.total.{at}", gib_text, "bytes")]
        for device in range(len(devices)):
            needed = figure(page, f"curve.devices.{device}.needed.{at}", gib_text, "bytes")
            cells += [needed, verdict(page, f"curve.devices.{device}.fits.{at}")]
        lines.append(cells)
    heads: list[Child] = ["tokens", "total"]
    for device in devices:
        heads += [["needs on ", name(device)], "verdict"]
    return section(
        "Over the context",
        chart("curve", index),
        rows(folded("These numbers as a table", table(heads, lines, "Sizes in GiB"))),
        about="Tokens per sequence; what a device must hold is what its fullest GPU does.",
    )


def _parameters(page: Record) -> Element:
    parameters = page["record"]["parameters"]
    total = parameters["total"] or 0
    lines: list[Element] = []
    for each, count in sorted(parameters["by_component"].items(), key=lambda item: -item[1]):
        share = count / total if total else 0.0
        number = figure(page, f"record.parameters.by_component.{each}")
        kinds = parameters["by_attention"] if each == "attention" and len(parameters["by_attention"]) > 1 else {}
        inside = [f"in {label(kind)} layers" for kind in kinds]
        counts = [figure(page, f"record.parameters.by_attention.{kind}") for kind in kinds]
        lines.append(_component(label(each), share, number))
        lines += [_component(text, None, number) for text, number in zip(inside, counts, strict=True)]
    beside = [("elements of buffers", figure(page, "record.parameters.buffers"))] if parameters["buffers"] else []
    beside += [
        (label(each), figure(page, f"record.parameters.stored_only.{each}")) for each in parameters["stored_only"]
    ]
    not_of = element("p", "In the files, but no parameters of this class:", class_="quiet") if beside else None
    exact = "" if parameters["exact"] else "Not exact: see the notes."
    return section(
        "Parameters",
        table(("component", "parameters", "share", element("span", "share as a bar", class_="hidden")), lines),
        [not_of, pairs_list(beside)] if beside else None,
        about=["Total ", figure(page, "record.parameters.total"), ". ", exact],
    )


def _component(text: str, share: float | None, number: Element) -> Element:
    """A row of the components, with its share as a bar."""
    if share is None:
        return row([element("span", text, class_="sub"), number, "", ""])
    inner = element("rect", width=f"{100 * share:.2f}", height="10", class_="c1")
    bar = element("svg", inner, viewBox="0 0 100 10", preserveAspectRatio="none", class_="share", aria_hidden="true")
    return row([name(text), number, f"{share:.1%}", bar])


def _parts(page: Record) -> Element | None:
    """What a checkpoint of several models is made of, and what an adapter is."""
    record = page["record"]
    if not record.get("parts"):
        return None
    lines = []
    for at, part in enumerate(record["parts"]):
        key = f"record.parts.{at}"
        sizes = [figure(page, f"{key}.parameters.total"), figure(page, f"{key}.tensor_bytes", bytes_text, "bytes")]
        lines.append(
            [name(part["repo_id"] if part["kind"] == "base" else part["name"]), *sizes, name(part["class"] or "")]
        )
    adapter = record.get("adapter")
    return section(
        "Parts",
        table(("part", "parameters", "stored", "class"), lines),
        _keys(page, "record.adapter", adapter) if adapter else None,
    )


def _layers(page: Record, index: int) -> Element | None:
    layers: Sequence[Record] = page["record"].get("layers") or ()
    if not layers:
        return None
    inference = page["record"]["memory"]["inference"]
    return section(
        "Layers",
        chart("layers", index),
        rows(*(_layer(page, f"record.layers.{at}", each) for at, each in enumerate(layers))),
        about=f"Each one's share; cache for {tokens_text(inference['context'], inference['batch'])}.",
    )


def _layer(page: Record, key: str, layer: Record) -> Element:
    """Equal layers: how many of which kind, and folded what each holds and where that was found."""
    count = len(layer["layers"])
    title = (
        label(layer["kind"] or "unknown") if count else layer["name"] if "." in layer["name"] else label(layer["name"])
    )
    where = f"layer{'s' if count > 1 else ''} {indices_text(tuple(layer['layers']))}" if count else ""
    pairs: list[tuple[Child, Child]] = [
        ("parameters", figure(page, f"{key}.parameters")),
        ("stored", figure(page, f"{key}.bytes", bytes_text, "bytes")),
    ]
    if count:
        pairs.append(("KV cache per token", figure(page, f"{key}.kv_bytes_per_token", bytes_text, "bytes")))
        pairs.append(("KV cache", figure(page, f"{key}.kv_bytes", bytes_text, "bytes")))
    pairs += [("tensors", name(layer["tensors"]))] if layer["tensors"] else []
    for each, found in layer["config"].items():
        value = found["value"]
        shown = f"{len(value)} values" if isinstance(value, list) and len(value) > 8 else value
        pairs.append(
            (element("code", name(each)), [name("none" if shown is None else shown), ", ", name(found["from"])])
        )
    many = f"{count} x " if count > 1 else ""
    number: list[Child] = [many, figure(page, f"{key}.parameters", count_text, "parameters")]
    about = element("span", f" {where}", class_="quiet") if where else None
    return folded([name(title), about], pairs_list(pairs), number=number)


def _facts(page: Record) -> Element:
    """All that the config and the files say, folded."""
    record = page["record"]
    named = ("model", "design", "checkpoint", "network")
    return section(
        "From the config and the files",
        rows(*(folded(each, _keys(page, f"record.{each}", record[each])) for each in named if record.get(each))),
        element("p", element("button", "Download the record (JSON)", type="button", hidden=True, class_="download")),
    )


def _keys(page: Record, key: str, record: Record) -> Element:
    """A JSON object as names and values."""
    pairs: list[tuple[Child, Child]] = []
    for each, value in record.items():
        if isinstance(value, dict):
            shown: Child = ", ".join(f"{inner} {_plain(held)}" for inner, held in value.items()) or "none"
        elif isinstance(value, int) and not isinstance(value, bool) and "." not in each:
            shown = figure(page, f"{key}.{each}")
        else:
            shown = _plain(value)
        pairs.append((element("code", name(each)), name(shown) if isinstance(shown, str) else shown))
    return pairs_list(pairs)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value)} values" if len(value) > 8 else ", ".join(map(_plain, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(held)}" for key, held in value.items())
    return "not known" if value is None else "yes" if value is True else "no" if value is False else str(value)
