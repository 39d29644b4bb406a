import numpy as np
import pytest

from modeling_evf_sam.evaluation.video_metrics import boundary_accuracy, region_similarity

EMPTY = np.zeros((40, 30), bool)  # a diagonal of 50 px: a tolerance of 1 px
FULL = ~EMPTY


def box(top: int, left: int, height: int = 10, width: int = 10) -> np.ndarray:
    mask = EMPTY.copy()
    mask[top : top + height, left : left + width] = True
    return mask


SPECK = box(0, 0, 1, 1)
HALVES = (box(0, 0, 40, 15), box(0, 15, 40, 15))  # one boundary, from border to border


@pytest.mark.parametrize(
    ("found", "meant", "j", "f"),
    [
        (box(5, 5), box(5, 5), 1, 1),
        (box(5, 5), box(25, 15), 0, 0),
        (box(5, 6), box(5, 5), 90 / 110, 1),  # one pixel aside is within the tolerance
        (box(5, 5, 10, 5), box(5, 5), 0.5, 46 / 70),  # precision 23/30, recall 23/40
        (EMPTY, EMPTY, 1, 1),
        (EMPTY, box(5, 5), 0, 0),
        (box(5, 5), EMPTY, 0, 0),
        (FULL, FULL, 1, 1),
        (FULL, box(5, 5), 100 / 1200, 0),  # the picture's border is no boundary
        (FULL, EMPTY, 0, 1),  # neither has a boundary
        (SPECK, SPECK, 1, 1),
        (*HALVES, 0, 1),
    ],
)
def test_hand_computed(found, meant, j, f):
    assert region_similarity(found, meant) == pytest.approx(j)
    assert boundary_accuracy(found, meant) == pytest.approx(f)
    assert region_similarity(meant, found) == pytest.approx(j)
    assert boundary_accuracy(meant, found) == pytest.approx(f)


def slow_boundary(mask: np.ndarray) -> list[tuple[int, int]]:
    height, width = mask.shape
    return [
        (y, x)
        for y in range(height)
        for x in range(width)
        if any(
            mask[y + dy, x + dx] != mask[y, x]
            for dy, dx in ((0, 1), (1, 0), (1, 1))
            if y + dy < height and x + dx < width
        )
    ]


def slow_f(found: np.ndarray, meant: np.ndarray, tolerance: float) -> float:
    reach = int(np.ceil(tolerance * np.sqrt(found.shape[0] ** 2 + found.shape[1] ** 2)))
    lines = slow_boundary(found), slow_boundary(meant)
    shares = []
    for line, other in (lines, lines[::-1]):
        near = [any((y - v) ** 2 + (x - u) ** 2 <= reach**2 for v, u in other) for y, x in line]
        shares.append(np.mean(near) if near else 1.0)
    return 0.0 if sum(shares) == 0 else 2 * shares[0] * shares[1] / sum(shares)


def blobs(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A few discs, some over the border."""
    y, x = np.ogrid[: size[0], : size[1]]
    discs = [((rng.random() * size[0], rng.random() * size[1]), rng.uniform(1, 9)) for _ in range(3)]
    return np.any([(y - top) ** 2 + (x - left) ** 2 < radius**2 for (top, left), radius in discs], axis=0)


@pytest.mark.parametrize("tolerance", [0.008, 0.05, 0.15])
@pytest.mark.parametrize("size", [(24, 31), (40, 17)])
def test_as_the_slow_implementation(tolerance: float, size: tuple[int, int]):
    rng = np.random.default_rng(0)
    for _ in range(8):
        meant = blobs(rng, size)
        found = np.roll(meant, rng.integers(-4, 5, 2), axis=(0, 1)) ^ (rng.random(size) < 0.01)
        expected = slow_f(found, meant, tolerance)
        assert boundary_accuracy(found, meant, tolerance=tolerance) == pytest.approx(expected, abs=1e-12)


def test_batches_are_scored_mask_by_mask():
    rng = np.random.default_rng(1)
    found, meant = (np.stack([blobs(rng, (24, 31)) for _ in range(6)]).reshape(2, 3, 24, 31) for _ in range(2))
    for measure in (region_similarity, boundary_accuracy):
        scores = measure(found, meant)
        assert scores.shape == (2, 3)
        assert [measure(found[i, j], meant[i, j]) for i in range(2) for j in range(3)] == scores.ravel().tolist()
