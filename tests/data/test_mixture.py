import pickle
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from multiprocessing import get_context

import numpy as np
import pytest
from PIL import Image

from modeling_evf_sam.data.mixture import DatasetMixture
from modeling_evf_sam.data.referring_dataset import ReferringDataset, Target


class _Numbers(ReferringDataset):
    """Photo i has the sentences "<name> i 0", "<name> i 1", ...; the mask of sentence j is row j."""

    def __init__(self, name, photos, sentences=5):
        self.name, self.photos, self.sentences = name, photos, sentences

    def __len__(self):
        return self.photos

    def read(self, index):
        rows = np.eye(5, dtype=bool)[:, :, None]
        return Image.new("RGB", (1, 5)), [
            Target(sentence=f"{self.name} {index} {j}", draw=lambda j=j: rows[j]) for j in range(self.sentences)
        ]


def _mixture(**options):
    return DatasetMixture([_Numbers("a", 10), _Numbers("b", 3, 2)], **{"size": 3000, "rates": [1, 3], **options})


def _sentences(mixture, indices):
    return [mixture[index].sentences for index in indices]


def test_rates_photos_and_sentences_are_drawn_evenly():
    draws = _sentences(_mixture(), range(3000))
    datasets = Counter(sentences[0][0] for sentences in draws)
    assert datasets["b"] / 3000 == pytest.approx(0.75, abs=0.03)
    photos = Counter(sentences[0].split()[1] for sentences in draws if sentences[0][0] == "a")
    assert len(photos) == 10
    assert {len(set(sentences)) for sentences in draws if sentences[0][0] == "a"} == {3}
    assert {len(sentences) for sentences in draws if sentences[0][0] == "b"} == {2}
    words = Counter(sentence.split()[2] for sentences in draws for sentence in sentences if sentence[0] == "a")
    assert min(words.values()) / max(words.values()) > 0.8


def test_masks_stay_with_their_sentences():
    for index in range(50):
        sample = _mixture()[index]
        assert [int(mask[:, 0].argmax()) for mask in sample.masks] == [int(s.split()[2]) for s in sample.sentences]


def test_item_follows_from_seed_and_index_alone():
    """In any order, after any history, in a copy and in another process."""
    mixture = _mixture(seed=4)
    first = _sentences(mixture, range(20))
    assert _sentences(mixture, reversed(range(20))) == first[::-1]
    assert _sentences(pickle.loads(pickle.dumps(mixture)), range(20)) == first
    assert _sentences(_mixture(seed=4, size=40), range(20)) == first
    assert _sentences(_mixture(seed=5), range(20)) != first
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
        assert pool.submit(_sentences, mixture, range(10, 20)).result() == first[10:]


class _Sides(ReferringDataset):
    """One photo, its left half white, with one sentence about that."""

    def __len__(self):
        return 1

    def read(self, index):
        half = np.array([[True, False]])
        return Image.fromarray(half.astype(np.uint8) * 255), [Target(sentence="the left half", draw=lambda: half)]


def test_a_share_of_the_draws_is_flipped():
    sides = [DatasetMixture([_Sides()], size=200, flips=flips) for flips in (0.0, 0.5, 1.0)]
    found = [Counter(mixture[index].sentences[0] for index in range(200)) for mixture in sides]
    assert found[0] == {"the left half": 200} and found[2] == {"the right half": 200}
    assert found[1]["the right half"] == pytest.approx(100, abs=25)
    for index in range(20):
        sample = sides[1][index]
        assert np.array_equal(np.asarray(sample.photo) > 0, sample.masks[0])
        assert sample.masks[0, 0, 0] == ("left" in sample.sentences[0])


def test_photos_without_sentences_are_drawn_again():
    class Sparse(_Numbers):
        def read(self, index):
            photo, targets = super().read(index)
            return photo, targets if index == 2 else []

    assert {sample.sentences[0].split()[1] for sample in DatasetMixture([Sparse("s", 4)], size=20)} == {"2"}
    with pytest.raises(ValueError, match="draw 0: 100 photos had no sentences"):
        DatasetMixture([_Numbers("n", 4, 0)], size=1)[0]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"rates": None}, nullcontext()),
        ({"rates": [0, 1]}, nullcontext()),
        ({"rates": [1]}, pytest.raises(ValueError, match="2 datasets with 1 rates")),
        ({"rates": [1, -1]}, pytest.raises(ValueError, match=r"\[1\.0, -1\.0\] must be 0 or more")),
        ({"rates": [0, 0]}, pytest.raises(ValueError, match="one of them above 0")),
        ({"rates": [1, float("nan")]}, pytest.raises(ValueError, match="must be 0 or more")),
        ({"size": 0}, pytest.raises(ValueError, match="size 0")),
        ({"sentences_per_photo": 0}, pytest.raises(ValueError, match="sentences_per_photo 0")),
    ],
)
def test_checks(options, expected):
    with expected:
        _mixture(**options)


def test_empty_datasets_and_wrong_indices():
    with pytest.raises(ValueError, match="dataset 1 has no photos"):
        DatasetMixture([_Numbers("a", 1), _Numbers("b", 0)], size=1)
    with pytest.raises(ValueError, match="0 datasets"):
        DatasetMixture([], size=1)
    for index in (-1, 3000):
        with pytest.raises(IndexError):
            _mixture()[index]
    with pytest.raises(IndexError, match="photo 3 is outside the 3 photos"):
        _Numbers("b", 3)[3]
