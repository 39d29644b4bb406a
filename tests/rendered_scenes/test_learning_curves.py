import numpy as np
from PIL import Image

from modeling_evf_sam.rendered_scenes.learning_curves import draw_learning_curves

TABLE = {"title": "Table 9: a test", "rows": [["BEIT-3", "early", "high", 80.0], ["BEIT-3", "late", "low", None]]}


def test_a_row_that_learns_more_lies_higher(tmp_path):
    steps = range(50, 1050, 50)
    scores = {
        name: {str(seed): {"curve": [(step, top * step / 1000) for step in steps]} for seed in (0, 1)}
        for name, top in (("high", 0.9), ("low", 0.2))
    }
    draw_learning_curves([TABLE], scores, tmp_path / "curves.png")
    picture = np.asarray(Image.open(tmp_path / "curves.png").convert("RGB")).astype(int)
    first, second = (np.abs(picture - colour).sum(-1) < 30 for colour in ((31, 119, 180), (255, 127, 14)))
    right = picture.shape[1] * 3 // 4
    assert np.argwhere(first[:, right:])[:, 0].mean() < np.argwhere(second[:, right:])[:, 0].mean()


def test_a_short_training_has_no_curve(tmp_path):
    draw_learning_curves([TABLE], {"high": {"0": {"curve": []}}, "low": {"0": {"curve": []}}}, tmp_path / "none.png")
    assert (tmp_path / "none.png").exists()
