import threading
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset
from transformers import pipeline

from modeling_evf_sam import DEFAULT_CHECKPOINT, EvfSamPipeline

TASK = "referring-image-segmentation"
PHOTO = Path(__file__).parents[1] / "docs" / "sample.png"


@pytest.fixture(scope="module")
def segment() -> EvfSamPipeline:
    return pipeline(TASK, model=DEFAULT_CHECKPOINT, device="cpu")


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return Image.open(PHOTO).convert("RGB")


class Photos(Dataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return {"image": PHOTO, "text": ["leftmost star", "the pink star"][: 1 + index % 2]}


def by_hand(segment, photo, text, mask_threshold=0.0, **prompts):
    """(masks, scores, boxes) of one photo by the model and the processor alone."""
    inputs = segment.processor(images=[photo], text=[text], **{name: [value] for name, value in prompts.items()})
    with torch.no_grad():
        outputs = segment.model(**inputs)
    (result,) = segment.processor.post_process_referring_segmentation(outputs, inputs, mask_threshold)
    return result


def agree(found, expected):
    assert len(found) == len(expected["masks"])
    for entry, mask, score, box in zip(found, expected["masks"], expected["scores"], expected["boxes"], strict=True):
        assert entry["mask"].mode == "L"
        np.testing.assert_array_equal(np.asarray(entry["mask"]), mask.numpy() * np.uint8(255))
        assert entry["score"] == pytest.approx(score.item(), abs=1e-5)
        assert list(entry["box"]) == ["xmin", "ymin", "xmax", "ymax"]
        assert list(entry["box"].values()) == box.tolist()


def test_pipeline_finds_the_class_by_the_task(segment):
    assert type(segment) is EvfSamPipeline


@pytest.mark.parametrize(
    "arguments",
    [
        {"text": ["leftmost star", "the pink star", "the circle"]},
        {"text": ["star", "circle"], "semantic": [True, False]},
        {"text": ["the pink star", "a circle"], "input_points": [[[70, 125]], None], "input_labels": [[0], None]},
        {"text": ["the pink star"], "input_boxes": [[40, 95, 100, 155]]},
        {"text": ["the pink star"], "mask_threshold": 3.0},
    ],
    ids=lambda arguments: "-".join(arguments),
)
def test_results_are_those_of_the_model_and_the_processor(segment, photo, arguments):
    found = segment(photo, **arguments)
    assert [entry["label"] for entry in found] == arguments["text"]
    agree(found, by_hand(segment, photo, **arguments))


def test_results_in_bfloat16_are_those_of_the_model_and_the_processor(photo):
    half = pipeline(TASK, model=DEFAULT_CHECKPOINT, device="cpu", dtype=torch.bfloat16)
    assert half.model.dtype == torch.bfloat16
    texts = ["leftmost star", "the pink star"]
    agree(
        half(photo, text=texts, input_points=[[[70, 125]], None]),
        by_hand(half, photo, texts, input_points=[[[70, 125]], None]),
    )


def test_a_sentence_may_stand_alone_with_its_prompts(segment, photo):
    prompts = {"semantic": True, "input_points": [[70, 125]], "input_boxes": [40, 95, 100, 155]}
    found = segment(photo, text="the pink star", **prompts)
    agree(found, by_hand(segment, photo, ["the pink star"], **{name: [value] for name, value in prompts.items()}))


@pytest.mark.parametrize(
    "convert",
    [
        str,
        Path,
        Image.open,
        lambda path: np.asarray(Image.open(path).convert("RGB")),
        lambda path: np.asarray(Image.open(path).convert("RGB")) / 255,
    ],
    ids=["string", "path", "pil", "array", "floats"],
)
def test_a_photo_comes_in_any_form(segment, photo, convert):
    agree(segment(convert(PHOTO), text="the pink star"), by_hand(segment, photo, ["the pink star"]))


@pytest.mark.parametrize("give", [str, Image.open])
def test_a_turned_photo_has_a_mask_of_its_upright_size(segment, photo, tmp_path, give):
    exif = Image.Exif()
    exif[0x0112] = 6  # it is to be turned clockwise
    photo.rotate(90, expand=True).save(tmp_path / "turned.jpg", exif=exif, quality=100, subsampling=0)

    (entry,) = segment(give(tmp_path / "turned.jpg"), text="the pink star")

    assert entry["mask"].size == photo.size
    (upright,) = segment(photo, text="the pink star")
    assert (np.asarray(entry["mask"]) == np.asarray(upright["mask"])).mean() > 0.99


@pytest.mark.parametrize("batch_size", [1, 2, 8])
@pytest.mark.parametrize("container", [list, tuple, iter, lambda items: (item for item in items)])
def test_many_photos_with_unlike_numbers_of_sentences_and_points(segment, photo, container, batch_size):
    small = photo.crop((0, 20, 90, 160))
    requests = [
        {"image": photo, "text": ["leftmost star", "the pink star", "the circle"]},
        {"image": small, "text": "a star", "input_points": [[20, 30], [40, 50]]},
        {"image": photo, "text": ["star"], "semantic": True},
    ]
    found = list(segment(container(requests), batch_size=batch_size))
    agree(found[0], by_hand(segment, photo, requests[0]["text"]))
    agree(found[1], by_hand(segment, small, ["a star"], input_points=[[[20, 30], [40, 50]]]))
    agree(found[2], by_hand(segment, photo, ["star"], semantic=[True]))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_dataset_is_read_by_workers(segment, photo, num_workers):
    results = list(segment(Photos(), batch_size=2, num_workers=num_workers))
    assert [len(found) for found in results] == [1, 2, 1]
    agree(results[1], by_hand(segment, photo, ["leftmost star", "the pink star"]))


def test_lists_of_arguments_have_an_entry_for_each_photo_and_single_ones_are_for_all(segment, photo):
    first, second = segment([photo, photo], text=[["star", "circle"], "star"], semantic=True)
    agree(first, by_hand(segment, photo, ["star", "circle"], semantic=[True, True]))
    agree(second, by_hand(segment, photo, ["star"], semantic=[True]))
    (third,) = segment((item for item in [photo]), text=["star", "circle"], semantic=True)
    assert [entry["mask"] for entry in third] == [entry["mask"] for entry in first]


def test_arguments_of_the_pipeline_are_defaults(segment, photo):
    ready = EvfSamPipeline(model=segment.model, processor=segment.processor, text="star", mask_threshold=3.0)
    agree(ready(photo), by_hand(segment, photo, ["star"], mask_threshold=3.0))
    agree(ready({"image": photo, "text": "circle"}), by_hand(segment, photo, ["circle"], mask_threshold=3.0))


def test_a_photo_is_encoded_once_for_all_its_sentences(segment, photo):
    seen = []
    hook = segment.model.sam.vision_encoder.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    segment([photo, photo], text=[["star", "circle", "the pink star"], ["star"] * 5])
    hook.remove()
    assert seen == [1, 1]


def test_no_photos_no_results(segment):
    assert segment([]) == []


def test_an_empty_mask_has_an_empty_box(segment, photo):
    (entry,) = segment(photo, text="star", mask_threshold=1e6)
    assert entry["mask"].getbbox() is None
    assert entry["box"] == {"xmin": 0, "ymin": 0, "xmax": 0, "ymax": 0}


@pytest.mark.parametrize(
    ("inputs", "arguments", "error", "message"),
    [
        (str(PHOTO), {}, ValueError, f"photo '{PHOTO}' has no sentence: give text"),
        (str(PHOTO), {"text": []}, ValueError, f"photo '{PHOTO}' has no sentence"),
        (
            [PHOTO, PHOTO],
            {"text": ["star", ["star", "?", ""]]},
            ValueError,
            f"photo '{PHOTO}', sentence 2 has no word",
        ),
        (["gone.png"], {"text": "star"}, FileNotFoundError, "photo 'gone.png' does not exist"),
        ([PHOTO, np.zeros(3)], {"text": "star", "batch_size": 2}, ValueError, "photo 1: (3,) is not one photo"),
        ((item for item in [PHOTO, 7]), {"text": "star"}, ValueError, "photo 1: a photo is a path, a PIL image"),
        ({"text": "star"}, {}, ValueError, 'photo 0 is missing: give a photo, or a dict with one as "image"'),
        ({"image": PHOTO, "texts": "star"}, {}, ValueError, "texts unknown; a dict has image, text, semantic"),
        ([PHOTO, PHOTO], {"text": ["star"]}, ValueError, "text: give one entry for each photo, 2 in all, not 1"),
        (PHOTO, {"text": "star", "input_boxes": [0, 0, 999, 9]}, ValueError, "box corners: [999.0, 9.0] is outside"),
        (PHOTO, {"text": ["star", "circle"], "semantic": [True]}, ValueError, "semantic, photo"),
        (PHOTO, {"txt": "star"}, TypeError, "txt: no argument of this pipeline; it takes text, semantic"),
        ("https://example.org/a.jpg", {"text": "star"}, ValueError, "allow the download with allow_urls=True"),
    ],
)
def test_errors_name_the_photo_and_the_fix(segment, inputs, arguments, error, message):
    with pytest.raises(error) as raised:
        list(segment(inputs, **arguments))
    assert message in str(raised.value)


def test_a_processor_is_needed(segment):
    with pytest.raises(ValueError, match="needs a processor"):
        EvfSamPipeline(model=segment.model)


@pytest.fixture
def website(tmp_path):
    """The address of a server with two files, one of them no photo."""
    Image.open(PHOTO).save(tmp_path / "photo.png")
    (tmp_path / "page.png").write_text("<html>not here</html>")

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_photos_are_downloaded_where_that_is_allowed(segment, photo, website):
    found = segment(f"{website}/photo.png", text="the pink star", allow_urls=True)
    agree(found, by_hand(segment, photo, ["the pink star"]))


@pytest.mark.parametrize(
    ("file", "message"), [("gone.png", "cannot be downloaded (HTTP Error 404"), ("page.png", "is not an image")]
)
def test_bad_downloads_are_told(segment, website, file, message):
    with pytest.raises(ValueError, match="photo 'http") as raised:
        segment(f"{website}/{file}", text="star", allow_urls=True)
    assert message in str(raised.value)


def test_downloads_are_bounded(segment, website, monkeypatch):
    monkeypatch.setattr("modeling_evf_sam.pipeline_evf_sam.MAX_DOWNLOAD", 100)
    with pytest.raises(ValueError, match="larger than 100 bytes"):
        segment(f"{website}/photo.png", text="star", allow_urls=True)
