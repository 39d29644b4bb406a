"""The tab for films in a browser, and without PyAV."""

import json
import os
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from modeling_evf_sam.demo import following
from tests.film_files import rendered_frames, write_film

pytest.importorskip("gradio", reason="the page needs the extra 'demo'")
import gradio

from modeling_evf_sam.demo import film_tab
from modeling_evf_sam.demo.film_tab import FilmTab, Stopped

COUNT = 20
SENTENCES = ["The blue star", "Big orange square"]
PLAYS = "document.querySelector('#followed video')?.currentTime > 0"


@pytest.fixture
def film(tmp_path):
    pytest.importorskip("av", reason="film files need the extra 'video'")
    return write_film(tmp_path / "cats.mp4", rendered_frames(COUNT))


@pytest.fixture
def films(film, visit):
    """A function that opens the tab as one more visitor."""

    def open_tab(*size):
        page = visit(*size)
        page.get_by_role("tab", name="Film").click()
        page.wait_for_selector("#film img")
        return page

    return open_tab


@pytest.fixture
def stopped(shared_model, monkeypatch):
    """An event: a film was stopped."""
    event, follow = threading.Event(), shared_model.follow

    def watched(*args, **named):
        try:
            return follow(*args, **named)
        except Stopped:
            event.set()
            raise

    monkeypatch.setattr(shared_model, "follow", watched)
    return event


def _upload(page, film):
    page.set_input_files("input[data-testid='Open your own film-upload-button']", film)


def _download(page, button, folder):
    with page.expect_download() as download:
        page.click(button)
    file = folder / download.value.suggested_filename
    download.value.save_as(file)
    return file


def test_a_film_is_followed_shown_and_downloaded(films, film, tmp_path, monkeypatch):
    from modeling_evf_sam.segment_video.film_file import FilmFile

    folders = []

    def temporary(**named):
        folders.append(TemporaryDirectory(**named))
        return folders[-1]

    monkeypatch.setattr(film_tab, "TemporaryDirectory", temporary)
    page = films()
    _upload(page, film)
    page.wait_for_selector(f"#about-film p:text('cats.mp4: {COUNT} frames')")
    page.fill("#film-sentences textarea", "\n".join(SENTENCES))
    page.click("#follow")
    page.wait_for_selector("#followed :text('frames a second')")
    page.wait_for_selector("#download-film-masks:not([disabled])")
    page.wait_for_function(PLAYS)
    for sentence in SENTENCES:
        page.wait_for_selector(f"#film-legend tr:has(td:text-is('{sentence}')) td:text-is('{COUNT} of {COUNT}')")
    masks = _download(page, "#download-film-masks", tmp_path)
    assert masks.name == "cats_masks.jsonl"
    rows = [json.loads(line) for line in masks.read_text().splitlines()]
    assert [(row["frame"], row["sentence"]) for row in rows] == [(n, s) for n in range(COUNT) for s in SENTENCES]
    overlay = _download(page, "#download-film", tmp_path)
    assert overlay.name == "cats_overlay.mp4"
    assert len(FilmFile(overlay)) == COUNT
    assert [Path(folder.name).exists() for folder in folders] == [False]


def test_a_film_can_be_stopped_and_another_followed(films, film, stopped):
    page = films()
    page.click("#follow")
    page.click("#stop:not([disabled])")
    assert stopped.wait(60)
    page.wait_for_selector("#stop[disabled]")
    assert page.locator("#followed video").count() == 0
    _upload(page, film)
    page.wait_for_selector("#about-film p:text('cats.mp4')")
    page.click("#follow")
    page.wait_for_function(PLAYS)


@pytest.mark.parametrize("action", ["close the page", "open another film"])
def test_a_film_that_nobody_waits_for_is_stopped(films, film, stopped, action):
    page = films()
    page.click("#follow")
    page.wait_for_selector("#stop:not([disabled])")
    if action == "close the page":
        page.close()
    else:
        _upload(page, film)
    assert stopped.wait(60)


def test_a_photo_is_segmented_while_a_film_is_followed(films, visit, shared_model, stopped):
    film, photo = films(), visit()
    film.click("#follow")
    film.wait_for_selector("#stop:not([disabled])")
    photo.fill("#sentences textarea", "the red circle")
    photo.click("#find")
    photo.wait_for_selector("#legend td:text-is('the red circle')")
    film.click("#stop:not([disabled])")
    assert stopped.wait(60)


def _toast(page):
    text = page.wait_for_selector(".toast-body").inner_text()
    assert "Traceback" not in text
    return text


BAD = {
    "damaged": "'cats.mp4' is no film, or a damaged one",
    "long": f"Film 'cats.mp4' is longer than {COUNT - 1} frames",
    "heavy": "exceed the maximum allowed size of 100",
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_film_is_told_in_one_line_and_the_page_goes_on(films, film, monkeypatch, kind):
    if kind == "damaged":
        film.write_text("hello")
    elif kind == "long":
        monkeypatch.setattr(following, "MAX_FRAMES", COUNT - 1)
    else:
        os.truncate(film, following.MAX_FILM + 1)
    page = films()
    _upload(page, film)
    assert BAD[kind] in _toast(page)
    monkeypatch.undo()
    page.click("#follow")
    page.wait_for_selector("#stop:not([disabled])")


def test_sentences_are_bounded(films):
    page = films()
    page.fill("#film-sentences textarea", "s" * 301)
    page.click("#follow")
    assert "Sentence 1 has 301 characters" in _toast(page)
    page.wait_for_selector("#stop[disabled]")


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_fits_the_window(films, width, height):
    page = films(width, height)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for name in ("#film img", "#film-sentences textarea", "#follow", "#stop", "#followed", "#download-film-masks"):
        box = page.locator(name).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width


def test_without_pyav_the_tab_names_the_extra(shared_model, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with gradio.Blocks() as page:
        FilmTab(shared_model)
    (text,) = [block.value for block in page.blocks.values() if isinstance(block, gradio.Markdown)]
    assert text.startswith("A film file needs av: ") and "pip install" in text and "'.[video]'" in text
    assert not [block for block in page.blocks.values() if isinstance(block, gradio.Button)]
