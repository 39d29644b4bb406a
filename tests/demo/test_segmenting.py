import json
import threading
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask

from modeling_evf_sam import EvfSamModel, EvfSamProcessor
from modeling_evf_sam.demo import segmenting
from modeling_evf_sam.demo.marks import Marks
from modeling_evf_sam.demo.segmenting import SharedModel, pack, read_photo, read_sentences, summarize
from modeling_evf_sam.inference.loading import load_model
from modeling_evf_sam.inference.outlining import COLOURS
from modeling_evf_sam.inference.segmentation import Segmentation
from modeling_evf_sam.inference.video import EvfSamVideoPredictor
from modeling_evf_sam.segment_video.frame_folder import FrameFolder
from modeling_evf_sam.segment_video.run import segment_video
from modeling_evf_sam.segment_video.walking import Question

SENTENCES = ["the red circle", "a star"]
LIMITS = {"large": ("MAX_PIXELS", 4000), "heavy": ("MAX_PHOTO", 1000)}
NAMES = {"points": "points", "labels": "point_labels", "boxes": "boxes"}


@pytest.fixture
def shared_model(tiny_checkpoint):
    model = EvfSamModel.from_pretrained(tiny_checkpoint).eval()
    return SharedModel(model, EvfSamProcessor.from_pretrained(tiny_checkpoint), str(tiny_checkpoint))


@pytest.fixture
def encoded(shared_model, monkeypatch):
    """The photos that were encoded, as a list that grows."""
    photos, encode = [], shared_model.model.get_image_embeddings
    monkeypatch.setattr(
        shared_model.model, "get_image_embeddings", lambda pixels: photos.append(pixels) or encode(pixels)
    )
    return photos


def _noise(seed=0, size=(60, 40)):
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), np.uint8))


def test_gives_what_the_model_gives(shared_model):
    marks = Marks().click((3, 4), "on").click((9, 9), "box").click((50, 30), "box")
    found = shared_model.segment(_noise(), SENTENCES, semantic=True, marks=marks)
    prompts = {f"input_{name}": [marks.prompts(2)[key]] for name, key in NAMES.items()}
    inputs = shared_model.processor(images=[_noise()], text=[SENTENCES], semantic=True, **prompts)
    with torch.no_grad():
        outputs = shared_model.model(**inputs)
    (expected,) = shared_model.processor.post_process_referring_segmentation(outputs, inputs)
    assert np.array_equal(found.masks, expected["masks"])
    assert np.allclose(found.scores, expected["scores"])
    assert np.array_equal(found.boxes, expected["boxes"])


def test_a_photo_is_encoded_once_while_sentences_change(shared_model, encoded):
    for sentences in (["a star"], ["a circle", "a square"], ["a star"]):
        shared_model.segment(_noise(), sentences)
    shared_model.segment(_noise(1), ["a star"])
    assert len(encoded) == 2


def test_messages_count_sentences_as_people_do(shared_model):
    with pytest.raises(ValueError, match=r"^Sentence 2 has \d+ tokens.*shorten it"):
        shared_model.segment(_noise(), ["a star", "star " * 50])


def _film(folder, count=3):
    for number in range(count):
        _noise(number).save(folder / f"{number}.png")
    return FrameFolder(folder)


@pytest.mark.parametrize("name", ["tiny_checkpoint", "tiny_video_checkpoint"])
def test_a_film_is_followed_as_by_the_command(name, request, tmp_path):
    pytest.importorskip("av", reason="the film with masks needs the extra 'video'")
    folder = str(request.getfixturevalue(name))
    shared_model = SharedModel(*load_model(folder, "cpu", for_films=True), folder)
    film, counts = _film(tmp_path), []

    def progress(items, name, count):
        counts.append((name, count))
        return items

    found = shared_model.follow(film, SENTENCES, tmp_path / "page", progress=progress)
    predictor = EvfSamVideoPredictor(shared_model.model, shared_model.processor)
    expected = segment_video(predictor, film, Question(sentences=SENTENCES), tmp_path / "command", settings={})
    assert (found.rows, found.files) == (expected.rows, ["masks.jsonl", "overlay.mp4"])
    assert counts == [("segmenting", 3), ("drawing", 3)]


def test_photos_get_their_turn_between_frames(shared_model, tmp_path):
    pytest.importorskip("av", reason="the film with masks needs the extra 'video'")
    masks = []

    def progress(items, name, count):
        for item in items:
            photo = threading.Thread(
                target=lambda: masks.append(shared_model.segment(_noise(), ["a star"])), daemon=True
            )
            photo.start()
            photo.join(60)
            assert not photo.is_alive(), "the photo waits for the whole film"
            yield item

    shared_model.follow(_film(tmp_path), SENTENCES, tmp_path / "out", progress=progress)
    assert len(masks) == 6


def test_messages_about_films_count_sentences_as_people_do(shared_model, tmp_path):
    with pytest.raises(ValueError, match=r"^Sentence 2 has \d+ tokens.*shorten it"):
        shared_model.follow(
            _film(tmp_path), ["a star", "star " * 50], tmp_path / "out", progress=lambda items, *_: items
        )


@pytest.mark.parametrize(
    ("text", "expected", "message"),
    [
        ("a star", ["a star"], None),
        ("  a star \r\n\n the sky\n", ["a star", "the sky"], None),
        ("", None, "no sentence"),
        (" \n ", None, "no sentence"),
        ("star\n" * 8, ["star"] * 8, None),
        ("star\n" * 9, None, "9 sentences: give 8"),
        ("x\n" + "y" * 300, ["x", "y" * 300], None),
        ("x\n" + "y" * 301, None, "Sentence 2 has 301 characters"),
    ],
)
def test_sentences(text, expected, message):
    if message is None:
        assert read_sentences(text) == expected
        return
    with pytest.raises(ValueError, match=message):
        read_sentences(text)


def test_a_photo_is_read(tmp_path):
    _noise().convert("L").save(tmp_path / "grey.png")
    assert read_photo(tmp_path / "grey.png").mode == "RGB"


@pytest.mark.parametrize("kind", ["text", "cut", "large", "heavy"])
def test_a_bad_photo_is_named_without_its_folder(tmp_path, monkeypatch, kind):
    path = tmp_path / "holiday.png"
    _noise(size=(64, 64)).save(path)
    if kind in LIMITS:
        monkeypatch.setattr(segmenting, *LIMITS[kind])
    else:
        path.write_bytes(b"hello" if kind == "text" else path.read_bytes()[:800])
    expected = {
        "text": "is not an image",
        "cut": "cannot be read",
        "large": r"cannot be read \(64 x 64 pixels: a photo has at least 1 and at most 4000 of them",
        "heavy": "has more than 0 MB: make it smaller",
    }
    with pytest.raises(ValueError, match=f"^photo 'holiday.png' {expected[kind]}") as error:
        read_photo(path)
    assert str(tmp_path) not in str(error.value)


def test_a_result_at_the_size_of_the_page():
    masks = np.zeros((2, 40, 60), dtype=bool)
    masks[0, :20] = True
    scores, boxes = np.array([0.75, 0.25], np.float32), np.zeros((2, 4))
    result = Segmentation(
        photo_size=(40, 60), sentences=SENTENCES, masks=masks, scores=scores, boxes=boxes, semantic=[False, True]
    )
    found = summarize(_noise(), result)
    assert found.semantic == [False, True]
    assert found.view.size == found.picture().size == (640, 427)
    assert found.masks.shape == (2, 427, 640)
    assert [entry.sentence for entry in found.legend()] == SENTENCES
    assert [entry.score for entry in found.legend()] == [0.75, 0.25]
    assert [entry.colour for entry in found.legend()] == list(COLOURS[:2])
    assert found.legend()[0].share == pytest.approx(0.5, abs=0.01)
    assert found.legend()[1].share == 0
    changed = (np.asarray(found.picture()) != np.asarray(found.view)).any(axis=-1)
    assert changed[:200].mean() > 0.95
    assert not changed[220:].any()


def test_the_legend_says_what_is_not_there():
    result = Segmentation(
        photo_size=(40, 60),
        sentences=SENTENCES,
        masks=np.zeros((2, 40, 60), dtype=bool),
        scores=np.array([0.75, 0.25], np.float32),
        boxes=np.zeros((2, 4)),
        semantic=[False, True],
        presence=np.array([0.75, 0.25]),
        present=np.array([True, False]),
    )
    assert [entry.present for entry in summarize(_noise(), result).legend()] == [True, False]


def test_packs_what_the_command_writes(shared_model, tmp_path):
    result = shared_model.segment(_noise(), SENTENCES)
    path = pack(tmp_path / "m.zip", _noise(), result, name="p.png", model="m")
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["01_the_red_circle.png", "02_a_star.png", "overlay.png", "result.json"]
        record = json.loads(archive.read("result.json"))
        masks = [np.asarray(Image.open(archive.open(entry["file"]))) for entry in record["masks"]]
    assert {name: record[name] for name in ("photo", "width", "height", "model")} == {
        "photo": "p.png", "width": 60, "height": 40, "model": "m",
    }  # fmt: skip
    for entry, picture, mask in zip(record["masks"], masks, result.masks, strict=True):
        assert np.array_equal(picture, mask * np.uint8(255))
        assert np.array_equal(coco_mask.decode(entry["rle"]), mask)
        assert entry["semantic"] is False
