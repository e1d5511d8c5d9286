"""The fixtures can fail: what they are to find, they find."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

GOOD = "<!doctype html><html lang=en><title>A page</title><main><h1>A page</h1></main></html>"


def test_axe_finds_a_button_without_a_name(page: Any, axe: Callable[[Any], list[str]]) -> None:
    page.set_content(GOOD)
    assert axe(page) == []
    page.set_content(GOOD.replace("</main>", "<button></button></main>"))
    assert [line.split(" (")[0] for line in axe(page)] == ["button-name"]


def test_a_request_to_another_machine_is_a_fault(new_page: Any) -> None:
    page = new_page()
    page.route("**/*", lambda route: route.abort())
    page.set_content(GOOD.replace("</main>", "<img alt='' src='http://192.0.2.1/a.png'></main>"))
    assert "network: http://192.0.2.1/a.png" in new_page.faults
    new_page.faults.clear()


def test_a_script_that_fails_is_a_fault(new_page: Any) -> None:
    page = new_page()
    page.set_content(GOOD.replace("</main>", "<script>nothing.there</script></main>"))
    page.wait_for_timeout(50)
    assert new_page.faults == ["error: nothing is not defined"]
    new_page.faults.clear()
