import sys

import pytest

from evf_sam_cli import demo


def test_without_gradio_the_extra_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "modeling_evf_sam.demo.page", raising=False)
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(ValueError, match=r"the page needs gradio: .* pip install .*'\.\[demo\]'"):
        demo.run()
