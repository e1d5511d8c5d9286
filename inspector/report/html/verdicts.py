"""Of the HTML report: whether it fits each device, what would make it, and a serving engine's account of a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from inspector.report.columns import value_at
from inspector.report.html.element import Child, Element, chart, element, figure, folded, name, rows, section, table
from inspector.report.html.explained import part_inside, plain_row
from inspector.report.units import (
    SHOWN_OPTIONS,
    bytes_text,
    device_text,
    dollars_text,
    gib_text,
    label,
    number_text,
    rate_text,
    verdict_text,
)

if TYPE_CHECKING:
    from inspector.record import Record

OPEN_DEVICES = 20
"""Devices whose table stands open; that of more is folded."""
LIKELY = ("decode", "prefill")
CARDS = 4
"""Devices that have a card each; more are a table."""
CLASSES = {True: "good", False: "bad", None: "unsure"}
_SIGNS = {True: "✓", False: "✕", None: "?"}


def verdicts(page: Record, index: int) -> Element | None:
    """A card for each device that was asked for, or a table where there are many."""
    fits: Sequence[Record] = page["record"].get("fit") or ()
    if not fits:
        return None
    if len(fits) > CARDS:
        holding = sum(fit["fits"] is True for fit in fits)
        listed = folded(f"It fits {holding:,} of {len(fits):,}", _devices(page, fits), opened=len(fits) <= OPEN_DEVICES)
        return section("Devices", rows(listed), about="What each must hold; of several GPUs, the fullest.")
    cards = (_card(page, index, at, fit) for at, fit in enumerate(fits))
    return section("Will it fit?", element("div", *cards, class_="cards"))


def verdict(page: Record, key: str) -> Element:
    """A verdict in a word, its colour and its sign."""
    return said_verdict(value_at(page, key), key)


def said_verdict(fits: bool | None, key: str | None = None) -> Element:
    """`verdict` of a value, and the key that it stands under."""
    word = element("data", verdict_text(fits), value="" if fits is None else str(fits), data_key=key)
    return element("span", element("span", _SIGNS[fits], aria_hidden="true"), " ", word, class_=CLASSES[fits])


def _devices(page: Record, fits: Sequence[Record]) -> Element:
    lines = []
    for at, fit in enumerate(fits):
        key = f"record.fit.{at}"
        numbers = [figure(page, f"{key}.{each}", gib_text, "bytes") for each in ("needed", "usable", "headroom")]
        longest = figure(page, f"{key}.max_context", number_text)
        lines.append([name(device_text(fit["gpu"], fit["count"])), verdict(page, f"{key}.fits"), *numbers, longest])
    heads = ("device", "verdict", "needs", "usable", "left", "longest context")
    return table(heads, lines, "Sizes in GiB", class_="sortable")


def _card(page: Record, index: int, at: int, fit: Record) -> Element:
    key = f"record.fit.{at}"
    usable = f"{key}.usable" if fit["usable"] is not None else f"{key}.capacity"
    needs: list[Child] = [figure(page, f"{key}.needed", bytes_text, "bytes"), " of "]
    needs += [figure(page, usable, bytes_text, "bytes"), " per GPU" if fit["count"] > 1 else ""]
    if fit["headroom"] is not None:
        needs += [" · ", figure(page, f"{key}.headroom", _left, "bytes")]
    device = device_text(fit["gpu"], fit["count"])
    return element(
        "div",
        element("h3", name(device), " ", verdict(page, f"{key}.fits")),
        element("p", *needs, class_="needs"),
        chart("device", index, data_fit=str(at)),
        _facts(page, key, fit),
        [element("p", note, class_="quiet") for note in fit["notes"]],
        _unequal(page, key, fit),
        _options(page, key, fit),
        class_=f"card verdict {CLASSES[fit['fits']]}-edge",
    )


def _left(size: int | None) -> str:
    return "unknown" if size is None else f"{bytes_text(abs(size))} {'left' if size >= 0 else 'short'}"


def _rate(rate: float | None) -> str:
    return "unknown" if rate is None else f"{rate_text(rate)} tok/s"


def _facts(page: Record, key: str, fit: Record) -> Element | None:
    workload = page["record"].get("training") or page["record"]["memory"]["inference"]
    sequences = "" if workload["batch"] == 1 else f", {workload['batch']:,} sequences"
    facts = [
        ("max_context", f"longest context{sequences}", lambda value: f"{number_text(value)} tokens"),
        ("max_batch", f"most sequences of {workload['context']:,} tokens", number_text),
        ("decode_bound", "decode, upper bound", _rate),
        ("prefill_bound", "prefill, upper bound", _rate),
        ("decode_cost", "a million tokens decoded, at least", dollars_text),
        ("prefill_cost", "a million tokens of prompt, at least", dollars_text),
    ]
    pairs: list[tuple[Child, Child]] = [
        (text, figure(page, f"{key}.{each}", shown)) for each, text, shown in facts if fit.get(each)
    ]
    pairs += [
        (f"{each}, likely", _likely(page, f"{key}.{each}_forecast")) for each in LIKELY if fit[f"{each}_forecast"]
    ]
    return pairs_list(pairs) if pairs else None


def _likely(page: Record, key: str) -> list[Child]:
    """The likely range of a speed, and what it rests on."""
    found = value_at(page, key)
    share = f"{found['share_low']:.0%} to {found['share_high']:.0%} of the bound"
    rests = f"{share}, by {found['measurements']:,} published measurements of {found['engine']} on {found['devices']}"
    low, high = figure(page, f"{key}.low", rate_text), figure(page, f"{key}.high", _rate)
    return [low, " to ", high, element("span", f" {rests}", class_="quiet")]


def pairs_list(pairs: Sequence[tuple[Child, Child]]) -> Element:
    """Names and values in two columns."""
    return element("dl", *(element("div", element("dt", key), element("dd", value)) for key, value in pairs))


def _unequal(page: Record, key: str, fit: Record) -> Element | None:
    """What each of unequal GPUs must hold."""
    lines = []
    for at, gpu in enumerate(fit.get("cards") or ()):
        sizes = [figure(page, f"{key}.cards.{at}.{each}", gib_text, "bytes") for each in ("needed", "capacity")]
        lines.append([name(gpu["gpu"]), *sizes, figure(page, f"{key}.cards.{at}.headroom", _left, "bytes")])
    return table(("GPU", "needs", "has", ""), lines, "Sizes in GiB") if lines else None


def _options(page: Record, key: str, fit: Record) -> Iterator[Element]:
    """Commands that fit, the best ones open, the others folded; and what else would make it fit."""
    options: Sequence[Record] = fit.get("options") or ()
    order = sorted(range(len(options)), key=lambda at: not options[at].get("best"))
    best = [at for at in order if options[at].get("best")][:SHOWN_OPTIONS]
    if options:
        yield element("h4", "What fits" if fit["fits"] is False else "Other ways to run it")
        yield element("ul", *(_option(page, f"{key}.options.{at}") for at in best), class_="options")
    if rest := [at for at in order if at not in best]:
        more = element("ul", *(_option(page, f"{key}.options.{at}") for at in rest), class_="options")
        yield rows(folded(f"{len(rest)} more", more))
    for at, change in enumerate(fit["changes"]):
        if not (change["option"] and options):
            how: Child = ["with ", element("code", change["option"]), ": "] if change["option"] else "if "
            needed = figure(page, f"{key}.changes.{at}.needed", bytes_text, "bytes")
            yield element("p", "it fits ", how, change["text"], " (", needed, ")", class_="quiet")


def _option(page: Record, key: str) -> Element:
    place = value_at(page, key)
    words: list[Child] = [figure(page, f"{key}.needed", bytes_text, "bytes"), " of "]
    words += [figure(page, f"{key}.usable", bytes_text, "bytes"), f"; {place['text'] or 'as asked'}"]
    if place["decode_bound"] is not None:
        words += ["; decode ", figure(page, f"{key}.decode_bound", _rate)]
    return element("li", element("code", place["command"]), element("p", *words, class_="quiet"))


def published(page: Record) -> Element | None:
    """The quantized checkpoints of `fit --published`, with the command of each."""
    found: Sequence[Record] | None = page["record"].get("published")
    if found is None:
        return None
    lines = []
    for at, each in enumerate(found):
        key = f"record.published.{at}"
        if "error" in each:
            lines.append([name(each["id"]), name(each["outcome"].replace("_", " "))])
            continue
        sizes = [figure(page, f"{key}.{size}", gib_text, "bytes") for size in ("tensor_bytes", "needed", "usable")]
        counts = [figure(page, f"{key}.{count}") for count in ("max_context", "max_batch", "downloads")]
        lines.append(
            [name(each["id"]), verdict(page, f"{key}.fits"), *sizes, *counts, element("code", each["command"])]
        )
    heads = ("checkpoint", "verdict", "weights", "needs", "usable", "context", "at once", "downloads", "command")
    return section("Published checkpoints", table(heads, lines, "Sizes in GiB", class_="sortable"))


def servings(page: Record, index: int) -> Iterator[Element]:
    """A serving engine's account of each device, the explanation of each part folded below it."""
    found: Any = page["record"].get("serving") or ()
    accounts: Sequence[Record] = [found] if isinstance(found, dict) else found
    explained = _explained(page)
    for at, account in enumerate(accounts):
        key = "record.serving" if isinstance(found, dict) else f"record.serving.{at}"
        if not account["per_gpu"]:
            continue
        parts = explained[at] if at < len(explained) else {}
        lines = []
        for each, size in account["per_gpu"].items():
            number = figure(page, f"{key}.per_gpu.{each}", bytes_text, "bytes")
            if each in parts:
                lines.append(folded(label(each), *part_inside(page, parts[each]), number=number))
            elif size is not None:
                lines.append(plain_row(label(each), number, strong=each == "total"))
        title = f"{account['engine']} {account['engine_version'] or ''}".strip()
        device = device_text(account["gpu"], account["count"])
        facts = [
            ("kv_tokens", "tokens in the KV cache", number_text),
            ("kv_blocks", "blocks of it", number_text),
            ("max_concurrency", "requests at once", lambda value: f"{value:,.2f}"),
            ("longest_context", "longest context", lambda value: f"{number_text(value)} tokens"),
            ("request_bytes", "KV cache of one request", bytes_text),
        ]
        pairs = [(text, figure(page, f"{key}.{each}", shown)) for each, text, shown in facts if account.get(each)]
        settings = [(element("code", each), name(value)) for each, value in account["settings"].items()]
        yield section(
            f"{title} on {device}",
            chart("serving", index, data_serving=str(at)),
            rows(*lines),
            pairs_list(pairs) if pairs else None,
            rows(folded(f"{len(settings)} settings", pairs_list(settings))),
            about="One GPU, in the order in which the engine fills it; select a row to see how its number is made.",
        )


def _explained(page: Record) -> list[dict[str, str]]:
    """The keys of the explanation's parts, by their names, for each device: a name that comes again begins the next."""
    groups: list[dict[str, str]] = []
    for at, part in enumerate(page["record"].get("explain") or ()):
        if not groups or part["name"] in groups[-1]:
            groups.append({})
        groups[-1][part["name"]] = f"record.explain.{at}"
    return groups
