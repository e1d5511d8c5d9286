"""A real browser for tests: the Chromium of this machine, driven by Playwright, and axe-core, with no network.

`make test-browser` sets up what is needed beside Chromium itself, which is the system's: `apt-get install chromium`.
Without one of the two, the tests that ask for a page are skipped, and say so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.browser.chromium import NONE, chromium

LOCAL = ("file", "data", "blob", "about")
"""Schemes that leave no machine."""


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One Chromium for all tests of a process."""
    playwright = pytest.importorskip("playwright.sync_api", reason="make test-browser installs Playwright")
    executable = chromium()
    if executable is None:
        pytest.skip(NONE)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable)
        yield browser
        browser.close()


@pytest.fixture
def new_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Makes pages: new_page(width=1000, height=800, **settings of Playwright's `new_context`).

    Whatever a page asks of another machine than this one fails the test, as do its errors, those of its content
    security policy included.
    """
    contexts: list[Any] = []
    faults: list[str] = []

    def make(width: int = 1000, height: int = 800, **settings: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, **settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("console", lambda said: faults.append(f"console: {said.text}") if said.type == "error" else None)
        page.on("request", lambda asked: None if _is_local(asked.url) else faults.append(f"network: {asked.url}"))
        return page

    make.faults = faults  # type: ignore[attr-defined]  # for a test whose page has to fail: faults.clear()
    yield make
    for context in contexts:
        context.close()
    assert faults == []


def _is_local(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in LOCAL or parts.hostname in ("127.0.0.1", "localhost", "::1")


@pytest.fixture
def page(new_page: Callable[..., Any]) -> Any:
    """A page of 1000 x 800 pixels, as `new_page` makes it."""
    return new_page()


@pytest.fixture
def axe() -> Callable[[Any], list[str]]:
    """What axe-core finds serious or critical on a page, a line for each place: axe(page) == []."""
    axe_playwright = pytest.importorskip("axe_playwright_python.sync_playwright", reason="make test-browser has it")

    def serious(page: Any) -> list[str]:
        found = axe_playwright.Axe().run(page).response["violations"]
        return [
            f"{each['id']} ({each['impact']}): {node['html'][:200]}"
            for each in found
            if each["impact"] in ("serious", "critical")
            for node in each["nodes"]
        ]

    return serious
