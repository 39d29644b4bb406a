"""A drawn scene with a green triangle, two red ones and a red circle, as fixtures that a conftest.py imports."""

import pytest
from PIL import Image


@pytest.fixture(scope="session")
def scene():
    """The scene, with its objects."""
    from modeling_evf_sam.rendered_scenes.dataset import RenderedScenes

    return RenderedScenes("test", 5).scene(4)


@pytest.fixture(scope="session")
def photo(scene) -> Image.Image:
    """Its picture."""
    return Image.fromarray(scene.photo)
