"""A headless browser, for tests of pages; a conftest.py that imports `browser` has it as a fixture."""

import shutil
from collections.abc import Iterator

import pytest

PATIENCE = 120_000  # ms
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


@pytest.fixture(scope="module")
def browser() -> Iterator:
    playwright = pytest.importorskip("playwright.sync_api", reason="tests of the page need playwright")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("tests of the page need chromium")
    with playwright.sync_playwright() as session:
        browser = session.chromium.launch(executable_path=chromium, args=FLAGS, timeout=PATIENCE)
        yield browser
        browser.close()
