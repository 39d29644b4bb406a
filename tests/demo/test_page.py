"""The page in a browser: what a visitor does, and what they see."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image, ImageDraw

from modeling_evf_sam.demo.marks import LINE, ON
from modeling_evf_sam.rendered_scenes.dataset import RenderedScenes

pytest.importorskip("gradio", reason="the page needs the extra 'demo'")


@pytest.fixture(scope="module")
def scene():
    from modeling_evf_sam.demo.photo_tab import SCENES

    return RenderedScenes("test", 100).scene(SCENES[0])


def _ask(page, *sentences):
    page.fill("#sentences textarea", "\n".join(sentences))
    page.click("#find")
    for sentence in sentences:
        page.wait_for_selector(f"#legend td:text-is('{sentence}')")
    page.wait_for_selector("#download:not([disabled])")


def _picture(page, name):
    image = page.wait_for_selector(f"{name} img")
    content = page.request.get(image.get_attribute("src")).body()
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def _marked(page):
    """(h, w) bool: what lies on and within the outlines in the picture of what was found."""
    lines = np.abs(_picture(page, "#found") - _picture(page, "#photo")).max(axis=-1) > 40
    area = Image.fromarray(lines.astype(np.uint8) * 255).copy()  # the array itself cannot be painted on
    ImageDraw.floodfill(area, (0, 0), 128)
    return np.asarray(area) != 128


def _overlap(marked, mask):
    mask = np.asarray(Image.fromarray(mask).resize(marked.shape[::-1]))
    return (marked & mask).sum() / (marked | mask).sum()


def _object(scene, colour, shape):
    (mask,) = (o.mask for o in scene.objects if (o.colour, o.shape) == (colour, shape))
    return mask


def _click(page, x, y):
    """A click on the photo, at parts of its width and height."""
    box = page.locator("#photo img").bounding_box()
    page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])


def test_masks_change_with_the_sentence_and_the_photo_is_encoded_once(visit, shared_model, scene, monkeypatch):
    encoded, encode = [], shared_model.model.get_image_embeddings
    monkeypatch.setattr(
        shared_model.model, "get_image_embeddings", lambda pixels: encoded.append(pixels) or encode(pixels)
    )
    shared_model.predictor.release()
    page = visit()
    for colour, shape in (("red", "circle"), ("green", "triangle")):
        _ask(page, f"the {colour} {shape}")
        assert _overlap(_marked(page), _object(scene, colour, shape)) > 0.6
    assert len(encoded) == 1


def test_download_has_the_masks(visit):
    page = visit()
    _ask(page, "the red circle", "the green triangle")
    assert page.locator("#legend tr").count() == 3
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == "scene_masks.zip"
    assert zipfile.ZipFile(download.value.path()).namelist() == [
        "01_the_red_circle.png", "02_the_green_triangle.png", "overlay.png", "result.json",
    ]  # fmt: skip


def _is_drawn(page, colour):
    return (np.abs(_picture(page, "#photo") - colour).max(axis=-1) < 12).sum() > 40


def _wait_for_new_photo(page, action):
    old = page.locator("#photo img").get_attribute("src")
    action()
    page.wait_for_selector(f"#photo img:not([src='{old}'])")


def test_clicks_are_drawn_sent_and_cleared(visit, shared_model, monkeypatch):
    seen, segment = [], shared_model.segment
    monkeypatch.setattr(
        shared_model, "segment", lambda *args, **named: seen.append(named["marks"]) or segment(*args, **named)
    )
    page = visit()
    assert not _is_drawn(page, ON)
    _wait_for_new_photo(page, lambda: _click(page, 0.25, 0.5))
    assert _is_drawn(page, ON)
    page.click("text=a box, by two corners")
    _wait_for_new_photo(page, lambda: _click(page, 0.75, 0.25))
    _wait_for_new_photo(page, lambda: _click(page, 0.1, 0.75))
    assert _is_drawn(page, LINE)
    _ask(page, "the red triangle")
    width, height = RenderedScenes("test", 100).scene(4).photo.shape[1::-1]
    assert np.allclose(seen[0].points, [(0.25 * width, 0.5 * height)], atol=2)
    assert np.allclose(seen[0].box, [0.1 * width, 0.25 * height, 0.75 * width, 0.75 * height], atol=2)
    _wait_for_new_photo(page, lambda: page.click("#clear"))
    assert not _is_drawn(page, ON)
    assert not _is_drawn(page, LINE)


@pytest.mark.parametrize(
    ("name", "message"), [("holiday.png", "Photo 'holiday.png' is not an image"), ("notes.txt", "Invalid file type")]
)
def test_a_bad_file_is_told_in_one_line_and_the_page_goes_on(visit, tmp_path, name, message):
    (tmp_path / name).write_text("hello")
    page = visit()
    page.set_input_files("input[type=file]", tmp_path / name)
    toast = page.wait_for_selector(".toast-body").inner_text()
    assert message in toast
    assert "Traceback" not in toast
    _wait_for_new_photo(page, lambda: _click(page, 0.25, 0.5))
    _ask(page, "the red circle")


def test_shows_where_the_model_looked(visit):
    page = visit()
    _ask(page, "the red circle")
    page.get_by_role("tab", name="Where the model looked").click()
    picture = _picture(page, "#attention")
    assert (picture[..., 0] > picture[..., 2] + 100).any(), "nowhere warm"
    assert (picture[..., 2] > picture[..., 0] + 30).any(), "nowhere cold"


def test_a_sentence_that_looks_like_html_is_text(visit):
    page = visit()
    _ask(page, "<b>star</b>")
    assert page.locator("#legend b").count() == 0


def test_no_sentence_is_told(visit):
    page = visit()
    page.fill("#sentences textarea", " ")
    page.click("#find")
    assert "There is no sentence" in page.wait_for_selector(".toast-body").inner_text()


def test_two_visitors_do_not_see_each_others_photo(visit, tmp_path):
    red, blue = visit(), visit()
    for page, colour in ((red, "red"), (blue, "blue")):
        path = tmp_path / f"{colour}.png"
        Image.new("RGB", (90, 60), colour).save(path)
        _wait_for_new_photo(page, lambda page=page, path=path: page.set_input_files("input[type=file]", path))
    for page in (red, blue):
        page.fill("#sentences textarea", "a star")
        page.click("#find")
    for page, channel in ((red, 0), (blue, 2)):
        page.wait_for_selector("#legend td:text-is('a star')")
        assert _picture(page, "#photo").mean(axis=(0, 1)).argmax() == channel
        bare = ~_marked(page)
        if bare.any():
            assert _picture(page, "#found")[bare].mean(axis=0).argmax() == channel


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_fits_the_window(visit, width, height):
    page = visit(width, height)
    _ask(page, "the red circle")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for name in ("#photo img", "#found img", "#find", "#sentences textarea", "#scenes img >> nth=3"):
        box = page.locator(name).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
