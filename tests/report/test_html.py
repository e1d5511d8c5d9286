"""The HTML report as a file: its numbers are those of `--json`, a repo's strings are text, and it loads nothing."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from inspector.report.columns import value_at
from inspector.report.html.batch import lines_of_page
from inspector.report.html.element import element, markup, name
from inspector.report.units import bytes_text, count_text, gib_text, number_text, verdict_text
from tests.conftest import Run, repo_files
from tests.hub.make_parts import BASE, adapter, pipeline
from tests.hub_server import LoopbackHub

LLAMA = "meta-llama/Meta-Llama-3-8B"
DEEPSEEK = "deepseek-ai/DeepSeek-V3"
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u202egnp\u2066\x1b[31m&amp;\"'"
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """A report as a browser sees it: its elements, its figures, its text and its JSON."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.figures: list[tuple[int, str, str, str]] = []
        self.raw: dict[str, str] = {}
        self.said = ""
        self._model = 0
        self._figure: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {key: value or "" for key, value in attrs}
        self.tags.append((tag, found))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "article":
            self._model = int(found["data-model"])
        if tag == "data" and "data-key" in found:
            self._figure = [found["data-key"], found["value"], ""]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "data" and self._figure:
            key, value, shown = self._figure
            self.figures.append((self._model, key, value, shown))
            self._figure = []

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("script", "style"):
            kind = self.open[-1] if self.open[-1] == "style" else dict(self.tags[-1][1]).get("type", "")
            self.raw[kind] = self.raw.get(kind, "") + data
            return
        self.said += data
        if self._figure:
            self._figure[2] += data

    @property
    def data(self) -> Any:
        return json.loads(self.raw["application/json"])

    def having(self, attribute: str) -> Iterator[str]:
        return (found[attribute] for _, found in self.tags if attribute in found)


@pytest.fixture
def report(run: Run, tmp_path: Path) -> Callable[..., Page]:
    """The page that a command writes."""

    def make(*arguments: str, endpoint: str | None = None) -> Page:
        path = tmp_path / "report.html"
        done = run(*arguments, *([] if endpoint else ["--offline"]), "-o", path, endpoint=endpoint)
        assert done.code in (0, 1, 5), done.err
        assert done.out == ""
        return Page(path.read_text("utf-8"))

    return make


COMMANDS = [
    ("show", LLAMA),
    ("show", LLAMA, "--gpu", "RTX 4090", "--gpu", "RTX 3060"),
    ("show", DEEPSEEK, "--gpu", "8xH200"),
    ("fit", LLAMA, "--gpu", "2xH100", "--engine", "vllm"),
    ("fit", LLAMA, "--gpu", "H100", "--engine", "vllm"),
    ("fit", LLAMA, "--gpu", "24GiB", "--engine", "llama.cpp", "--context", "8k", "--price", "2"),
    ("fit", LLAMA, "--gpu", "RTX 4090+RTX 3060"),
    ("fit", LLAMA, "--all-gpus"),
    ("train", LLAMA, "--gpu", "H100", "--method", "lora"),
    ("train", LLAMA, "--fsdp", "8"),
    ("train", LLAMA, "--formulas", "article"),
    ("show", "google/gemma-2-9b", "--formulas", "article"),
    ("show", "BAAI/bge-small-en-v1.5"),
]


def shown_as(value: Any) -> set[str]:
    """What a page may show a value as."""
    if value is None:
        return {"unknown", "cannot tell"}
    if isinstance(value, bool):
        return {verdict_text(value)}
    texts = {f"{value:,.2f}", f"${value:,.2f}", f"${value:.3g}", f"{value:,.0f} tok/s", f"{value:.1f} tok/s"}
    texts |= {f"{value:.1f} times", f"{value:,.0f}", f"{value:.1f}"}
    if isinstance(value, int):
        sizes = {bytes_text(value), f"{bytes_text(abs(value))} {'left' if value >= 0 else 'short'}"}
        texts |= sizes | {gib_text(value), number_text(value), f"{number_text(value)} tokens"}
        texts |= {count_text(value)} if value >= 0 else set()
    return texts


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_numbers_are_those_of_json(command: tuple[str, ...], report: Callable[..., Page], run: Run) -> None:
    page = report(*command)
    record = page.data["models"][0]["record"]
    expected = run(*command, "--json", "--explain", "--offline").record
    layers = {} if "layers" in expected else {"layers": record["layers"]}
    assert record == expected | layers
    assert len(page.figures) > 20
    for model, key, value, shown in page.figures:
        found = value_at(page.data["models"][model], key)
        assert value == ("" if found is None else str(found)), key
        assert shown in shown_as(found), key


def test_the_figures_of_a_report_are_the_ones_that_people_ask_for(report: Callable[..., Page]) -> None:
    page = report("show", LLAMA, "--gpu", "RTX 4090")
    shown = {key: text for _, key, _, text in page.figures}
    assert shown["record.parameters.total"] in ("8.03 B", "8,030,261,248")
    assert shown["record.memory.inference.total"] == "16.2 GiB"
    assert shown["record.fit.0.fits"] == "fits"
    assert shown["record.fit.0.headroom"] == "7.35 GiB left"
    assert shown["bars.total.0"] == "16.16"
    assert shown["record.layers.0.kv_bytes_per_token"] == "4.00 KiB"
    assert "Source: the safetensors headers" in page.said


def test_the_chart_data_agree_with_the_record(report: Callable[..., Page]) -> None:
    """Curve and bars are sized apart from the record, by the same function."""
    made = report("show", LLAMA, "--gpu", "RTX 4090").data["models"][0]
    total = made["record"]["memory"]["inference"]["total"]
    fit = made["record"]["fit"][0]
    for sweep in (made["curve"], made["bars"]):
        at = sweep["values"].index(sweep["asked"])
        assert sweep["total"][at] == total
        assert sweep["devices"][0]["needed"][at] == fit["needed"]
        assert sweep["devices"][0]["usable"][at] == fit["usable"]
        assert sweep["devices"][0]["fits"][at] == fit["fits"]


def test_a_report_is_one_small_file_that_loads_nothing(report: Callable[..., Page]) -> None:
    page = report("show", DEEPSEEK, "--gpu", "8xH200")
    assert len(page.text.encode()) < 200_000
    assert not [found for tag, found in page.tags if tag in ("link", "img", "iframe", "object", "base")]
    assert not list(page.having("src"))
    assert all(link.startswith("#") for link in page.having("href"))
    assert not [key for _, found in page.tags for key in found if key.startswith("on") or key == "style"]
    policy = next(found["content"] for _, found in page.tags if found.get("http-equiv") == "Content-Security-Policy")
    hashes = {
        kind: f"'sha256-{base64.b64encode(hashlib.sha256(page.raw[kind].encode()).digest()).decode()}'"
        for kind in ("module", "style")
    }
    assert "default-src 'none'" in policy
    assert f"script-src {hashes['module']};" in policy
    assert f"style-src {hashes['style']};" in policy
    assert "http" not in page.raw["style"]


def test_a_hostile_repo_is_text(loopback_hub: LoopbackHub, report: Callable[..., Page]) -> None:
    files = repo_files(LLAMA)
    config = dict(files["config.json"])  # type: ignore[call-overload]
    config |= {"architectures": [HOSTILE], "model_type": HOSTILE, "torch_dtype": HOSTILE, "quantization_config": {}}
    config["quantization_config"] = {"quant_method": HOSTILE, "modules_to_not_convert": [HOSTILE * 100]}
    loopback_hub.add_repo("hostile/model", files | {"config.json": config})
    page = report("show", "hostile/model", endpoint=loopback_hub.url)
    plain = report("show", LLAMA, "--gpu", "RTX 4090")
    assert "</script><script>alert(1)" in page.said
    scripts = [found for tag, found in page.tags if tag == "script"]
    assert scripts == [found for tag, found in plain.tags if tag == "script"]
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert not set(page.text) & {"\u202e", "\u2066", "\x1b"}
    assert "\\u202e" in page.said
    assert HOSTILE in page.data["models"][0]["record"]["model"]["architecture"]


def test_a_name_of_ten_thousand_characters_is_cut_and_whole_in_its_title() -> None:
    made = name("a" * 10_000)
    assert len(made.text or "") == 160
    assert len(made.get("title", "")) == 10_000
    assert name("short").get("title") is None


def test_text_and_attributes_are_escaped_and_what_they_hide_is_shown() -> None:
    made = element("p", HOSTILE, element("b", "<"), title=HOSTILE, hidden=True, lang=None)
    page = Page(markup(made))
    shown = HOSTILE.replace("\u202e", "\\u202e").replace("\u2066", "\\u2066").replace("\x1b", "\\x1b")
    assert page.tags == [("p", {"title": shown, "hidden": ""}), ("b", {})]
    assert page.said == f"{shown}<"


def test_several_models_and_one_that_could_not_be_read(report: Callable[..., Page]) -> None:
    page = report("show", LLAMA, "google/gemma-2-9b", "nobody/nothing", "--gpu", "H100")
    assert [found["data-model"] for tag, found in page.tags if tag == "article"] == ["0", "1", "2"]
    assert list(page.having("href")) == ["#model-0", "#model-1", "#model-2"]
    assert "nobody/nothing is not cached" in page.said


def test_the_parts_of_a_pipeline_and_of_an_adapter_are_listed(
    loopback_hub: LoopbackHub, report: Callable[..., Page]
) -> None:
    loopback_hub.add_repo("org/sd", pipeline())
    loopback_hub.add_repo("org/base", BASE)
    loopback_hub.add_repo("org/lora", adapter())
    for repo, words in (("org/sd", ["unet", "CLIPTextModel"]), ("org/lora", ["org/base", "rank", "q_proj, v_proj"])):
        page = report("show", repo, "--gpu", "24GiB", endpoint=loopback_hub.url)
        assert all(word in page.said for word in words)
        parts = page.data["models"][0]["record"]["parts"]
        shown = {key: text for _, key, _, text in page.figures}
        for at, part in enumerate(parts):
            assert shown[f"record.parts.{at}.parameters.total"] == f"{part['parameters']['total']:,}"


def test_a_design_has_no_download_and_says_what_was_set(report: Callable[..., Page], tmp_path: Path) -> None:
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2}
    config |= {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 128, "vocab_size": 1000}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config), "utf-8")
    page = report("show", str(path), "--set", "num_hidden_layers=3")
    assert "the config alone, num_hidden_layers=3" in page.said
    assert "to download" not in page.said
    assert page.data["models"][0]["record"]["design"]["set"] == {"num_hidden_layers": 3}


def test_the_files_name_tells_the_format(run: Run, tmp_path: Path) -> None:
    for suffix, begin in (
        (".html", "<!doctype html>"),
        (".json", "{"),
        (".csv", "schema,"),
        (".md", "| model"),
        (".txt", LLAMA),
    ):
        path = tmp_path / f"report{suffix}"
        path.write_text("older")
        assert run("show", LLAMA, "--offline", "-o", path).code == 0
        assert path.read_text("utf-8").startswith(begin)
    path = tmp_path / "report.html"
    assert run("show", LLAMA, "--offline", "--json", "-o", path).code == 0
    assert json.loads(path.read_text("utf-8"))["repo_id"] == LLAMA
    assert sorted(each.name for each in tmp_path.glob(".*")) == []


def test_a_file_that_cannot_be_written_is_an_error_of_one_line(run: Run, tmp_path: Path) -> None:
    done = run("show", LLAMA, "--offline", "-q", "-o", tmp_path / "no" / "report.html")
    assert done.code == 6
    assert len(done.error_lines) == 1
    assert "could not be written: No such file or directory" in done.err


def test_html_goes_to_standard_output_without_a_file(run: Run) -> None:
    done = run("show", LLAMA, "--offline", "--format", "html")
    assert Page(done.out).data["models"][0]["record"]["repo_id"] == LLAMA


IDS = [LLAMA, "google/gemma-2-9b", "nobody/nothing"]


def test_a_batch_is_a_table_with_a_row_a_model(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "batch.html"
    done = run("batch", "-", "--offline", "--gpu", "24GiB", "--ordered", "-o", path, stdin="\n".join(IDS))
    assert done.code == 5
    page = Page(path.read_text("utf-8"))
    rows = page.data["rows"]
    assert [row["id"] for row in rows] == IDS
    assert [row["outcome"] for row in rows] == ["fits", "does_not_fit", "hub_unreachable"]
    records = run("batch", "-", "--offline", "--gpu", "24GiB", "--ordered", stdin="\n".join(IDS)).out.splitlines()
    for row, line in zip(rows, records, strict=True):
        assert row == {key: value_at(json.loads(line), key) for key in row}
    figures = [(key, value, shown) for _, key, value, shown in page.figures]
    expected = [
        (key, str(row[key]))
        for row in rows
        for key in row
        if isinstance(row[key], int) or key.endswith("fits")
        if row["outcome"] != "hub_unreachable"
    ]
    assert sorted((key, value) for key, value, _ in figures if key) == sorted(expected)
    assert "16.2 GiB" in [shown for *_, shown in figures]
    assert "1 fits, 1 does not fit, 1 hub unreachable" in page.said
    assert not list(tmp_path.glob("*.jsonl"))


def test_a_batch_of_own_columns_has_these(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "batch.html"
    columns = "model.model_type,parameters.total,model.layer_kinds"
    assert run("batch", "-", "--offline", "--columns", columns, "-o", path, stdin=LLAMA).code == 0
    page = Page(path.read_text("utf-8"))
    assert list(page.data["rows"][0]) == ["id", "outcome", *columns.split(",")]
    assert "8,030,261,248" in page.said
    assert '{"full_attention":32}' in page.said


def test_a_batch_goes_on_from_its_page(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "batch.html"
    assert run("batch", "-", "--offline", "-o", path, stdin="\n".join(IDS[:1])).code == 0
    done = run("batch", "-", "--offline", "-o", path, "--resume", stdin="\n".join(IDS[:2]))
    assert done.code == 0
    assert [json.loads(line)["id"] for line in lines_of_page(path)] == IDS[:2]
    path.write_text("<p>something else", "utf-8")
    done = run("batch", "-", "--offline", "-o", path, "--resume", stdin="\n".join(IDS[:2]))
    assert done.code == 2
    assert "is no page of a batch" in done.err


def test_a_hostile_list_is_text(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "batch.html"
    run("batch", "-", "--offline", "-o", path, stdin="<script>alert(1)</script>\n")
    page = Page(path.read_text("utf-8"))
    assert [found.get("type") for tag, found in page.tags if tag == "script"] == ["application/json", "module"]
    assert "<script>alert(1)</script>" in page.said
