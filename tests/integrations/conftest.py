import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def scene():
    """A drawn scene with one green triangle, two red ones, and a red circle."""
    from modeling_evf_sam.rendered_scenes.dataset import RenderedScenes

    return RenderedScenes("test", 5).scene(4)


@pytest.fixture(scope="session")
def photo(scene) -> Image.Image:
    return Image.fromarray(scene.photo)


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
