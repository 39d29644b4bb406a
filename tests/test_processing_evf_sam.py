import copy
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, AutoTokenizer

from modeling_evf_sam import EvfSamModel
from modeling_evf_sam.image_processing_evf_sam import EvfSamImageProcessor
from modeling_evf_sam.processing_evf_sam import EvfSamProcessor
from tests import tiny_encoders
from tests.golden import golden_config

WIDE = np.zeros((20, 40, 3), dtype=np.uint8)  # SAM's view shows it at 32 x 64 pixels: 1.6 for each of the photo's
TALL = np.zeros((64, 16, 3), dtype=np.uint8)  # at 64 x 16 pixels
NO_BOX = [-10.0] * 4


@pytest.fixture(scope="module")
def processor(tiny_tokenizer):
    image_processor = EvfSamImageProcessor(image_size=64, multimodal_image_size=16)
    return EvfSamProcessor(image_processor, tiny_tokenizer, semantic_prompts=True)


def tokens(processor, sentence, **options):
    inputs = processor(text=sentence, **options)
    return processor.tokenizer.convert_ids_to_tokens(inputs["input_ids"][0, 0].tolist())


@pytest.mark.parametrize(
    ("images", "text", "sentences"),
    [
        (WIDE, "red cup", [["red cup"]]),
        (WIDE, ["red cup", "dog"], [["red cup", "dog"]]),
        (WIDE, [["red cup", "dog"]], [["red cup", "dog"]]),
        ([WIDE], "red cup", [["red cup"]]),
        ([WIDE], ["red cup"], [["red cup"]]),
        ([WIDE, TALL], ["red cup", "dog"], [["red cup"], ["dog"]]),
        ([WIDE, TALL], [["red cup", "dog"], "sky"], [["red cup", "dog"], ["sky"]]),
        ([WIDE, TALL], [[], ("sky", "dog")], [[], ["sky", "dog"]]),
        (None, ["red cup", "dog"], [["red cup", "dog"]]),
        (None, [["red cup"], ["dog", "sky"]], [["red cup"], ["dog", "sky"]]),
    ],
)
def test_nesting_and_padding(processor, images, text, sentences):
    inputs = processor(images, text)

    assert inputs["input_ids"].shape == inputs["attention_mask"].shape
    assert inputs["input_ids"].shape[:2] == (len(sentences), max(map(len, sentences)))
    for ids, mask, row in zip(inputs["input_ids"], inputs["attention_mask"], sentences, strict=True):
        expected = [processor.tokenizer(sentence)["input_ids"] for sentence in row]
        assert [one[kept.bool()].tolist() for one, kept in zip(ids, mask, strict=True)][: len(row)] == expected
        assert not mask[len(row) :].any()
        assert (ids[mask == 0] == processor.tokenizer.pad_token_id).all()
        assert all(kept.diff().le(0).all() for kept in mask), "padding comes after the words"
    if images is None:
        assert set(inputs) == {"input_ids", "attention_mask"}
    else:
        views = processor.image_processor(images)
        assert all(torch.equal(inputs[name], views[name]) for name in views)


def test_photos_alone(processor):
    inputs = processor([WIDE, TALL])

    assert set(inputs) == {"pixel_values", "multimodal_pixel_values", "original_sizes", "reshaped_input_sizes"}
    assert inputs["reshaped_input_sizes"].tolist() == [[32, 64], [64, 16]]


def test_expected_ids(shared):
    tokenizer = AutoTokenizer.from_pretrained(shared / "tokenizer/beit3")
    processor = EvfSamProcessor(EvfSamImageProcessor(), tokenizer)
    for case in json.loads((shared / "tokenizer/expected_ids.json").read_text()):
        if case["text"]:
            assert processor(text=case["text"])["input_ids"][0, 0].tolist() == case["input_ids"], case["text"]


@pytest.mark.parametrize("literal", ["[semantic]", "<s>", "</s>", "<pad>", "<mask>", "<unk>", "\uff1cs\uff1e"])
@pytest.mark.parametrize("sentence", ["{}", "{}{} red", "a {} b", "x{}y"])
def test_special_tokens_in_a_sentence_are_plain_text(processor, literal, sentence):
    sentence = sentence.format(literal, literal)
    pieces = tokens(processor, sentence)

    assert (pieces[0], pieces[-1]) == ("<s>", "</s>")
    assert not set(pieces[1:-1]) & set(processor.tokenizer.get_added_vocab())
    normal = sentence.replace("\uff1c", "<").replace("\uff1e", ">")
    assert "".join(pieces[1:-1]).replace("\u2581", " ").strip() == normal


def test_semantic_inserts_the_token_after_the_start(processor):
    plain = tokens(processor, "red cup")

    assert tokens(processor, "red cup", semantic=True) == ["<s>", "[semantic]", *plain[1:]]


def test_semantic_without_an_added_token_is_a_prefix_of_pieces(shared):
    tokenizer = AutoTokenizer.from_pretrained(shared / "tokenizer/beit3")
    processor = EvfSamProcessor(EvfSamImageProcessor(), tokenizer, semantic_prompts=True)

    ids = processor(text="hair", semantic=True)["input_ids"][0, 0]

    assert ids.tolist() == [0, 476, 11, 15743, 5792, 543, 1022, 2]


@pytest.mark.parametrize(
    ("text", "semantic", "expected"),
    [
        (["red cup", "dog"], True, [[True, True]]),
        (["red cup", "dog"], [False, True], [[False, True]]),
        ([["red cup", "dog"], ["sky"]], [[True, False], [True]], [[True, False], [True]]),
        ([["red cup", "dog"], "sky"], [None, True], [[False, False], [True]]),
    ],
)
def test_semantic_has_the_nesting_of_text(processor, text, semantic, expected):
    inputs = processor(text=text, semantic=semantic)

    token = processor.tokenizer.get_added_vocab()["[semantic]"]
    for ids, row in zip(inputs["input_ids"], expected, strict=True):
        assert (ids[: len(row), 1] == token).tolist() == row


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


def test_input_masks_pass_through(processor):
    masks = torch.randn(1, 2, 1, 4, 4)

    assert processor(WIDE, ["red cup", "dog"], input_masks=masks)["input_masks"] is masks


@pytest.mark.parametrize(
    ("images", "text", "labels", "counts"),
    [
        (WIDE, "red cup", np.ones((1, 20, 40), dtype=np.uint8) * 255, [20 * 40]),
        (WIDE, ["red cup", "dog"], [torch.ones(20, 40), torch.full((20, 40), -1)], [20 * 40]),
        (
            [WIDE, TALL],
            ["dog", ["red cup", "sky"]],
            [np.ones((1, 20, 40)), torch.eye(64)[:, :16].expand(2, 64, 16) > 0],
            [20 * 40, 2 * 16],
        ),
    ],
)
def test_labels(processor, images, text, labels, counts):
    masks = processor(images, text, labels=labels)["labels"]

    assert [mask.dtype for mask in masks] == [torch.bool] * len(counts)
    assert [int(mask.sum()) for mask in masks] == counts


@pytest.mark.parametrize(
    ("images", "text", "options", "message"),
    [
        (None, None, {}, "give images, text, or both"),
        (WIDE, 5, {}, "text must be a string or a list of them, not int"),
        (WIDE, [], {}, "text has no sentences"),
        ([WIDE, TALL], [[], []], {}, "text has no sentences"),
        (WIDE, "", {}, "photo 0, sentence 0 has no words: ''"),
        (WIDE, ["dog", " \t\n"], {}, "photo 0, sentence 1 has no words"),
        ([WIDE, TALL], ["dog", "\u200b"], {}, "photo 1, sentence 0 has no words"),
        (WIDE, ["dog", 5], {}, "photo 0, sentence 1: 5 is not a string"),
        ([WIDE, TALL], [["dog"], None], {}, "photo 1, sentence 0: None is not a string"),
        (WIDE, ["dog", "a " * 39], {}, r"photo 0, sentence 1 has 41 tokens, the model reads 40 at the most"),
        ([WIDE, TALL], [["dog", "cup"]], {}, "text has entries for 1 photos, but there are 2"),
        ([WIDE], ["dog", "cup"], {}, "text has entries for 2 photos, but there are 1"),
        ([WIDE, TALL], "dog", {}, "text has entries for 1 photos, but there are 2"),
        (WIDE, ["dog", "cup"], {"semantic": [True]}, "semantic: give one entry for each sentence, 2 in all"),
        (WIDE, "dog", {"semantic": "yes"}, "photo 0, sentence 0: semantic must be True or False, got 'yes'"),
        (WIDE, None, {"semantic": True, "input_boxes": [1]}, "input_boxes, semantic need text as well"),
        (None, "dog", {"input_points": [[1, 1]]}, "input_points need images as well"),
        (None, "dog", {"labels": WIDE}, "labels need images as well"),
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
        (WIDE, ["dog"], {"input_boxes": [[[0] * 99]]}, r"input_boxes .*\.\.\.: 1 level too many"),
        (WIDE, "dog", {"padding": "max_length", "text_kwargs": {"padding": True}}, "padding was passed two times"),
        (WIDE, "dog", {"input_boxes": [0, 0, 41, 10]}, "photo 0, sentence 0: box corners: .* outside the photo"),
        (WIDE, "dog", {"input_boxes": [0, 0, float("nan"), 10]}, "box corners: .* outside the photo"),
        (WIDE, "dog", {"input_boxes": [10, 0, 10, 10]}, "needs x0 < x1 and y0 < y1"),
        (WIDE, "dog", {"input_boxes": [0, 10, 10, 5]}, "needs x0 < x1 and y0 < y1"),
        (WIDE, "dog", {"input_masks": torch.zeros(1, 1, 4, 4)}, r"must have the shape \(1, 1, 1, h, w\)"),
        (WIDE, ["dog", "cup"], {"input_masks": torch.zeros(1, 1, 1, 4, 4)}, r"must have the shape \(1, 2, 1, h, w\)"),
        (WIDE, "dog", {"labels": np.ones((2, 20, 40))}, "labels, photo 0: give one entry for each sentence, 1 in all"),
        (
            WIDE,
            "dog",
            {"labels": np.ones((1, 40, 20))},
            r"photo 0, sentence 0: label \(40, 20\) must have .*\(20, 40\)",
        ),
        ([WIDE, TALL], ["dog", "cup"], {"labels": [WIDE[None, ..., 0]]}, "labels: give one entry for each photo, 2"),
        ([WIDE], ["dog"], {"labels": [None]}, r"photo 0, sentence 0: label \(\) must have the photo's size"),
        ([WIDE, "a.jpg"], ["dog", "cup"], {}, "photo 'a.jpg' does not exist"),
    ],
)
def test_bad_inputs(processor, images, text, options, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        processor(images, text, **options)

    assert "\n" not in str(caught.value).removeprefix("Keyword argument padding was passed two times:\n")


@pytest.mark.parametrize(
    ("settings", "length"),
    [
        ({}, 8),
        ({"padding": "max_length"}, 40),
        ({"padding": "max_length", "max_length": 12}, 12),
        ({"text_kwargs": {"padding": "max_length", "max_length": 12}}, 12),
        ({"truncation": True, "max_length": 3}, 3),
        ({"max_length": 3}, 8),
    ],
)
def test_settings_of_tokens(processor, settings, length):
    inputs = processor(text=["red cup"], **settings)

    whole = processor(text=["red cup"])["input_ids"][0, 0]
    words = min(length, len(whole))
    assert inputs["input_ids"].shape == inputs["attention_mask"].shape == (1, 1, length)
    assert inputs["attention_mask"].sum() == words
    assert inputs["input_ids"][0, 0, : words - 1].equal(whole[: words - 1])
    assert inputs["input_ids"][0, 0, words - 1] == whole[-1], "the end is kept"


def test_long_sentences_are_cut_where_that_is_asked_for(processor):
    assert processor(text="a " * 99, truncation=True)["input_ids"].shape == (1, 1, 40)


@pytest.mark.parametrize("settings", [{"image_layout": "stretch"}, {"images_kwargs": {"image_layout": "stretch"}}])
def test_settings_of_views(processor, settings):
    inputs = processor(WIDE, "red cup", **settings)

    assert inputs["reshaped_input_sizes"].tolist() == [[64, 64]]
    assert processor(WIDE)["reshaped_input_sizes"].tolist() == [[32, 64]]


def test_numpy_arrays(processor):
    arguments = {"images": WIDE, "text": ["red cup"], "input_boxes": [[1, 2, 3, 4]], "labels": np.ones((1, 20, 40))}

    arrays, tensors = (processor(**arguments, return_tensors=kind) for kind in ("np", "pt"))

    assert set(arrays) == set(tensors)
    assert np.array_equal(arrays.pop("labels")[0], tensors.pop("labels")[0].numpy())
    assert all(np.array_equal(array, tensors[name].numpy()) for name, array in arrays.items())
    photo = processor(WIDE, return_tensors="np")
    assert torch.equal(
        processor(photo, ["red cup"], input_boxes=[[1, 2, 3, 4]])["input_boxes"], tensors["input_boxes"]
    )
    (result,) = processor.post_process_referring_segmentation(outputs_of(torch.ones(1, 1, 1, 4, 4), [[[1.0]]]), arrays)
    assert result["masks"].all()


def test_photos_by_path_and_of_floats(processor, tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (20, 40, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "photo.png")

    expected = processor(values)["pixel_values"]

    for photo in (tmp_path / "photo.png", str(tmp_path / "photo.png"), values / 255):
        assert torch.equal(processor(photo)["pixel_values"], expected)


def test_semantic_needs_a_checkpoint_trained_for_it(tiny_tokenizer):
    processor = EvfSamProcessor(EvfSamImageProcessor(), tiny_tokenizer)

    with pytest.raises(ValueError, match="photo 0, sentence 1: this checkpoint was not trained for semantic prompts"):
        processor(text=["red cup", "hair"], semantic=[False, True])


@pytest.mark.parametrize("auto_class", [EvfSamProcessor, AutoProcessor])
@pytest.mark.parametrize("semantic_prompts", [True, False])
def test_reloaded_processor_gives_the_same_inputs(tmp_path, tiny_tokenizer, auto_class, semantic_prompts):
    image_processor = EvfSamImageProcessor(image_size=32, multimodal_image_size=16, image_layout="stretch")
    processor = EvfSamProcessor(image_processor, tiny_tokenizer, semantic_prompts=semantic_prompts)
    processor.save_pretrained(tmp_path)

    reloaded = auto_class.from_pretrained(tmp_path)

    assert type(reloaded) is EvfSamProcessor
    assert reloaded.semantic_prompts is semantic_prompts
    arguments = {"images": WIDE + 9, "text": "a [semantic] </s> cup", "input_points": [[3, 4]]}
    inputs = processor(**arguments, semantic=semantic_prompts)
    again = reloaded(**arguments, semantic=semantic_prompts)
    assert set(inputs) == set(again)
    assert all(torch.equal(inputs[name], again[name]) for name in inputs)


def outputs_of(masks: torch.Tensor, scores: list) -> SimpleNamespace:
    return SimpleNamespace(pred_masks=masks, iou_scores=torch.tensor(scores).to(masks.dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_post_processing(processor, dtype):
    inputs = processor([WIDE, TALL], [["red cup", "dog"], ["sky"]])
    masks = torch.full((2, 2, 2, 16, 16), -1.0)
    masks[0, 0, 1, :, 8:] = 1  # the right half of SAM's view, where the wide photo is the upper half
    masks[1, 0, 0, :8] = 1  # the upper half of SAM's view, where the tall photo is the left quarter
    scores = [[[0.25, 0.5], [0.75, 0.5]], [[2.0, 1.0], [9.0, 9.0]]]

    wide, tall = processor.post_process_referring_segmentation(outputs_of(masks.to(dtype), scores), inputs)

    assert (wide["masks"].shape, tall["masks"].shape) == ((2, 20, 40), (1, 64, 16))
    assert wide["masks"].dtype == torch.bool
    assert wide["masks"][0].equal(torch.arange(40).ge(20).expand(20, 40))
    assert not wide["masks"][1].any()
    assert tall["masks"][0].equal(torch.arange(64).lt(32)[:, None].expand(64, 16))
    assert wide["scores"].tolist() == [0.5, 0.75]
    assert tall["scores"].tolist() == [2.0]
    assert wide["boxes"].tolist() == [[20, 0, 40, 20], [0, 0, 0, 0]]
    assert tall["boxes"].tolist() == [[0, 0, 16, 32]]


def test_post_processing_of_a_photo_without_sentences(processor):
    inputs = processor([WIDE, TALL], [[], ["sky"]])

    results = processor.post_process_referring_segmentation(
        outputs_of(torch.ones(2, 1, 1, 4, 4), [[[1.0]]] * 2), inputs
    )

    assert [tuple(result["masks"].shape) for result in results] == [(0, 20, 40), (1, 64, 16)]
    assert [tuple(result["boxes"].shape) for result in results] == [(0, 4), (1, 4)]


@pytest.mark.parametrize(("threshold", "area"), [(0.0, 800), (0.5, 0), (-2.0, 800)])
def test_post_processing_threshold(processor, threshold, area):
    outputs = outputs_of(torch.full((1, 1, 1, 4, 4), 0.5), [[[1.0]]])

    results = processor.post_process_referring_segmentation(outputs, processor(WIDE, "dog"), mask_threshold=threshold)

    assert int(results[0]["masks"].sum()) == area


def test_post_processing_refuses_broken_logits(processor):
    outputs = outputs_of(torch.full((1, 1, 1, 4, 4), float("nan")), [[[1.0]]])

    with pytest.raises(ValueError, match="photo 0: mask logits are not numbers"):
        processor.post_process_referring_segmentation(outputs, processor(WIDE, "dog"))


@pytest.mark.parametrize("as_given", [list, torch.tensor, np.array])
@pytest.mark.parametrize("with_inputs", [True, False])
def test_post_processing_to_other_sizes(processor, as_given, with_inputs):
    outputs = outputs_of(torch.ones(2, 1, 1, 16, 16), [[[1.0]], [[2.0]]])
    inputs = processor([WIDE, TALL], ["dog", "cup"]) if with_inputs else None

    results = processor.post_process_referring_segmentation(
        outputs, inputs, target_sizes=as_given([[10, 20], [128, 32]])
    )

    assert [tuple(result["masks"].shape) for result in results] == [(1, 10, 20), (1, 128, 32)]
    assert [result["boxes"].tolist() for result in results] == [[[0, 0, 20, 10]], [[0, 0, 32, 128]]]


def test_other_sizes_show_the_same_part_of_the_view(processor):
    masks = torch.full((1, 1, 1, 64, 64), -1.0)
    masks[..., :16, :32] = 1  # a quarter of the photo, which is the upper half of the view

    (result,) = processor.post_process_referring_segmentation(outputs_of(masks, [[[1.0]]]), target_sizes=[(40, 80)])

    assert result["boxes"].tolist() == [[0, 0, 40, 20]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "the sizes of the masks are unknown: give inputs, or target_sizes"),
        ({"target_sizes": [(1, 4), (1, 4)]}, r"one \(height, width\) for each photo, 1 in all, not 2"),
    ],
)
def test_post_processing_needs_a_size_for_each_photo(processor, options, message):
    with pytest.raises(ValueError, match=message):
        processor.post_process_referring_segmentation(outputs_of(torch.ones(1, 1, 1, 4, 4), [[[1.0]]]), **options)


def test_rotated_photo_is_prompted_upright(processor):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGB", (40, 20))
    image.info["exif"] = exif.tobytes()

    inputs = processor(image, "dog", input_points=[[20, 40]])

    assert inputs["original_sizes"].tolist() == [[40, 20]]
    assert inputs["input_points"].tolist() == [[[[32, 64]]]]


@pytest.mark.parametrize(
    ("encoder", "fusion", "make_tokenizer", "view", "limit"),
    [
        (tiny_encoders.BEIT3, "early", None, 32, 40),  # the tokenizer's own limit is the lower one
        (tiny_encoders.BEIT3, "text", None, 0, 40),
        (tiny_encoders.VILT, "early", tiny_encoders.bert_tokenizer, 32, 20),
        (tiny_encoders.CLIP, "late", tiny_encoders.clip_tokenizer, 32, 20),
        (tiny_encoders.CLIP, "text", tiny_encoders.clip_tokenizer, 0, 20),
    ],
)
def test_processor_of_each_encoder(encoder, fusion, make_tokenizer, view, limit, tiny_tokenizer, tmp_path):
    tokenizer = make_tokenizer() if make_tokenizer else copy.deepcopy(tiny_tokenizer)
    config = golden_config(multimodal_config=encoder, fusion=fusion)

    EvfSamProcessor.from_config(config, tokenizer).save_pretrained(tmp_path)
    processor = EvfSamProcessor.from_pretrained(tmp_path)

    inputs = processor(WIDE, ["red", "red cups"])
    for ids, mask, sentence in zip(
        inputs["input_ids"][0], inputs["attention_mask"][0], ["red", "red cups"], strict=True
    ):
        assert ids[mask.bool()].tolist() == tokenizer(sentence)["input_ids"]
        assert (ids[mask == 0] == tokenizer.pad_token_id).all()
    assert ("multimodal_pixel_values" in inputs) == bool(view)
    if view:
        assert inputs["multimodal_pixel_values"].shape == (1, 3, view, view)
    assert processor.tokenizer.model_max_length == limit
    with pytest.raises(ValueError, match=f"tokens, the model reads {limit} at the most"):
        processor(text="red " * 50)
    with torch.no_grad():
        assert EvfSamModel(config)(**inputs).pred_masks.isfinite().all()


@pytest.mark.parametrize("make_tokenizer", [tiny_encoders.bert_tokenizer, tiny_encoders.clip_tokenizer])
def test_special_tokens_of_other_tokenizers_are_plain_text(make_tokenizer):
    tokenizer = make_tokenizer()
    processor = EvfSamProcessor(EvfSamImageProcessor(), tokenizer)
    for literal in tokenizer.all_special_tokens:
        start, *ids, end = processor(text=f"red {literal}{literal} cup")["input_ids"][0, 0].tolist()
        assert [start, end] == tokenizer("")["input_ids"]
        assert not set(ids) & (set(tokenizer.all_special_ids) - {tokenizer.convert_tokens_to_ids("[UNK]")})
