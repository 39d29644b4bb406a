import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from modeling_evf_sam.exported.resizing import bicubic, bilinear


@pytest.mark.parametrize("resize", [bilinear, bicubic])
@pytest.mark.parametrize(
    ("old", "new"), [((427, 640), (224, 224)), ((50, 37), (96, 96)), ((1, 5), (7, 3)), ((64, 64), (427, 640))]
)
def test_images_are_resized_as_by_torch(resize, old, new):
    images = torch.rand(2, *old, generator=torch.Generator().manual_seed(0))
    expected = interpolate(images[None], new, mode=resize.__name__, align_corners=False)[0].numpy()
    resized = resize(images.numpy(), new)
    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized, expected, rtol=0, atol=3e-6)
