import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from modeling_evf_sam.extras import require

ROOT = Path(__file__).parents[1]


def test_what_is_there_is_fine():
    require("json.decoder", extra="demo", what="a test")


def test_what_is_missing_is_named_with_the_way_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(ValueError, match=r"^the page needs gradio: .*pip install --constraint .* '\.\[demo\]'$"):
        require("gradio", extra="demo", what="the page")


def test_every_extra_that_is_named_exists():
    settings = ConfigParser(interpolation=None)
    settings.read(ROOT / "setup.cfg")
    calls = [
        line
        for package in ("modeling_evf_sam", "evf_sam_cli")
        for path in (ROOT / package).rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if "require(" in line and 'extra="' in line
    ]
    assert len(calls) >= 4
    for line in calls:
        assert line.partition('extra="')[2].partition('"')[0] in settings["options.extras_require"]
