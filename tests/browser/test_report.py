"""The HTML report in a browser: readable without a script, on a phone, in the dark, on paper and with the keyboard."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Run, repo_files
from tests.hub_server import LoopbackHub

LLAMA = "meta-llama/Meta-Llama-3-8B"
COMMANDS = {
    "show": ("show", LLAMA, "--gpu", "RTX 4090", "--gpu", "RTX 3060"),
    "deepseek": ("show", "deepseek-ai/DeepSeek-V3", "--gpu", "8xH200"),
    "serving": ("fit", "google/gemma-2-9b", "--gpu", "2xH100", "--engine", "vllm"),
    "devices": ("fit", LLAMA, *(f"--gpu={size}GiB" for size in (8, 12, 16, 24, 48, 80))),
    "training": ("train", LLAMA, "--gpu", "H100"),
    "grid": ("show", LLAMA, "--context", "4k,8k", "--dtype", "bf16,int4", "--gpu", "RTX 4090"),
    "several": ("show", LLAMA, "google/gemma-2-9b", "nobody/nothing"),
    "batch": ("batch", "-", "--gpu", "24GiB", "--ordered"),
}
IDS = (LLAMA, "google/gemma-2-9b", "BAAI/bge-small-en-v1.5", "<script>alert(1)</script>")
HOSTILE = "</script><script>alert(1)</script><img src=http://192.0.2.1/x onerror=alert(2)>\u202egnp\x1b[31m"

Make = Callable[..., str]


@pytest.fixture
def make(run: Run, tmp_path: Path) -> Make:
    """Writes a report; its address."""

    def written(*arguments: str, endpoint: str | None = None) -> str:
        path = tmp_path / f"report-{len(list(tmp_path.glob('*.html')))}.html"
        offline = [] if endpoint else ["--offline"]
        run(*arguments, *offline, "-q", "-o", path, endpoint=endpoint, stdin="\n".join(IDS))
        return path.as_uri()

    return written


@pytest.mark.parametrize("kind", COMMANDS)
def test_axe_finds_nothing_serious(kind: str, make: Make, new_page: Any, axe: Callable[[Any], list[str]]) -> None:
    address = make(*COMMANDS[kind])
    for settings in ({}, {"color_scheme": "dark", "width": 360}):
        page = new_page(**settings)
        page.goto(address)
        page.get_by_role("button", name="Unfold all").click()
        assert axe(page) == []


@pytest.mark.parametrize("kind", COMMANDS)
def test_a_phone_shows_it_without_moving_sideways(kind: str, make: Make, new_page: Any) -> None:
    page = new_page(width=360, height=640)
    page.goto(make(*COMMANDS[kind]))
    page.get_by_role("button", name="Unfold all").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for svg in page.locator("svg[role]").all():
        box = svg.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360


@pytest.mark.parametrize("kind", COMMANDS)
def test_nothing_is_lost_without_the_script(kind: str, make: Make, new_page: Any) -> None:
    address = make(*COMMANDS[kind])
    plain, drawn = new_page(java_script_enabled=False), new_page()
    figures = []
    for page in (plain, drawn):
        page.goto(address)
        figures.append(page.locator("data").all_text_contents())
        assert page.locator("button:visible").count() == (
            0 if page is plain else page.locator("button:visible").count()
        )
    assert figures[0] == figures[1]
    assert plain.locator("[data-chart]:visible").count() == 0
    assert drawn.locator("[data-chart]:visible").count() == drawn.locator("[data-chart]").count()
    assert drawn.locator("[data-chart]:visible svg").count() >= drawn.locator("[data-chart]").count()


def test_the_charts_say_what_the_tables_say(make: Make, page: Any) -> None:
    page.goto(make(*COMMANDS["show"]))
    record = page.evaluate("JSON.parse(document.getElementById('data').textContent).models[0]")
    bars = page.locator("[data-chart=bars] svg").get_attribute("aria-label")
    totals = page.locator("[data-chart=bars] text.number").all_text_contents()
    assert len(totals) == len(record["bars"]["values"])
    assert "as stored 16.2 GiB" in bars
    assert "RTX 4090 23.5 GiB" in bars
    reading = page.locator("[data-chart=curve] .reading")
    assert reading.inner_text() == "4,096 tokens · total 16.2 GiB · RTX 4090 fits · RTX 3060 does not fit"
    assert page.locator("[data-chart=layers] rect.c1:not(.soft)").count() == 32


def test_a_number_unfolds_with_the_keyboard(make: Make, page: Any) -> None:
    page.goto(make(*COMMANDS["show"]))
    row = page.locator("summary", has_text="weights").first
    row.focus()
    formula = page.get_by_text("stored bytes of LlamaForCausalLM")
    assert not formula.is_visible()
    page.keyboard.press("Enter")
    assert formula.is_visible()
    assert page.get_by_text("Source: the safetensors headers").is_visible()


def test_light_and_dark_follow_the_system_until_the_switch_is_used(make: Make, new_page: Any) -> None:
    address = make("show", LLAMA)
    for scheme in ("light", "dark"):
        page = new_page(color_scheme=scheme)
        page.goto(address)
        shade = "getComputedStyle(document.body).backgroundColor"
        before = page.evaluate(shade)
        switch = page.get_by_role("button", name="Dark")
        assert switch.get_attribute("aria-pressed") == str(scheme == "dark").lower()
        switch.click()
        assert page.evaluate(shade) != before
        assert switch.get_attribute("aria-pressed") == str(scheme == "light").lower()


def test_it_prints_in_light_without_its_buttons(make: Make, new_page: Any) -> None:
    page = new_page(color_scheme="dark")
    page.goto(make(*COMMANDS["show"]))
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("button:visible").count() == 0
    assert page.get_by_role("slider").is_visible()
    assert page.pdf()[:5] == b"%PDF-"


def test_a_batch_is_sorted_by_the_column_that_is_selected(make: Make, page: Any) -> None:
    page.goto(make(*COMMANDS["batch"]))
    models = page.locator("tbody th")
    assert models.all_inner_texts() == list(IDS)
    head = page.get_by_role("columnheader", name="parameters")
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert models.all_inner_texts() == [IDS[1], IDS[0], IDS[2], IDS[3]]
    head.get_by_role("button").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert models.all_inner_texts() == [IDS[2], IDS[0], IDS[1], IDS[3]]
    page.get_by_role("columnheader", name="model").get_by_role("button").click()
    assert models.all_inner_texts()[0] == IDS[3]
    assert page.locator("figure svg").count() == 4


def test_the_record_is_downloaded_as_json(make: Make, page: Any) -> None:
    page.goto(make("show", LLAMA))
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the record").click()
    assert download.value.suggested_filename == "meta-llama--Meta-Llama-3-8B.json"
    record = json.loads(Path(download.value.path()).read_text("utf-8"))
    assert record["parameters"]["total"] == 8_030_261_248


def test_a_hostile_repo_runs_nothing_and_asks_for_nothing(
    loopback_hub: LoopbackHub, make: Make, new_page: Any, axe: Callable[[Any], list[str]]
) -> None:
    """`new_page` fails the test for any request, any error and any violation of the policy."""
    files = repo_files(LLAMA)
    config = dict(files["config.json"])  # type: ignore[call-overload]
    config |= {"architectures": [HOSTILE], "model_type": "a" * 10_000, "torch_dtype": HOSTILE}
    config["quantization_config"] = {"quant_method": HOSTILE, "modules_to_not_convert": [HOSTILE * 100]}
    loopback_hub.add_repo("hostile/model", files | {"config.json": config})
    page = new_page(width=360)
    page.on("dialog", lambda dialog: new_page.faults.append(f"dialog: {dialog.message}"))
    page.goto(make("show", "hostile/model", endpoint=loopback_hub.url))
    page.get_by_role("button", name="Unfold all").click()
    assert page.locator("script").count() == 2
    assert page.locator("img").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert "\u202e" not in page.locator("body").inner_text()
    assert axe(page) == []


def test_the_policy_stops_a_script_that_is_put_into_the_file(make: Make, new_page: Any, tmp_path: Path) -> None:
    make("show", LLAMA)
    path = next(tmp_path.glob("*.html"))
    path.write_text(path.read_text("utf-8").replace("<main>", "<main><script>window.ran = true</script>"), "utf-8")
    page = new_page()
    page.goto(path.as_uri())
    assert page.evaluate("window.ran") is None
    assert "Content Security Policy" in new_page.faults.pop()
    assert new_page.faults == []
