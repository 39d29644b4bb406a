import json
from contextlib import nullcontext

import numpy as np
import pytest
from PIL import Image

from modeling_evf_sam.data.jsonl_folder import JsonlDataset, find_faults, find_splits
from tests.miniatures import LEFT, MIDDLE, columns, run_lengths, write_lines, write_map, write_photo

CUP = {"image": "photos/cup.jpg", "text": "the cup", "mask": [LEFT]}


@pytest.fixture
def folder(tmp_path):
    for name in ("cup", "street"):
        write_photo(tmp_path / "photos" / f"{name}.jpg")
    write_map(tmp_path / "masks" / "cars.png", columns(2, 6) * 255)
    return tmp_path


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        ([LEFT], columns(0, 4)),
        (LEFT, columns(0, 4)),
        ([LEFT, MIDDLE], columns(0, 8)),
        (run_lengths(columns(5, 6)), columns(5, 6)),
        ({"size": [10, 12], "counts": [20, 30, 70]}, columns(2, 5)),
        ("masks/cars.png", columns(2, 6)),
        (None, columns(0, 0)),
    ],
)
def test_masks(folder, mask, expected):
    write_lines(folder, "train", [{**CUP, "mask": mask}])
    (sample,) = JsonlDataset(folder, "train")
    np.testing.assert_array_equal(sample.masks, [expected])
    assert not list(find_faults(folder, "train"))


def test_lines_of_one_photo_make_one_sample(folder):
    street = {"image": "photos/street.jpg", "text": ["Cars", "all cars"], "mask": "masks/cars.png", "semantic": True}
    last = {**CUP, "text": ["nothing like this"], "mask": None, "semantic": False}
    write_lines(folder, "train", [CUP, "", street, last])
    write_lines(folder, "test", [street])
    cup, street = JsonlDataset(folder, "train")
    assert cup.sentences == ["the cup", "nothing like this"]
    assert (street.sentences, street.semantic) == (["Cars", "all cars"], [True, True])
    assert cup.masks.sum(axis=(1, 2)).tolist() == [40, 0]
    assert find_splits(folder) == ["test", "train"]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("1", nullcontext()),
        ("L", nullcontext()),
        ("P", nullcontext()),
        ("I;16", nullcontext()),
        ("RGB", pytest.raises(ValueError, match="of type RGB: save it as grey")),
        ("RGBA", pytest.raises(ValueError, match="of type RGBA: save it as grey")),
    ],
)
def test_png_masks_of_every_kind(folder, mode, expected):
    Image.fromarray(columns(2, 6).astype(np.uint8)).point(lambda v: v * 255).convert(
        "L" if mode == "P" else mode
    ).convert(mode).save(folder / "masks" / "cars.png")
    write_lines(folder, "train", [{**CUP, "mask": "masks/cars.png"}])
    with expected:
        np.testing.assert_array_equal(JsonlDataset(folder, "train")[0].masks[0], columns(2, 6))


FAULTS = [
    ("{'image': 1}", "not JSON"),
    ("[" * 100_000, "not JSON"),
    ("[1, 2]", 'no object: write {"image": ..., "text": ..., "mask": ...}'),
    ({"image": "photos/cup.jpg", "text": "the cup"}, "'mask' is missing: the fields are image, text, mask"),
    ({**CUP, "sentence": "x"}, "'sentence' is unknown: the fields are"),
    ({**CUP, "text": "  "}, "text is '  ': write a sentence with words"),
    ({**CUP, "text": []}, "text is []: write a sentence"),
    ({**CUP, "text": ["a cup", ""]}, "text is ['a cup', '']: write a sentence"),
    ({**CUP, "text": 3}, "text is 3: write a sentence"),
    ({**CUP, "semantic": "yes"}, "semantic is 'yes': write true or false"),
    ({**CUP, "image": 3}, "3 is not the name of a file"),
    ({**CUP, "image": ""}, "'' is not the name of a file"),
    ({**CUP, "image": "../cup.jpg"}, "'../cup.jpg' leads out of"),
    ({**CUP, "image": "/etc/passwd"}, "'/etc/passwd' leads out of"),
    ({**CUP, "image": "photos/mug.jpg"}, "mug.jpg' does not exist: check the path"),
    ({**CUP, "image": "train.jsonl"}, "train.jsonl' is not an image"),
    ({**CUP, "mask": "../cars.png"}, "'../cars.png' leads out of"),
    ({**CUP, "mask": "masks/gone.png"}, "mask '{folder}/masks/gone.png' does not exist"),
    ({**CUP, "mask": "photos/cup.jpg"}, "cup.jpg' is not usable"),
    ({**CUP, "mask": "masks/large.png"}, "5 x 9 pixels, its photo 12 x 10 pixels: both must have the same size"),
    ({**CUP, "mask": []}, "mask has no polygons: write null"),
    ({**CUP, "mask": 3}, "mask is 3: write polygons, run lengths, the path of a PNG, or null"),
    ({**CUP, "mask": [[0, 0, 99, 0, 99, 9]]}, "spans (0, 0) to (99, 9), outside the 12 x 10 pixels"),
    ({**CUP, "mask": [[0, 0, 1, 1]]}, "has 4 numbers: a polygon has x and y of at least three points"),
    ({**CUP, "mask": {"size": [12, 10], "counts": "0"}}, "has the size [12, 10]: the photo has [10, 12]"),
    ({**CUP, "mask": {"size": [10, 12], "counts": "0"}}, "do not add up to 10 x 12 pixels"),
]


@pytest.mark.parametrize(("line", "message"), FAULTS)
def test_a_bad_line_is_named_with_the_fix(folder, line, message):
    write_map(folder / "masks" / "large.png", np.ones((9, 5)))
    write_lines(folder, "train", [CUP, "", line, CUP])
    (fault,) = find_faults(folder, "train")
    assert fault.startswith(f"{folder}/train.jsonl:3: ")
    assert message.replace("{folder}", str(folder)) in fault
    with pytest.raises(ValueError) as caught:
        list(JsonlDataset(folder, "train"))
    assert str(caught.value) == fault


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (None, FileNotFoundError, "train.jsonl' does not exist: the splits in .* are test"),
        (b"\n \n", ValueError, "is empty: write one JSON object on each line"),
        (b"\xff\xfe{", ValueError, "is not UTF-8 text"),
    ],
)
def test_bad_files(folder, content, error, message):
    write_lines(folder, "test", [CUP])
    if content is not None:
        (folder / "train.jsonl").write_bytes(content)
    with pytest.raises(error, match=message):
        JsonlDataset(folder, "train")


def test_windows_wrote_the_file(folder):
    text = "\ufeff" + json.dumps(CUP) + "\r\n" + json.dumps(CUP) + "\r\n"
    (folder / "train.jsonl").write_bytes(text.encode())
    assert len(JsonlDataset(folder, "train")[0].sentences) == 2
