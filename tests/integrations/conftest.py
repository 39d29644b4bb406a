import numpy as np
import pytest

from tests.drawn_scene import photo, scene

__all__ = ["photo", "scene"]  # the fixtures


@pytest.fixture(scope="session")
def triangles(scene) -> list[np.ndarray]:
    return [thing.mask for thing in scene.objects if thing.shape == "triangle"]


@pytest.fixture(scope="session")
def found_all(triangles):
    """A function that tells whether masks are those of the three triangles."""

    def agree(masks) -> bool:
        ious = [[(own & mask).sum() / (own | mask).sum() for mask in masks] for own in triangles]
        return len(masks) == len(triangles) and min(map(max, ious)) > 0.8

    return agree
