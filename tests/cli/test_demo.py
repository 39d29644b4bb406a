import sys

import pytest

from evf_sam_cli import demo
from modeling_evf_sam.inference.video import EvfSamVideoPredictor


def test_without_gradio_the_extra_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "modeling_evf_sam.demo.page", raising=False)
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(ValueError, match=r"the page needs gradio: .* pip install .*'\.\[demo\]'"):
        demo.run()


def test_a_memory_is_loaded_for_films(tiny_video_checkpoint, monkeypatch):
    page = pytest.importorskip("modeling_evf_sam.demo.page", reason="the page needs the extra 'demo'")
    shown = []
    monkeypatch.setattr(page, "build_page", shown.append)
    monkeypatch.setattr(page, "open_page", raise_os_error)
    with pytest.raises(ValueError, match="cannot listen"):
        demo.run(model=str(tiny_video_checkpoint), host="127.0.0.1", port=None, device="cpu", dtype=None)
    assert EvfSamVideoPredictor(shown[0].model, shown[0].processor).has_memory


def raise_os_error(*_, **__):
    raise OSError
