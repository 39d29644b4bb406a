from collections.abc import Iterator

import pytest

from modeling_evf_sam import DEFAULT_CHECKPOINT
from tests.browser import PATIENCE, browser

__all__ = ["browser"]  # the fixture


@pytest.fixture(scope="module")
def shared_model():
    """The embedded checkpoint, which knows the shapes of the page's scenes."""
    pytest.importorskip("gradio", reason="the page needs the extra 'demo'")
    from modeling_evf_sam.demo.segmenting import SharedModel
    from modeling_evf_sam.inference.loading import load_model

    return SharedModel(*load_model(DEFAULT_CHECKPOINT, "cpu"), DEFAULT_CHECKPOINT)


@pytest.fixture(scope="module")
def address(shared_model) -> Iterator[str]:
    """Where the page is served."""
    from modeling_evf_sam.demo.page import build_page, open_page

    page = build_page(shared_model)
    yield open_page(page, host="127.0.0.1")
    page.close()


@pytest.fixture
def visit(browser, address) -> Iterator:
    """A function that opens the page as one more visitor; nothing may be asked of other machines."""
    contexts, asked = [], []

    def open_page(width: int = 1280, height: int = 800):
        context = browser.new_context(viewport={"width": width, "height": height})
        context.set_default_timeout(PATIENCE)
        context.on("request", lambda request: asked.append(request.url))
        contexts.append(context)
        page = context.new_page()
        page.goto(address)
        page.wait_for_selector("#photo img")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [url for url in asked if not url.startswith((address, "blob:", "data:"))] == []
