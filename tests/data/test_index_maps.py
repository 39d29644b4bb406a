from contextlib import nullcontext

import numpy as np
import pytest

from modeling_evf_sam.data.index_maps import (
    HUMAN_PARSING_LABELS,
    open_human_parsing,
    open_scene_parsing,
    read_labels,
    viewer_side,
)
from tests.miniatures import HEIGHT, WIDTH, columns, write_json, write_map, write_photo

INDICES = columns(0, 4) * 1 + columns(4, 6) * 3 + columns(11, 12) * 255


def _write_scenes(root, indices=INDICES):
    write_photo(root / "images" / "training" / "one.jpg")
    write_map(root / "annotations" / "training" / "one.png", indices)
    (root / "labels.txt").write_text("0\tnull\n1\twall\n2\tsky\n3\tpotted plant\n", encoding="utf-8")
    return root


def test_a_prompt_for_each_category(tmp_path):
    (sample,) = open_scene_parsing(_write_scenes(tmp_path), "training")
    assert sample.sentences == sample.kinds == ["wall", "potted plant"]
    assert sample.semantic == [True, True]
    np.testing.assert_array_equal(sample.masks, [columns(0, 4), columns(4, 6)])
    assert sample.masks.dtype == bool


def test_ade20k_names_start_at_one(tmp_path):
    root = _write_scenes(tmp_path)
    (root / "labels.txt").unlink()
    write_json(root / "ade20k_classes.json", ["wall", "building", "sky"])
    assert open_scene_parsing(root, "training")[0].sentences == ["wall", "sky"]


def test_a_map_without_categories_has_no_sentences(tmp_path):
    sample = open_scene_parsing(_write_scenes(tmp_path, np.zeros((HEIGHT, WIDTH))), "training")[0]
    assert (sample.sentences, sample.masks.shape) == ([], (0, HEIGHT, WIDTH))


def test_human_parsing_speaks_of_the_viewers_sides(tmp_path):
    write_photo(tmp_path / "JPEGImages" / "p.jpg")
    write_map(tmp_path / "SegmentationClassAug" / "p.png", columns(0, 4) * 9 + columns(4, 8) * 13 + columns(8, 9) * 4)
    (sample,) = open_human_parsing(tmp_path)
    assert sample.sentences == ["background", "upper clothes", "right shoe", "left leg"]
    np.testing.assert_array_equal(sample.masks[2], columns(0, 4))
    assert len(HUMAN_PARSING_LABELS) == 18


@pytest.mark.parametrize(
    ("name", "expected"),
    [("left-shoe", "right-shoe"), ("right arm and left arm", "left arm and right arm"), ("bright leftover",) * 2],
)
def test_viewer_side(name, expected):
    assert viewer_side(name) == expected


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("labels.txt", "0\tnull\n2\tsky\n", {2: "sky"}),
        ("classes.json", '["wall", "sky"]', {1: "wall", 2: "sky"}),
        ("labels.txt", "1 wall\n", r"labels\.txt:1: '1 wall' is not an index, a tab and a name"),
        ("labels.txt", "1\twall\n2\t \n", r"labels\.txt:2"),
        ("classes.json", '{"1": "wall"}', r"classes\.json' is no list of names"),
        ("classes.json", '["wall", ""]', r"classes\.json' is no list of names"),
    ],
)
def test_labels(tmp_path, file, content, expected):
    (tmp_path / file).write_text(content)
    with pytest.raises(ValueError, match=expected) if isinstance(expected, str) else nullcontext():
        assert read_labels(tmp_path / file) == expected


def _break(path, root):
    if path == "index":
        write_map(root / "annotations/training/one.png", columns(0, 4) * 77)
    elif path == "size":
        write_map(root / "annotations/training/one.png", np.ones((9, 9)))
    else:
        (root / path).unlink()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("index", r"one\.png' holds the index 77, which has no label"),
        ("size", "9 x 9 pixels, its photo 12 x 10 pixels"),
        ("images/training/one.jpg", "one.png' has no photo of the same name"),
        ("annotations/training/one.png", "annotations/training' holds no PNG"),
        ("labels.txt", "has no file of labels: one of labels.txt, classes.json"),
    ],
)
def test_faults_are_named(tmp_path, path, message):
    root = _write_scenes(tmp_path)
    _break(path, root)
    with pytest.raises((ValueError, OSError), match=message):
        open_scene_parsing(root, "training")[0]


def test_an_absent_split_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="images/test' does not exist"):
        open_scene_parsing(_write_scenes(tmp_path), "test")


@pytest.mark.parametrize(("split", "photos"), [("training", 240), ("validation", 40)])
def test_real_files(shared, split, photos):
    dataset = open_scene_parsing(shared / "data" / "clothing-mini", split)
    assert len(dataset) == photos
    assert "skin" in dataset[0].sentences
    assert "null" not in dataset[0].sentences
