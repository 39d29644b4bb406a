import numpy as np
import pytest
import torch
from PIL import Image

from modeling_evf_sam.image_processing_evf_sam import EvfSamImageProcessor
from modeling_evf_sam.processing_evf_sam import EvfSamProcessor
from modeling_evf_sam.prompts_evf_sam import check_thresholds

WIDE = np.zeros((20, 40, 3), dtype=np.uint8)  # SAM's view shows it at 32 x 64 pixels: 1.6 for each of the photo's
TALL = np.zeros((64, 16, 3), dtype=np.uint8)  # at 64 x 16 pixels
NO_BOX = [-10.0] * 4


@pytest.fixture(scope="module")
def processor(tiny_tokenizer):
    return EvfSamProcessor(EvfSamImageProcessor(size=64, multimodal_image_size=16), tiny_tokenizer)


@pytest.mark.parametrize(
    ("layout", "points", "boxes"),
    [
        ("pad", [[1.6, 3.2], [64.0, 32.0]], [0.0, 1.6, 64.0, 32.0]),
        ("stretch", [[1.6, 6.4], [64.0, 64.0]], [0.0, 3.2, 64.0, 64.0]),
    ],
)
def test_points_and_boxes_are_scaled_to_the_view(tiny_tokenizer, layout, points, boxes):
    processor = EvfSamProcessor(EvfSamImageProcessor(image_size=64, image_layout=layout), tiny_tokenizer)

    inputs = processor(WIDE, "red cup", input_points=[[1, 2], [40, 20]], input_boxes=[0, 1, 40, 20])

    torch.testing.assert_close(inputs["input_points"], torch.tensor([[points]]))
    torch.testing.assert_close(inputs["input_boxes"], torch.tensor([[boxes]]))
    assert inputs["input_labels"].tolist() == [[[1, 1]]]


def test_prompts_are_padded(processor):
    inputs = processor(
        [WIDE, TALL],
        [["red cup", "dog"], ["sky"]],
        input_points=[[None, torch.tensor([[5, 5], [10, 0]])], np.array([[[16, 64]]])],
        input_labels=[[None, [0, 1]], None],
        input_boxes=[None, [[0, 0, 16, 64]]],
    )

    absent = [-10.0, -10.0]
    assert inputs["input_points"].tolist() == [
        [[absent, absent], [[8, 8], [16, 0]]],
        [[[16, 64], absent], [absent] * 2],
    ]
    assert inputs["input_labels"].tolist() == [[[-10, -10], [0, 1]], [[1, -10], [-10, -10]]]
    assert inputs["input_boxes"].tolist() == [[NO_BOX, NO_BOX], [[0, 0, 16, 64], NO_BOX]]
    assert inputs["input_points"].dtype == inputs["input_boxes"].dtype == torch.float32
    assert inputs["input_labels"].dtype == torch.int64


@pytest.mark.parametrize("nothing", [None, [None, None], [[], None]])
def test_absent_prompts_leave_no_tensors(processor, nothing):
    inputs = processor(WIDE, ["red cup", "dog"], input_points=nothing, input_boxes=[None, None])

    assert not {"input_points", "input_labels", "input_boxes"} & set(inputs)


def test_rotated_photo_is_prompted_upright(processor):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGB", (40, 20))
    image.info["exif"] = exif.tobytes()

    inputs = processor(image, "dog", input_points=[[20, 40]])

    assert inputs["original_sizes"].tolist() == [[40, 20]]
    assert inputs["input_points"].tolist() == [[[[32, 64]]]]


@pytest.mark.parametrize(
    ("images", "text", "options", "message"),
    [
        (WIDE, "dog", {"input_points": [1, 2]}, r"photo 0, sentence 0: input_points .* \[1, 2\]: 1 level too few"),
        (
            WIDE,
            "dog",
            {"input_points": 1},
            r"input_points for one sentence is \[\[x, y\], ...\], got 1: 2 levels too few",
        ),
        (
            WIDE,
            "dog",
            {"input_points": [[[1, 2]]]},
            r"sentence 0: input_points .*, got \[\[\[1, 2\]\]\]: 1 level too many",
        ),
        (
            [WIDE],
            [["dog"]],
            {"input_points": [[[[[1, 2]]]]]},
            "photo 0, sentence 0: input_points .*: 1 level too many",
        ),
        (WIDE, "dog", {"input_points": np.ones((1, 1, 2))}, r"got an array of shape \(1, 1, 2\): 1 level too many"),
        (WIDE, "dog", {"input_labels": [[1]]}, "input_labels for one sentence is .*: 1 level too many"),
        (WIDE, "dog", {"input_points": np.ones((30, 3))}, r"not of shape \(30, 3\)"),
        (WIDE, "dog", {"input_points": [["a", 2]]}, r"photo 0, sentence 0: points must be a list of \[x, y\], both"),
        (
            WIDE,
            "dog",
            {"input_points": [[1, 2], [3]]},
            r"photo 0, sentence 0: points must be a list of \[x, y\], both",
        ),
        (WIDE, "dog", {"input_points": [[41, 2]]}, r"points: \[41.0, 2.0\] is outside the photo, which is 40 x 20"),
        (WIDE, "dog", {"input_points": [[1, 20.5]]}, "is outside the photo"),
        (WIDE, "dog", {"input_points": [[-1, 2]]}, "is outside the photo"),
        (WIDE, "dog", {"input_points": [[float("nan"), 2]]}, "is outside the photo"),
        (WIDE, "dog", {"input_points": [[float("inf"), 2]]}, "is outside the photo"),
        (WIDE, ["dog", "cup"], {"input_points": [[[1, 2]]]}, "input_points: give one entry for each sentence, 2 in"),
        ([WIDE, TALL], ["dog", "cup"], {"input_points": [None, [[17, 2]]]}, "photo 1, sentence 0: points: .* 16 x 64"),
        ([WIDE, TALL], [["dog"], ["cup"]], {"input_boxes": [[[0, 0, 1, 1]]]}, "input_boxes: .* each photo, 2 in all"),
        ([WIDE, TALL], [["dog"], ["a", "b"]], {"input_boxes": [None, [None]]}, "input_boxes, photo 1: .* sentence, 2"),
        (WIDE, "dog", {"input_labels": [1]}, "photo 0, sentence 0: labels must be 1 or 0 for each of its 0 points"),
        (WIDE, "dog", {"input_points": [[1, 2]], "input_labels": [2]}, "must be 1 or 0 for each of its 1 points"),
        (WIDE, "dog", {"input_points": [[1, 2]], "input_labels": [1, 0]}, "must be 1 or 0 for each of its 1 points"),
        (WIDE, "dog", {"input_boxes": [0, 0, 10]}, r"photo 0, sentence 0: a box must be \[x0, y0, x1, y1\]"),
        (
            WIDE,
            "dog",
            {"input_boxes": 3},
            r"input_boxes for one sentence is \[x0, y0, x1, y1\], got 3: 1 level too few",
        ),
        (
            WIDE,
            "dog",
            {"input_boxes": [[0, 0, 9, 9]]},
            r"one sentence is .*, got \[\[0, 0, 9, 9\]\]: 1 level too many",
        ),
        (
            WIDE,
            ["dog"] * 4,
            {"input_boxes": [0, 0, 9, 9]},
            "photo 0, sentence 0: input_boxes .* got 0: 1 level too few",
        ),
        (WIDE, ["dog"], {"input_boxes": [[[0] * 99]]}, r"input_boxes .*\.\.\.\]\]: 1 level too many"),
        (WIDE, "dog", {"input_boxes": [0, 0, 41, 10]}, "photo 0, sentence 0: box corners: .* outside the photo"),
        (WIDE, "dog", {"input_boxes": [0, 0, float("nan"), 10]}, "box corners: .* outside the photo"),
        (WIDE, "dog", {"input_boxes": [10, 0, 10, 10]}, "needs x0 < x1 and y0 < y1"),
        (WIDE, "dog", {"input_boxes": [0, 10, 10, 5]}, "needs x0 < x1 and y0 < y1"),
        (WIDE, "dog", {"input_points": [["5", "6"]]}, r"points must be a list of \[x, y\], both numbers"),
        (WIDE, "dog", {"input_points": [[True, 6]]}, r"points must be a list of \[x, y\], both numbers"),
        (WIDE, "dog", {"input_points": [[10**400, 6]]}, r"points must be a list of \[x, y\], both numbers"),
        (WIDE, "dog", {"input_points": torch.ones(1, 2, device="meta")}, r"points must be a list of \[x, y\], both"),
        (WIDE, "dog", {"input_points": [[1, 2]], "input_labels": [True]}, "must be 1 or 0 for each of its 1 points"),
        (WIDE, ["dog"], {"input_points": torch.tensor(5.0)}, "input_points: give one entry for each sentence, 1 in"),
    ],
)
def test_bad_prompts(processor, images, text, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        processor(images, text, **options)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_tensors_of_any_kind_are_points(processor, dtype):
    points = torch.tensor([[1, 2]]).to(dtype).requires_grad_(dtype.is_floating_point)
    expected = processor(WIDE, "dog", input_points=[[1, 2]])
    assert torch.equal(processor(WIDE, "dog", input_points=points)["input_points"], expected["input_points"])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0", True, None, [1], 10**20, 10**400])
def test_a_threshold_is_a_finite_number(value):
    with pytest.raises(ValueError, match=r"mask_threshold is .*: give a finite number"):
        check_thresholds(mask_threshold=value)
    check_thresholds(mask_threshold=0, present_threshold=np.float32(0.5))
