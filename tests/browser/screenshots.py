"""Makes the images of docs/report.md, with what `make test-browser` sets up: python -m tests.browser.screenshots"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.browser.chromium import chromium
from tests.conftest import command_environment, run_here

DOCS = Path(__file__).parents[2] / "docs"
IMAGES = {
    "report.png": (("show", "meta-llama/Meta-Llama-3-8B", "--gpu", "RTX 4090"), "light", 1370),
    "report-training.png": (("train", "meta-llama/Meta-Llama-3-8B", "--gpu", "H100"), "dark", 1420),
}
"""Name -> command, light or dark, and how many pixels of the page from its top."""
WIDTH = 900


def main() -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver, tempfile.TemporaryDirectory() as folder:
        browser = driver.chromium.launch(executable_path=chromium())
        for name, (command, scheme, height) in IMAGES.items():
            path = Path(folder, "report.html")
            run_here([*command, "--offline", "-o", str(path)], command_environment(Path(folder)))
            page = browser.new_page(viewport={"width": WIDTH, "height": height}, color_scheme=scheme)
            page.goto(path.as_uri())
            page.screenshot(path=DOCS / name)
        browser.close()


if __name__ == "__main__":
    main()
