"""The static page finds in a browser what Python finds."""

import os
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pytest

from modeling_evf_sam import DEFAULT_CHECKPOINT, EvfSamModel, EvfSamProcessor
from modeling_evf_sam.export.exporting import export
from modeling_evf_sam.inference.segmenting import segment
from modeling_evf_sam.rendered_scenes.dataset import RenderedScenes
from tests.browser import PATIENCE

ODD_SENTENCES = ["</s> <pad> [semantic] Circle", "ein rötlicher Kreis", "红色的圆 ½ ﬁ", "  the   circle\t."]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The embedded checkpoint as a page, and the model behind it."""
    pytest.importorskip("onnxruntime", reason="the page needs the extra 'onnx'")
    if shutil.which("npm") is None:
        pytest.skip("the page needs npm")
    model = EvfSamModel.from_pretrained(DEFAULT_CHECKPOINT).eval()
    processor = EvfSamProcessor.from_pretrained(DEFAULT_CHECKPOINT)
    folder = tmp_path_factory.mktemp("web") / "page"
    return SimpleNamespace(
        model=model, processor=processor, folder=folder, report=export(model, processor, folder, "web")
    )


@pytest.fixture(scope="module")
def page(site, browser) -> Iterator:
    """The page in a browser, after its first answer; nothing may be asked of other machines."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site.folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/"
    page, asked = browser.new_page(), []
    page.set_default_timeout(PATIENCE)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{address}?backend=wasm")
    page.wait_for_selector("#answer.found")
    yield page
    assert [url for url in asked if not url.startswith((address, "blob:", "data:"))] == []
    page.close()
    server.shutdown()


def ask(page, sentence, *, semantic=False):
    """What the page says of a sentence."""
    page.set_checked("#semantic", semantic)
    page.fill("#sentence", sentence)
    page.evaluate("document.getElementById('answer').textContent = ''")
    page.click("#find")
    page.wait_for_function("document.getElementById('answer').textContent")
    return page.inner_text("#answer")


def upload(page, tmp_path, photo):
    photo.save(tmp_path / "photo.png")
    page.evaluate("document.getElementById('answer').textContent = ''")
    page.set_input_files("#file", tmp_path / "photo.png")
    page.wait_for_function("document.getElementById('answer').textContent")


def test_npm_fails_before_any_graph_is_made(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime", reason="the page needs the extra 'onnx'")
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text("#!/bin/sh\necho npm error network is down >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(npm.parent), prepend=os.pathsep)
    monkeypatch.setattr("modeling_evf_sam.export.exporting.trace", lambda model: pytest.fail("a graph was made"))
    parts = (kind.from_pretrained(DEFAULT_CHECKPOINT) for kind in (EvfSamModel, EvfSamProcessor))
    with pytest.raises(ValueError, match="npm cannot fetch what the page needs: npm error network is down"):
        export(*parts, tmp_path / "page", "web")
    assert not (tmp_path / "page").exists()


def test_what_others_wrote_lies_beside_the_page(site):
    names = site.report["bytes"].keys()
    assert {"index.html", "vendor/ort.wasm.min.mjs", "vendor/tokenizers.min.mjs", "photo.onnx"} <= names
    assert not {"package.json", "package-lock.json"} & names


def test_an_example_is_there_when_it_opens(page):
    sentence = page.input_value("#sentence")
    assert page.inner_text("#answer").startswith(f"“{sentence}”: ")
    assert "drawn shapes alone" in page.inner_text("#about")


@pytest.mark.parametrize("index", range(3))
def test_masks_are_those_of_python(page, site, tmp_path, index):
    scene = RenderedScenes("test", 10)[index]
    upload(page, tmp_path, scene.photo)
    for sentence in [*scene.sentences[:2], *ODD_SENTENCES]:
        for semantic in (False, True):
            ask(page, sentence, semantic=semantic)
            found = page.evaluate("({...lastAnswer, mask: Array.from(lastAnswer.mask)})")
            (expected,) = segment(site.model, site.processor, [scene.photo], [[sentence]], semantic=semantic)
            mask = np.array(found["mask"], dtype=bool).reshape(expected.masks[0].shape)
            assert (mask != np.asarray(expected.masks[0])).mean() < 0.005
            assert found["score"] == pytest.approx(float(expected.scores[0]), abs=1e-4)


def test_bad_input_is_one_line_and_loses_nothing(page, tmp_path):
    scene = RenderedScenes("test", 10)[4]
    upload(page, tmp_path, scene.photo)
    (tmp_path / "notes.txt").write_text("no photo")
    page.set_input_files("#file", tmp_path / "notes.txt")
    page.wait_for_selector("#answer.wrong")
    assert page.inner_text("#answer") == "notes.txt is no photo that this browser can open."
    assert ask(page, "") == "Type what to look for."
    assert ask(page, "circle " * 100).endswith("the model reads 62 at the most: shorten it.")
    assert ask(page, scene.sentences[0]).startswith("“")


def test_what_cannot_become_a_page_is_refused(site, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="int8 is for the formats onnx and openvino"):
        export(site.model, site.processor, tmp_path / "page", "web", int8=True)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match=r"install Node\.js"):
        export(site.model, site.processor, tmp_path / "page", "web")
    assert not (tmp_path / "page").exists()
