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


def test_input_masks_pass_through(processor):
    masks = torch.randn(1, 2, 1, *2 * [processor.image_processor.image_size // 4])

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
        (WIDE, "dog", {"padding": "max_length", "text_kwargs": {"padding": True}}, "padding was passed two times"),
        (WIDE, "dog", {"input_masks": torch.zeros(1, 1, 4, 4)}, r"must have the shape \(1, 1, 1, "),
        (WIDE, ["dog", "cup"], {"input_masks": torch.zeros(1, 1, 1, 4, 4)}, r"must have the shape \(1, 2, 1, "),
        (WIDE, "dog", {"labels": np.ones((2, 20, 40))}, "labels, photo 0: give one entry for each sentence, 1 in all"),
        (
            WIDE,
            "dog",
            {"labels": np.ones((1, 40, 20))},
            r"photo 0, sentence 0: label \(40, 20\) must have .*\(20, 40\)",
        ),
        ([WIDE, TALL], ["dog", "cup"], {"labels": [WIDE[None, ..., 0]]}, "labels: give one entry for each photo, 2"),
        ([WIDE], ["dog"], {"labels": [None]}, "photo 0, sentence 0: a label is an array of numbers"),
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
        ({}, 7),
        ({"padding": "max_length"}, 40),
        ({"padding": "max_length", "max_length": 12}, 12),
        ({"text_kwargs": {"padding": "max_length", "max_length": 12}}, 12),
        ({"truncation": True, "max_length": 3}, 3),
        ({"max_length": 3}, 7),
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
    outputs = SimpleNamespace(pred_masks=torch.ones(1, 1, 1, 4, 4), iou_scores=torch.ones(1, 1, 1))
    (result,) = processor.post_process_referring_segmentation(outputs, arrays)
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
