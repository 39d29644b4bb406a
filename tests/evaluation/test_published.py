import pytest

from modeling_evf_sam.data.references import PUBLISHED_SIZES
from modeling_evf_sam.evaluation.published import CIOU, NAMES, PUBLISHED_SPLITS


@pytest.mark.parametrize("method", CIOU)
def test_means_are_those_of_the_figures(method):
    *figures, mean = CIOU[method]
    assert len(figures) == len(PUBLISHED_SPLITS)
    assert sum(figures) / len(figures) == pytest.approx(mean, abs=0.1)  # printed from unrounded figures


def test_splits_are_all_that_have_a_published_test():
    assert set(PUBLISHED_SPLITS) == {split for split in PUBLISHED_SIZES if split[2] != "train"}
    assert {split[0] for split in PUBLISHED_SPLITS} == set(NAMES)
