import numpy as np
import pytest
from PIL import Image

from modeling_evf_sam.data.mirroring import mirrored
from modeling_evf_sam.data.referring_sample import ReferringSample


def sample(*sentences):
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    masks = np.array([[[1, 0, 0], [1, 1, 0]]] * len(sentences), dtype=bool)
    return ReferringSample(
        photo=Image.fromarray(pixels), sentences=[*sentences], masks=masks, semantic=[False] * len(sentences), name="a"
    )


def test_photo_and_masks_are_those_of_a_mirror():
    before, after = sample("a cup"), mirrored(sample("a cup"))
    assert np.array_equal(np.asarray(after.photo), np.asarray(before.photo)[:, ::-1])
    assert np.array_equal(after.masks, before.masks[..., ::-1])
    assert (after.name, after.sentences) == ("a", ["a cup"])


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("the man on the left", "the man on the right"),
        ("Rightmost cup, left of the RIGHT plate", "Leftmost cup, right of the LEFT plate"),
        ("a bright leftover, upright", "a bright leftover, upright"),
        ("right side near left-most chair", "left side near right-most chair"),
    ],
)
def test_left_and_right_change_places(sentence, expected):
    assert mirrored(sample(sentence)).sentences == [expected]
    assert mirrored(mirrored(sample(sentence))).sentences == [sentence]


@pytest.mark.parametrize(
    "sentence",
    [
        "player 23",
        "the clock",
        "bottle that says milk",
        "the dog right behind the chair",
        "her left hand",
        "right foot of the boy",
        "la tasse à gauche",
    ],
)
def test_what_a_mirror_makes_untrue_stays(sentence):
    assert mirrored(sample("a cup", sentence)) is None
