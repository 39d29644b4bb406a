from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image

from modeling_evf_sam import DEFAULT_CHECKPOINT, EvfSamModel, EvfSamProcessor
from modeling_evf_sam.inference.label_maps import LabelMap, label_map
from modeling_evf_sam.inference.segmenting import segment

CATEGORIES = ["square", "circle", "star"]


@pytest.fixture(scope="module", params=[torch.float32, torch.bfloat16], ids=str)
def model(request) -> EvfSamModel:
    return EvfSamModel.from_pretrained(DEFAULT_CHECKPOINT, dtype=request.param).eval()


@pytest.fixture(scope="module")
def processor() -> EvfSamProcessor:
    return EvfSamProcessor.from_pretrained(DEFAULT_CHECKPOINT)


@pytest.fixture(scope="module")
def scene() -> tuple[Image.Image, np.ndarray]:
    """A photo with two circles (2) and a square (1), and their map."""
    indices = np.zeros((120, 160), dtype=int)
    rows, columns = np.ogrid[:120, :160]
    for y, x in ((30, 30), (40, 120)):
        indices[(rows - y) ** 2 + (columns - x) ** 2 < 20**2] = 2
    indices[70:105, 60:95] = 1
    colours = np.array([(255, 255, 255), (0, 0, 200), (220, 20, 20)], dtype=np.uint8)
    return Image.fromarray(colours[indices]), indices


def test_each_pixel_has_its_category_by_one_encoding(model, processor, scene):
    photo, expected = scene
    encode = EvfSamModel.get_image_embeddings
    with mock.patch.object(EvfSamModel, "get_image_embeddings", autospec=True, side_effect=encode) as spy:
        found = label_map(model, processor, photo, CATEGORIES)
    assert spy.call_count == 1
    assert found.categories == CATEGORIES
    for number in (1, 2):
        own, true = found.indices == number, expected == number
        assert (own & true).sum() / (own | true).sum() > 0.8
    assert (found.indices == expected).mean() > 0.95


def test_the_map_beside_masks_is_the_same(model, processor, scene):
    (found,) = segment(model, processor, [scene[0]], [CATEGORIES], semantic=True, label_map=True)
    alone = label_map(model, processor, scene[0], CATEGORIES)
    assert (found.label_map.indices == alone.indices).mean() > 0.999
    assert found.label_map.categories == CATEGORIES
    for number, mask in enumerate(found.masks, start=1):
        assert mask[found.label_map.indices == number].all()
    assert not found.masks.any(0)[found.label_map.indices == 0].any()


@pytest.mark.parametrize(("count", "mode"), [(3, "P"), (300, "I;16")])
def test_saved_pixels_are_the_indices(tmp_path, count, mode):
    indices = np.arange(60 * 80).reshape(60, 80) % (count + 1)
    labels = LabelMap(indices=indices, categories=[str(number) for number in range(count)])
    photo = Image.new("RGB", (80, 60), "white")
    labels.save(tmp_path / "new", photo)
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"labels.png", "labels_legend.png"}
    picture = Image.open(tmp_path / "new" / "labels.png")
    assert picture.mode == mode
    assert np.array_equal(np.asarray(picture), indices)
    assert Image.open(tmp_path / "new" / "labels_legend.png").size == labels.plot(photo).size


def test_bad_categories_are_named(model, processor, scene):
    with pytest.raises(ValueError, match="sentence 1 has no words"):
        label_map(model, processor, scene[0], ["square", " "])
