import numpy as np
import pytest

from modeling_evf_sam.evaluation.calibration import BINS, reliability


def test_error_by_hand():
    """Two bins: 0.82 and 0.88, of which one is there, and 0.25, which is not; the gaps weigh 2 and 1."""
    found = reliability([0.82, 0.25, 0.88], [True, False, False])
    assert found.counts.tolist() == [0, 0, 1, 0, 0, 0, 0, 0, 2, 0]
    np.testing.assert_allclose(found.estimated[[2, 8]], [0.25, 0.85])
    np.testing.assert_allclose(found.observed[[2, 8]], [0, 0.5])
    assert found.error == pytest.approx((2 * 0.35 + 0.25) / 3)


@pytest.mark.parametrize(
    ("estimate", "index"),
    [(0, 0), (0.1, 0), (np.nextafter(0.1, 1), 1), (0.5, 4), (0.51, 5), (0.9, 8), (0.91, 9), (1, 9)],
)
def test_an_edge_belongs_to_the_bin_below(estimate, index):
    assert reliability([estimate], [1]).counts.tolist() == [int(number == index) for number in range(BINS)]


@pytest.mark.parametrize(
    ("estimates", "observations", "error"),
    [
        ([0.7] * 10, [1] * 7 + [0] * 3, 0),
        ([1, 1, 0, 0], [1, 1, 0, 0], 0),
        ([1, 1, 0, 0], [0, 0, 1, 1], 1),
        ([0.3, 0.9], [0.5, 0.4], 0.35),  # an IoU in place of a truth value
        ([0.05, 0.95], [1, 0], 0.95),
        ([0.01, 0.09], [0.09, 0.01], 0),  # apart, but not in their bin
    ],
)
def test_errors(estimates, observations, error):
    assert reliability(estimates, observations).error == pytest.approx(error)


@pytest.mark.parametrize(
    ("estimates", "observations", "message"),
    [
        ([], [], r"two flat lists of one length, not \(0,\) and \(0,\)"),
        ([0.5], [1, 0], r"not \(1,\) and \(2,\)"),
        ([[0.5]], [[1]], r"not \(1, 1\) and \(1, 1\)"),
        ([0.5, 1.5], [1, 0], "estimate 1 is 1.5: it must lie within 0 and 1"),
        ([np.nan], [1], "estimate 0 is nan"),
        ([0.5], [-1], "observation 0 is -1.0"),
    ],
)
def test_checks(estimates, observations, message):
    with pytest.raises(ValueError, match=message):
        reliability(estimates, observations)
