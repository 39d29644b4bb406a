import numpy as np

from modeling_evf_sam.rendered_scenes.arranging import arrange
from modeling_evf_sam.rendered_scenes.painting import paint
from modeling_evf_sam.rendered_scenes.scene import COLOURS, Arrangement


def test_flat_scenes_are_plain_paint():
    flat = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        arrangement = arrange(rng)
        if not arrangement.flat:
            continue
        flat += 1
        for _ in range(8):
            assert_flat(paint(rng, arrangement), arrangement)
    assert 30 <= flat <= 60


def assert_flat(photo: np.ndarray, arrangement: Arrangement) -> None:
    background = photo[arrangement.object_map < 0]
    assert (background == background[0]).all()
    for item in arrangement.objects:
        fill = photo[item.mask & ~arrangement.outline_map]
        assert (fill == fill[0]).all()
        assert tuple(fill[0].tolist()) in COLOURS[item.colour]
        assert np.linalg.norm(fill[0].astype(float) - background[0]) >= 74.5  # 75 before rounding
