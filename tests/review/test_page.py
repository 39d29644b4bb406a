"""The page in a browser, by keys and by clicks."""

import json
import shutil

import pytest

from tests.browser import PATIENCE

pytest.importorskip("gradio", reason="the page needs the extra 'demo'")
pytest.importorskip("pyarrow", reason="results need the extra 'bulk'")


@pytest.fixture
def opened(results, tmp_path, browser):
    from modeling_evf_sam import DEFAULT_CHECKPOINT
    from modeling_evf_sam.demo.page import open_page
    from modeling_evf_sam.demo.segmenting import SharedModel
    from modeling_evf_sam.inference.loading import load_model
    from modeling_evf_sam.review.answers import Review
    from modeling_evf_sam.review.page import SCRIPT, ReviewPage

    shutil.copytree(results, tmp_path, dirs_exist_ok=True)
    review = Review(tmp_path / "found")
    model = SharedModel(*load_model(DEFAULT_CHECKPOINT, "cpu"), DEFAULT_CHECKPOINT)
    blocks = ReviewPage(review, model, tmp_path, tmp_path / "reviewed", ["coco"]).page
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(open_page(blocks, host="127.0.0.1", head=SCRIPT))
    page.wait_for_selector("#photo img")
    page.wait_for_function("document.querySelector('#photo img').naturalWidth > 0")
    yield page, review, tmp_path
    context.close()
    blocks.close()


def _open(page, count):
    page.wait_for_selector(f"#about :text('{count} open')")


def test_keys_alone_label_correct_and_write(opened):
    page, review, folder = opened
    _open(page, 4)
    page.keyboard.press("a")
    _open(page, 3)
    page.keyboard.press("r")
    page.keyboard.press("Control+a")
    page.keyboard.type("a new name")
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    _open(page, 2)
    page.keyboard.press("n")
    _open(page, 1)
    page.keyboard.press("x")
    _open(page, 0)
    assert review.counts() == {"accepted": 2, "absent": 1, "dropped": 1}
    assert "a new name" in {answer.label for answer in review.answers}
    page.keyboard.press("w")
    page.wait_for_selector("#written :text('Accepted: 2. Not there: 1.')")
    lines = (folder / "reviewed" / "train.jsonl").read_text().splitlines()
    assert sum(json.loads(line)["mask"] is None for line in lines) == 1
    assert (folder / "reviewed" / "coco" / "annotations.json").is_file()


def test_a_click_corrects_a_mask_and_can_be_cleared(opened):
    page, review, _ = opened
    before = page.locator("#photo img").get_attribute("src")
    image = page.locator("#photo img")
    box = image.bounding_box()
    image.click(position={"x": 0.1 * box["width"], "y": 0.1 * box["height"]})
    page.wait_for_selector(f"#photo img:not([src='{before}'])")
    first = review.answers[0].mask.copy()
    page.keyboard.press("a")
    _open(page, 3)
    accepted = next(answer for answer in review.answers if answer.verdict)
    assert accepted.mask.shape == first.shape
    assert (accepted.mask != first).any()
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#about :text('accepted')")
