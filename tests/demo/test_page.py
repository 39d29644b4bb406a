"""The page in a browser: what a visitor does, and what they see."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image, ImageDraw

from modeling_evf_sam.demo.marks import LINE, ON, view_of
from modeling_evf_sam.rendered_scenes.dataset import RenderedScenes

pytest.importorskip("gradio", reason="the page needs the extra 'demo'")


@pytest.fixture(scope="module")
def scene():
    from modeling_evf_sam.demo.photo_tab import SCENES

    return RenderedScenes("test", 100).scene(SCENES[0])


@pytest.fixture
def visit(visit, scene):
    """A function that opens the page as one more visitor, and waits until its first example has been found."""

    def open_page(*size):
        page = visit(*size)
        page.wait_for_selector("#download:not([disabled])")
        for _ in range(200):
            if _marked(page, Image.fromarray(scene.photo)).any():
                return page
            page.wait_for_timeout(50)
        pytest.fail("the first example was not drawn")

    return open_page


def _ask(page, *sentences):
    page.fill("#sentences textarea", "\n".join(sentences))
    _wait_for_new_photo(page, lambda: page.click("#find"))
    for sentence in sentences:
        page.wait_for_selector(f"#legend td:text-is('{sentence}')")
    page.wait_for_selector("#download:not([disabled])")


def _picture(page):
    image = page.wait_for_selector("#photo img")
    content = page.request.get(image.get_attribute("src")).body()
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def _marked(page, photo):
    """(h, w) bool: what lies on and within the outlines in the picture of what was found."""
    lines = np.abs(_picture(page) - np.asarray(view_of(photo)).astype(int)).max(axis=-1) > 40
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
    image = page.locator("#photo img")
    box = image.bounding_box()
    image.click(position={"x": x * box["width"], "y": y * box["height"]})


def test_masks_change_with_the_sentence_and_the_photo_is_encoded_once(visit, shared_model, scene, monkeypatch):
    encoded, encode = [], shared_model.model.get_image_embeddings
    monkeypatch.setattr(
        shared_model.model, "get_image_embeddings", lambda pixels: encoded.append(pixels) or encode(pixels)
    )
    shared_model.predictor.release()
    page = visit()
    for colour, shape in (("red", "circle"), ("green", "triangle")):
        _ask(page, f"the {colour} {shape}")
        assert _overlap(_marked(page, Image.fromarray(scene.photo)), _object(scene, colour, shape)) > 0.6
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


def _is_drawn(page, colour, x, y):
    """Whether a colour is near a place, at parts of the picture's width and height."""
    picture = _picture(page)
    row, column = round(y * picture.shape[0]), round(x * picture.shape[1])
    around = picture[max(0, row - 12) : row + 12, max(0, column - 12) : column + 12]
    return (np.abs(around - colour).max(axis=-1) < 12).sum() > 20


def _wait_for_new_photo(page, action):
    """Acts, and waits until another picture is there, so that it can be clicked."""
    old = page.locator("#photo img").get_attribute("src")
    action()
    page.wait_for_selector(f"#photo img:not([src='{old}'])")
    page.wait_for_function("document.querySelector('#photo img').naturalWidth > 0")


def test_clicks_are_drawn_sent_and_cleared(visit, shared_model, monkeypatch):
    seen, segment = [], shared_model.segment
    monkeypatch.setattr(
        shared_model, "segment", lambda *args, **named: seen.append(named["marks"]) or segment(*args, **named)
    )
    page = visit()
    assert not _is_drawn(page, ON, 0.25, 0.5)
    _wait_for_new_photo(page, lambda: _click(page, 0.25, 0.5))
    assert _is_drawn(page, ON, 0.25, 0.5)
    page.click("text=a box, by two corners")
    _wait_for_new_photo(page, lambda: _click(page, 0.75, 0.25))
    _wait_for_new_photo(page, lambda: _click(page, 0.1, 0.75))
    assert _is_drawn(page, LINE, 0.1, 0.5)
    _ask(page, "the red triangle")
    assert _is_drawn(page, ON, 0.25, 0.5)
    width, height = RenderedScenes("test", 100).scene(4).photo.shape[1::-1]
    assert np.allclose(seen[-1].points, [(0.25 * width, 0.5 * height)], atol=2)
    assert np.allclose(seen[-1].box, [0.1 * width, 0.25 * height, 0.75 * width, 0.75 * height], atol=2)
    _wait_for_new_photo(page, lambda: page.click("#clear"))
    assert not _is_drawn(page, ON, 0.25, 0.5)
    assert not _is_drawn(page, LINE, 0.1, 0.5)


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
    page.wait_for_selector("#attention :text('the red circle')")
    image = page.wait_for_selector("#attention img").get_attribute("src")
    picture = np.asarray(Image.open(io.BytesIO(page.request.get(image).body())).convert("RGB")).astype(int)
    assert (picture[..., 0] > picture[..., 2] + 100).any(), "nowhere warm"
    assert (picture[..., 2] > picture[..., 0] + 30).any(), "nowhere cold"


def test_a_sentence_that_looks_like_html_is_text(visit):
    page = visit()
    _ask(page, "<b>star</b>")
    assert page.locator("#legend b").count() == 0


def test_the_first_example_has_run_when_the_page_opens(visit, scene):
    page = visit()
    written = page.locator("#sentences textarea").input_value().splitlines()
    assert len(written) == 3
    assert page.locator("#legend td:nth-child(2)").all_inner_texts() == written
    assert _marked(page, Image.fromarray(scene.photo)).any()


def test_no_sentence_is_told_beside_the_field_and_what_was_found_stays(visit):
    page = visit()
    _ask(page, "the red circle")
    found = _picture(page)
    page.fill("#sentences textarea", " ")
    page.click("#find")
    assert "There is no sentence" in page.wait_for_selector("#hint p").inner_text()
    assert page.locator("#legend td:text-is('the red circle')").count() == 1
    assert (_picture(page) == found).all()
    _ask(page, "the green triangle")
    assert page.locator("#hint p").count() == 0


def test_find_in_the_instant_after_choosing_a_scene_is_about_that_scene(visit):
    from modeling_evf_sam.demo.photo_tab import KINDS, SCENES

    page = visit()
    sample = RenderedScenes("test", max(SCENES) + 1, sentences_per_scene=3, kinds=KINDS)[SCENES[2]]
    page.locator("#scenes button").nth(2).click()
    page.click("#find")
    for sentence in sample.sentences:
        page.wait_for_selector(f"#legend td:text-is('{sentence}')")
    page.wait_for_selector("#download:not([disabled])")
    assert page.locator("#sentences textarea").input_value().splitlines() == sample.sentences
    view = np.asarray(view_of(sample.photo)).astype(int)
    for _ in range(100):  # what was asked about the former scene may still be shown for a moment
        picture = _picture(page)
        if picture.shape == view.shape and _marked(page, sample.photo).any():
            break
        page.wait_for_timeout(100)
    assert (np.abs(picture - view).max(axis=-1) < 40).mean() > 0.5


def test_shows_what_the_checkpoint_estimates(visit):
    page = visit()
    _ask(page, "the red circle", "a purple banana on the moon")
    assert page.locator("#legend th").all_inner_texts()[2:] == ["Score", "Quality", "Presence", "Of the photo"]
    assert page.locator("#legend tr:last-child td:text-is('not there')").count() == 1


def test_objects_one_by_one(visit, scene):
    page = visit()
    page.check("#semantic input")
    page.check("#instances input")
    page.fill("#sentences textarea", "triangle")
    page.click("#find")
    triangles = sum(thing.shape == "triangle" for thing in scene.objects)
    page.wait_for_selector(f"#legend td:text-is('triangle {triangles}')")
    assert page.locator("#legend tr").count() - 1 == triangles > 1


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
        assert _picture(page).mean(axis=(0, 1)).argmax() == channel


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_fits_the_window(visit, width, height):
    page = visit(width, height)
    _ask(page, "the red circle")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for name in ("#photo img", "#find", "#download", "#sentences textarea", "#scenes img >> nth=3"):
        box = page.locator(name).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width


def test_a_phone_shows_photo_sentences_and_buttons_without_scrolling(visit):
    page = visit(390, 844)
    for name in ("#photo img", "#sentences textarea", "#find", "#download"):
        box = page.locator(name).bounding_box()
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= 844, name
