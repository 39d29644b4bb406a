import sys

import numpy as np
import pytest
from PIL import Image, ImageColor

from modeling_evf_sam.evaluation.calibration import reliability
from modeling_evf_sam.evaluation.reliability_diagram import GAP, OBSERVED, check_matplotlib, draw_reliability


def _count(path, colour):
    with Image.open(path) as picture:
        return int((np.asarray(picture.convert("RGB")) == ImageColor.getrgb(colour)).all(axis=-1).sum())


@pytest.fixture
def draw(tmp_path):
    pytest.importorskip("matplotlib", reason="diagrams need the extra 'eval'")

    def to_file(**diagrams):
        draw_reliability(diagrams, tmp_path / "diagram.png")
        return tmp_path / "diagram.png"

    return to_file


def test_bars_are_as_high_as_what_was_observed(draw):
    low, high = (
        _count(draw(presence=reliability([0.75] * 4, seen)), OBSERVED) for seen in ([1, 0, 0, 0], [1, 1, 1, 0])
    )
    assert low > 1000
    assert high == pytest.approx(3 * low, rel=0.15)  # but for the legend's square and the gap's edge over the low bar


def test_the_gap_is_drawn(draw):
    right, wrong = (_count(draw(quality=reliability([0.75], [seen])), GAP) for seen in (0.75, 0.25))
    assert wrong > 2 * right


def test_diagrams_stand_side_by_side_in_twice_the_pixels_of_a_page(draw):
    one = reliability([0.75], [1])
    sizes = [Image.open(draw(**diagrams)).size for diagrams in ({"quality": one}, {"presence": one, "quality": one})]
    assert sizes == [(900, 1160), (1800, 1160)]


def test_without_estimates_there_is_nothing_to_draw(draw):
    with pytest.raises(ValueError, match="neither presence nor quality"):
        draw()


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ValueError, match=r"a reliability diagram needs matplotlib: .*\[eval\]"):
        check_matplotlib()
