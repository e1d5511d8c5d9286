"""`llm-inspect web` in a real browser: what it shows is what the command prints, whatever is moved."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.browser.chromium import NONE, chromium
from tests.conftest import Run, repo_files
from tests.hub_server import LoopbackHub
from tests.web.serving import Served, serving

pytest.importorskip("playwright.sync_api", reason="make test-browser installs Playwright")
pytest.importorskip("starlette", reason="make test-browser installs the extra web")
pytestmark = pytest.mark.skipif(chromium() is None, reason=NONE)

LLAMA = "meta-llama/Meta-Llama-3-8B"
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("home"), "--offline") as server:
        yield server


@pytest.fixture
def open_page(new_page: Callable[..., Any], served: Served) -> Open:
    """open_page(model=..., gpu=[...], context=...): the page at a link, once it shows an answer."""

    def open_(
        width: int = 1100, height: int = 800, *, server: Served = served, link: Any = None, **settings: Any
    ) -> Any:
        page = new_page(width, height, **settings)
        page.goto(f"{server.address}&{urlencode(link or {'model': LLAMA}, doseq=True)}")
        settled(page)
        return page

    return open_


def settled(page: Any) -> None:
    """Wait until the answer to the last change is shown."""
    page.wait_for_selector(
        "#results[aria-busy=false] #sections section, #results[aria-busy=false] #problem:not([hidden])"
    )


def command(page: Any) -> str:
    text: str = page.inner_text("#command")
    return text


def after(page: Any, act: Callable[[], Any]) -> str:
    """The command that is shown after a change, which is another one."""
    before = command(page)
    act()
    page.wait_for_function("before => document.getElementById('command').innerText !== before", arg=before)
    settled(page)
    return command(page)


def shown(page: Any) -> dict[str, str]:
    """Every number on the page: where it stands in the JSON -> its exact value."""
    found = page.eval_on_selector_all("[data-key]", "all => all.map(each => [each.dataset.key, each.dataset.value])")
    return {key: value for key, value in found if key and not key.startswith("article.")}


def printed(run: Run, line: str) -> Any:
    """What the command that the page shows prints as JSON."""
    program, *arguments = shlex.split(line)
    assert program == "llm-inspect"
    return run(*arguments, "--offline", "--json", "--explain").record


def same(page: Any, run: Run) -> int:
    """Compare all numbers of the page with those of the command; how many there are."""
    record = printed(run, command(page))
    numbers = shown(page)
    for key, value in numbers.items():
        told: Any = record
        for part in key.split("."):
            told = told[int(part)] if isinstance(told, list) else told[part]
        assert json.loads(value) == told, key
    return len(numbers)


LINKS: list[tuple[dict[str, Any], int]] = [
    ({"model": LLAMA}, 12),
    ({"model": LLAMA, "gpu": ["RTX 4090", "2xRTX 3060"], "context": 8192, "batch": 4, "kv_dtype": "fp8"}, 25),
    ({"model": "deepseek-ai/DeepSeek-V3", "gpu": "8xH200", "dtype": "awq", "engine": "vllm"}, 20),
    ({"model": LLAMA, "gpu": "24GiB", "engine": "llama.cpp", "dtype": "Q4_K_M", "serving.n_ubatch": 256}, 15),
    ({"model": LLAMA, "task": "training", "method": "qlora", "gpu": "RTX 4090", "checkpointing": "full"}, 18),
    ({"model": LLAMA, "task": "training", "sharding.fsdp": 8, "article": 1}, 12),
    ({"model": LLAMA, "task": "training", "objective": "grpo", "completion_tokens": 512, "gpu": "H200"}, 12),
]


@pytest.mark.parametrize(("link", "least"), LINKS, ids=[re.sub(r"\W+", "-", str(link)) for link, _ in LINKS])
def test_the_numbers_are_those_of_the_command(open_page: Open, run: Run, link: dict[str, Any], least: int) -> None:
    assert same(open_page(link=link), run) >= least


def test_a_page_without_a_link_shows_llama_on_a_gpu(new_page: Any, served: Served) -> None:
    page = new_page()
    page.goto(served.address)
    settled(page)
    assert command(page) == f"llm-inspect fit {LLAMA} --gpu 'RTX 4090'"
    assert "key" not in page.url
    assert page.get_by_text("fits, 7.35 GiB left").is_visible()


def test_sliders_change_the_numbers(open_page: Open, run: Run) -> None:
    page = open_page(link={"model": LLAMA, "gpu": "RTX 3060", "dtype": "int8"})
    before = shown(page)
    page.focus("#range-context")
    assert "--context 5120" in after(page, lambda: page.keyboard.press("ArrowRight"))
    page.focus("#range-batch")
    assert "--batch 2" in after(page, lambda: page.keyboard.press("ArrowRight"))
    assert (shown(page)["explain.1.bytes"], before["explain.1.bytes"]) == (str(2 * 5120 * 131072), str(4096 * 131072))
    same(page, run)
    page.fill("#set-context", "6k")
    assert "--context 6k" in after(page, lambda: page.keyboard.press("Enter"))
    assert same(page, run)


def move(control: Any) -> None:
    """To another value."""
    kind = control.evaluate("each => each.localName === 'select' ? 'select' : each.type")
    if kind == "select":
        others = control.evaluate(
            "each => [...each.options].map(one => one.value).filter(one => one && one !== each.value)"
        )
        control.select_option(others[0])
    elif kind == "checkbox":
        control.set_checked(not control.is_checked())
    elif kind == "number":
        control.fill(
            control.evaluate("each => String(Math.max(Number(each.min || 1), Number(each.placeholder) || 1) + 1)")
        )
        control.dispatch_event("change")
    else:
        control.fill("3")
        control.dispatch_event("change")


@pytest.mark.parametrize(
    "link",
    [
        {"model": "Qwen/Qwen2.5-VL-3B-Instruct", "gpu": "H100 SXM"},
        *({"model": LLAMA, "gpu": "H100 SXM", "engine": name} for name in ("vllm", "sglang", "llama.cpp")),
        {"model": LLAMA, "gpu": "M4 Max 64GB", "engine": "mlx"},
        *({"model": LLAMA, "task": "training", "method": method} for method in ("full", "lora")),
        {"model": LLAMA, "task": "training", "method": "frozen-except", "trained": "*norm*"},
        {"model": LLAMA, "task": "training", "method": "lora", "objective": "grpo"},
    ],
    ids=lambda link: "-".join(filter(None, (link["model"][:4], link.get("engine"), link.get("method")))),
)
def test_every_control_changes_what_is_asked(open_page: Open, link: dict[str, Any]) -> None:
    """Its option appears in the command, or the page says why no run can have it."""
    page = open_page(link=link)
    before, fragment = command(page), page.evaluate("() => location.hash")
    names = page.eval_on_selector_all("#controls [id^=set-]:not(#set-article)", "all => all.map(each => each.id)")
    assert len(names) > 6
    for name in names:
        page.eval_on_selector_all("#controls details", "all => all.forEach(each => { each.open = true; })")
        move(page.locator(f"[id='{name}']"))
        page.wait_for_function(
            "before => document.getElementById('command').innerText !== before"
            " || !document.getElementById('problem').hidden",
            arg=before,
        )
        settled(page)
        page.evaluate("fragment => { history.replaceState(null, '', '#'); location.hash = fragment; }", fragment)
        page.wait_for_function(
            "before => document.getElementById('command').innerText === before"
            " && document.getElementById('problem').hidden",
            arg=before,
        )
        settled(page)


def test_an_objective_brings_its_settings_and_takes_them_along(open_page: Open) -> None:
    page = open_page(link={"model": LLAMA, "task": "training", "method": "lora"})
    assert not page.locator("#set-completion_tokens").count()
    after(page, lambda: page.select_option("#set-objective", "grpo"))
    page.fill("#set-completion_tokens", "512")
    line = after(page, lambda: page.keyboard.press("Tab"))
    assert "--objective grpo --completion-tokens 512" in line
    line = after(page, lambda: page.select_option("#set-objective", "dpo"))
    assert line.endswith("--objective dpo --method lora")
    assert page.locator("#set-reference").is_visible()
    assert not page.locator("#set-completion_tokens").count()


def test_a_link_restores_the_state(open_page: Open) -> None:
    page = open_page(link={"model": LLAMA, "gpu": ["RTX 4090"], "engine": "vllm"})
    page.eval_on_selector_all("#controls details", "all => all.forEach(each => { each.open = true; })")
    page.fill("[id='set-serving.max_num_seqs']", "64")
    after(page, lambda: page.keyboard.press("Tab"))
    line = after(page, lambda: page.select_option("#set-kv_dtype", "fp8"))
    page.wait_for_function("() => location.hash.includes('kv_dtype')")
    again = page.context.new_page()
    again.goto(page.url)
    settled(again)
    assert (
        command(again)
        == line
        == f"llm-inspect fit {LLAMA} --gpu 'RTX 4090' --kv-dtype fp8 --engine vllm --max-num-seqs 64"
    )
    assert again.input_value("[id='set-serving.max_num_seqs']") == "64"
    assert shown(again) == shown(page)


def test_back_and_forth_between_links_of_one_page(open_page: Open) -> None:
    page = open_page(link={"model": LLAMA, "batch": 2})
    first = page.url
    page.goto(first.replace("batch=2", "batch=3"))
    page.wait_for_function("() => document.getElementById('command').innerText.includes('--batch 3')")
    page.go_back()
    page.wait_for_function("() => document.getElementById('command').innerText.includes('--batch 2')")


def test_a_number_unfolds_into_its_formula(open_page: Open) -> None:
    page = open_page(link={"model": LLAMA})
    page.click("#memory summary:has-text('KV cache')")
    page.click("#memory .inside summary:has-text('full attention')")
    assert page.get_by_text(
        "32 layers x batch 1 x 4,096 tokens x (8 KV heads x (key 128 + value 128)) x 2 B"
    ).is_visible()
    assert page.get_by_text("Source: transformers.cache_utils.DynamicCache").first.is_visible()
    after(page, lambda: page.fill("#set-batch", "2") or page.keyboard.press("Enter"))
    assert page.get_by_text("32 layers x batch 2 x").is_visible(), "what was open stays open"


def test_the_likely_speed_stands_beside_its_bound(open_page: Open, run: Run) -> None:
    page = open_page(link={"model": LLAMA, "gpu": "RTX 4090", "engine": "llama.cpp", "dtype": "Q4_K_M"})
    same(page, run)
    (fit,) = printed(run, command(page))["fit"]
    for part in ("decode", "prefill"):
        found, name = fit[f"{part}_forecast"], f"#row-fit\\.0-{part}-likely"
        assert shown(page)[f"fit.0.{part}_forecast.high"] == str(found["high"])
        assert "tok/s" not in page.inner_text(f"{name} .value >> nth=0")
        page.click(f"{name} summary")
        assert f"{found['measurements']} published measurements of llama.cpp" in page.inner_text(f"{name} .inside")
    page = open_page(link={"model": LLAMA, "gpu": "24GiB", "engine": "llama.cpp", "dtype": "Q4_K_M"})
    assert page.locator("details[id$='-likely']").count() == 0


def test_advice_is_applied_by_a_click(open_page: Open, run: Run) -> None:
    page = open_page(link={"model": LLAMA, "gpu": "RTX 3060"})
    assert "does not fit" in page.inner_text("#verdicts h3")
    line = after(page, page.get_by_role("button", name="Apply: weights in 8.5 bits (Q8_0)").first.click)
    assert line == f"llm-inspect fit {LLAMA} --gpu 'RTX 3060' --context 4096 --dtype Q8_0 --engine llama.cpp"
    assert "fits" in page.inner_text("#verdicts h3")
    same(page, run)
    page = open_page(link={"model": LLAMA, "task": "training", "method": "lora", "gpu": "RTX 4090"})
    line = after(page, page.get_by_role("button", name="Apply: gradient checkpointing").first.click)
    assert "--checkpointing" in line
    assert "fits" in page.inner_text("#verdicts h3")


def test_a_device_of_the_table_is_taken_by_a_click(open_page: Open) -> None:
    page = open_page(link={"model": LLAMA})
    page.wait_for_selector("#devices table")
    name = page.inner_text("#devices tbody tr:first-child button")
    assert shlex.quote(name) in after(page, lambda: page.click("#devices tbody tr:first-child button"))


def test_the_article_stands_beside_the_exact_formulas(open_page: Open, run: Run) -> None:
    page = open_page(link={"model": LLAMA})
    page.check("#set-article")
    page.wait_for_selector("#memory .beside")
    article = run("show", LLAMA, "--formulas", "article", "--offline", "--json").record["memory"]["inference"]
    assert article["activations"] == 4096 * (34 * 4096 + 5 * 4096 * 32)
    cells = page.locator("#memory > .rows > details > summary > .beside").all_inner_texts()
    assert cells[:3] == ["15.0 GiB", "2.00 GiB", "3.03 GiB"]
    same(page, run)


def test_what_is_copied_and_downloaded(open_page: Open, run: Run) -> None:
    page = open_page(
        link={"model": LLAMA, "gpu": "RTX 4090", "engine": "vllm"}, permissions=["clipboard-read", "clipboard-write"]
    )
    page.wait_for_selector("#launch")
    page.locator(".code:has(#launch) button").click()
    page.wait_for_function("() => document.getElementById('said').textContent === 'Copied.'")
    emitted = run("fit", LLAMA, "--gpu", "RTX 4090", "--engine", "vllm", "--emit", "vllm", "--offline").out
    assert page.evaluate("navigator.clipboard.readText()") == page.inner_text("#launch") == emitted.strip()
    found = {}
    for kind in ("json", "csv", "html"):
        with page.expect_download() as download:
            page.get_by_role("button", name=f"Download {kind.upper()}").click()
        found[kind] = Path(download.value.path()).read_text("utf-8")
        assert download.value.suggested_filename == f"meta-llama-Meta-Llama-3-8B.{kind}"
    line = shlex.split(command(page))[1:]
    record = run(*line, "--offline", "--json", "--explain").record
    assert json.loads(found["json"]) == record | {"network": json.loads(found["json"])["network"]}
    told = run(*line, "--offline", "--format", "csv").out
    assert [row.count(",") for row in found["csv"].splitlines()] == [row.count(",") for row in told.splitlines()]
    assert found["csv"].splitlines()[0] == told.splitlines()[0]
    assert "<!doctype html>" in found["html"][:200].lower()
    assert str(record["serving"]["per_gpu"]["kv_pool"]) in found["html"]


def test_the_model_box_completes_by_keyboard(open_page: Open) -> None:
    page = open_page(link={"model": LLAMA})
    page.focus("#model")
    page.keyboard.type("qwen3-8b")
    page.wait_for_selector("#models li[role=option]")
    page.keyboard.press("ArrowDown")
    assert page.get_attribute("#model", "aria-activedescendant") == "model-0"
    assert "Qwen/Qwen3-8B" in after(page, lambda: page.keyboard.press("Enter"))
    assert page.inner_text("h1") == "Qwen/Qwen3-8B"


def test_it_is_used_by_keyboard_alone(open_page: Open) -> None:
    """Every control is reached by Tab, and what it shows of focus is seen."""
    page = open_page(link={"model": LLAMA, "gpu": "RTX 4090"})
    page.wait_for_selector("#devices table")
    seen: list[str] = []
    for _ in range(90):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.id || document.activeElement.textContent.slice(0, 20)"))
    for wanted in ("model", "task-inference", "range-context", "set-context", "gpu-name-0", "set-dtype", "set-article"):
        assert wanted in seen
    page.focus("#task-inference")
    assert "llm-inspect train" in after(page, lambda: page.keyboard.press("ArrowRight"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_it_is_accessible_and_no_wider_than_the_screen(
    open_page: Open, axe: Callable[[Any], list[str]], width: int, scheme: str
) -> None:
    for link in (
        {"model": LLAMA, "gpu": "RTX 3060", "article": 1},
        {"model": LLAMA, "gpu": "RTX 4090", "task": "training", "method": "qlora"},
    ):
        page = open_page(width, link=link, color_scheme=scheme)
        page.wait_for_selector("#devices table")
        page.wait_for_selector("#curve svg")
        page.eval_on_selector_all("details", "all => all.forEach(each => { each.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert axe(page) == []


def test_a_wrong_setting_is_said_and_the_page_goes_on(open_page: Open) -> None:
    page = open_page(link={"model": LLAMA})
    page.fill("#set-context", "long")
    page.keyboard.press("Enter")
    page.wait_for_selector("#problem:not([hidden])")
    assert page.inner_text("#problem") == "'long' is not a number of tokens\nTry 4096, 8k or 128k."
    page.fill("#set-context", "2k")
    page.keyboard.press("Enter")
    page.wait_for_selector("#problem", state="hidden")
    assert "--context 2k" in command(page)


HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"


def test_hostile_strings_stay_text(tmp_path: Path, loopback_hub: LoopbackHub, open_page: Open) -> None:
    files: dict[str, Any] = repo_files(LLAMA)
    config = json.loads(json.dumps(files["config.json"]))
    config |= {"architectures": [HOSTILE + "\u202e" + "x" * 10_000], "model_type": HOSTILE}
    loopback_hub.add_repo("evil/model", {**files, "config.json": json.dumps(config).encode()})
    with serving(tmp_path, endpoint=loopback_hub.url) as server:
        for link in (
            {"model": "evil/model", "gpu": "RTX 4090"},
            {"model": HOSTILE},
            {"model": LLAMA, "gpu": HOSTILE, HOSTILE: HOSTILE},
        ):
            page = open_page(server=server, link=link)
            assert page.evaluate("document.querySelectorAll('img, #results script').length") == 0
            assert "\u202e" not in page.inner_text("body")
            assert page.evaluate("document.documentElement.scrollWidth") <= 1100
            page.close()


def test_a_lost_server_is_said_and_the_page_goes_on_with_the_next(tmp_path: Path, new_page: Any) -> None:
    page = new_page()
    with serving(tmp_path, "--offline") as first:
        port = str(first.port)
        page.goto(f"{first.address}&model=openai-community/gpt2")
        settled(page)
        assert first.stop()[0] == 0
    page.fill("#set-batch", "3")
    page.keyboard.press("Enter")
    page.wait_for_selector("#banner:not([hidden])")
    assert "The server does not answer" in page.inner_text("#banner")
    with serving(tmp_path, "--offline", "--port", port) as second:
        page.wait_for_function("() => document.getElementById('banner').innerText.includes('started anew')")
        other = page.context.new_page()
        other.goto(second.address)
        settled(other)
        page.wait_for_selector("#banner", state="hidden")
        page.wait_for_function("() => document.getElementById('command').innerText.includes('--batch 3')")
        page.close()
        other.close()
    new_page.faults.clear()


def test_without_the_key_the_page_says_what_to_open(new_page: Any, served: Served) -> None:
    page = new_page()
    page.goto(served.origin)
    page.wait_for_selector("#banner:not([hidden])")
    assert "open the address that it printed" in page.inner_text("#banner")
    new_page.faults.clear()


def test_the_model_box_finds_and_reads_a_model_of_the_hub(
    tmp_path: Path, loopback_hub: LoopbackHub, open_page: Open
) -> None:
    loopback_hub.add_repo("openai-community/gpt2", repo_files("openai-community/gpt2"))
    loopback_hub.add_repo("someone/llama-tuned", repo_files(LLAMA))
    with serving(tmp_path, endpoint=loopback_hub.url) as server:
        page = open_page(server=server, link={"model": "openai-community/gpt2"})
        page.focus("#model")
        page.keyboard.type("llama-tuned")
        page.wait_for_selector("#models li[data-name='someone/llama-tuned']:has-text('Hub')")
        page.keyboard.press("ArrowDown")
        assert after(page, lambda: page.keyboard.press("Enter")) == "llm-inspect someone/llama-tuned"
        assert shown(page)["parameters.total"] == "8030261248"
        page.close()


def test_a_pasted_config_is_a_design_that_a_link_restores(open_page: Open) -> None:
    page = open_page(link={"model": LLAMA})
    config = json.dumps(repo_files(LLAMA)["config.json"], indent=2)
    assert after(page, lambda: page.fill("#model", config)) == "llm-inspect config.json"
    assert shown(page)["parameters.total"] == "8030261248"
    page.eval_on_selector_all("#controls details", "all => all.forEach(each => { each.open = true; })")
    page.fill("#set-set", "num_hidden_layers=16, hidden_size=2048")
    line = after(page, lambda: page.keyboard.press("Enter"))
    assert line == "llm-inspect config.json --set num_hidden_layers=16 --set hidden_size=2048"
    page.wait_for_function("() => location.hash.includes('num_hidden_layers%3D16')")
    again = page.context.new_page()
    again.goto(page.url)
    settled(again)
    assert shown(again) == shown(page)
