from types import SimpleNamespace

import numpy as np
import pytest
import torch

from modeling_evf_sam.rendered_scenes.curriculum.reading import (
    UNCERTAIN,
    SightHead,
    attribute_loss,
    cell_classes,
    cell_geometry,
    cell_outlines,
    coverage,
    lesson,
    mask_result,
    object_classes,
)
from modeling_evf_sam.rendered_scenes.dataset import RenderedScenes
from modeling_evf_sam.rendered_scenes.expressions import Phrase
from modeling_evf_sam.rendered_scenes.scene import COLOURS, SHAPES, Scene, SceneObject


@pytest.fixture(scope="module")
def scene() -> Scene:
    """A red star left, a red star right, and a blue circle between them; 8 pixels each on 32 x 16."""
    object_map = np.full((16, 32), -1, np.int16)
    objects = []
    for index, (shape, colour, left) in enumerate((("star", "red", 0), ("star", "red", 24), ("circle", "blue", 12))):
        object_map[4:12, left : left + 8] = index
        objects.append(
            SceneObject(
                shape=shape, colour=colour, size="small", center=(left + 4, 8), extent=8, mask=object_map == index
            )
        )
    return Scene(photo=np.zeros((16, 32, 3), np.uint8), objects=objects, object_map=object_map)


def test_coverage_is_the_share_of_each_cell():
    mask = np.zeros((1, 8, 12), bool)
    mask[0, :4, :3] = True
    assert coverage(mask, 2).tolist() == [[[0.5, 0.0], [0.0, 0.0]]]


def test_a_lesson_has_every_step_of_reading(scene):
    anchor = Phrase(shape="circle", colour="blue")
    expression = SimpleNamespace(
        phrase=Phrase(shape="star", relation="right", anchor=anchor), targets=frozenset({1}), kind="relation"
    )
    lessons = lesson(scene, [expression], 4)
    meant, fitting, start = lessons["steps"][0]
    assert meant.sum(0).tolist() == [0, 0, 0, 2]
    assert fitting.sum(0).tolist() == [2, 0, 0, 2]
    assert start.sum(0).tolist() == [0, 1, 1, 0]
    assert lessons["targets"].tolist() == [[list(COLOURS).index("red") + 1, SHAPES.index("star") + 1]]


def test_objects_that_differ_share_no_class(scene):
    expression = SimpleNamespace(phrase=Phrase(colour="red"), targets=frozenset({0, 2}), kind="semantic")
    assert lesson(scene, [expression], 4)["targets"].tolist() == [[UNCERTAIN, UNCERTAIN]]


def test_cell_classes_name_the_object_in_a_cell():
    scene = RenderedScenes("train", 1).scene(0)
    for index, (colour, shape) in enumerate(object_classes(scene).tolist()):
        inside = coverage(scene.objects[index].mask[None], 64)[0] == 1
        assert (cell_classes(scene, 64)[:, inside] == torch.tensor([[colour], [shape]])).all()
    background = coverage(scene.object_map[None] == -1, 64)[0] == 1
    assert not cell_classes(scene, 64)[:, background].any()
    assert (cell_classes(scene, 8) == UNCERTAIN).any()


def test_cell_geometry_points_to_the_centre(scene):
    x, y, extent = cell_geometry(scene, 4)  # cells of 8 x 4 pixels
    assert (x[1, 0], y[1, 0]) == (0.0, 0.5)
    assert (x[2, 3], y[2, 3]) == (0.0, -0.5)
    assert extent[1, 0] == pytest.approx(8 * 4 / (32 * 16) ** 0.5)


def test_sight_is_right_where_colour_and_shape_are():
    head = SightHead(4)
    torch.nn.init.zeros_(head.classes.weight)
    torch.nn.init.zeros_(head.classes.bias)
    with torch.no_grad():
        head.classes.bias[2] = head.classes.bias[len(COLOURS) + 1 + 3] = 9.0
    cells = torch.tensor([[[[2, 2], [0, UNCERTAIN]], [[3, 1], [0, UNCERTAIN]]]])
    found = head.right_cells(torch.zeros(1, 4, 2, 2), cells)
    assert (found["intersections"].tolist(), found["unions"].tolist()) == ([1], [2])


def test_uncertain_cells_teach_nothing():
    logits = torch.randn(1, len(COLOURS) + len(SHAPES) + 2, 2, 2, requires_grad=True)
    loss = attribute_loss(logits, torch.full((1, 2, 2, 2), UNCERTAIN))
    loss.backward()
    assert loss == 0 and not logits.grad.any()


def test_mask_result_counts_cells():
    result = mask_result(torch.tensor([[[5.0, 5.0], [-5.0, -5.0]]]), torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]))
    assert (result["intersections"].tolist(), result["unions"].tolist()) == ([1], [3])


def test_outlines_follow_the_object_of_each_cell(scene):
    outlines = cell_outlines(scene, 4, zoom=2)  # cells of 8 x 4 pixels, parts of 4 x 2
    assert outlines.shape == (4, 4, 4)
    assert outlines[:, 1, 0].tolist() == [1, 1, 1, 1]  # inside the left star
    assert outlines[:, 1, 1].tolist() == [0, 1, 0, 1]  # the circle covers the right half of this cell
    assert not outlines[:, 0].any()  # above the objects
