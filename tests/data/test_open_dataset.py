import re
from pathlib import Path

import pytest

from modeling_evf_sam.data.coco_categories import CocoDataset
from modeling_evf_sam.data.index_maps import IndexMapDataset
from modeling_evf_sam.data.jsonl_folder import JsonlDataset, read_line
from modeling_evf_sam.data.open_dataset import open_dataset
from modeling_evf_sam.data.refer_layout import ReferDataset
from tests.miniatures import (
    LEFT,
    coco_record,
    columns,
    ref,
    write_json,
    write_lines,
    write_map,
    write_photo,
    write_refer,
)

DOCUMENT = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """One folder with a data set of every layout."""
    root = tmp_path_factory.mktemp("data")
    write_refer(root, "refcoco", [ref(1, "train", ["A cup"], 0)], [{"image_id": 1, "segmentation": [LEFT]}])
    write_lines(root, "own", [{"image": "one.jpg", "text": "A cup", "mask": LEFT}])
    for photo in ("one.jpg", "images/val/one.jpg", "JPEGImages/one.jpg"):
        write_photo(root / photo)
    for folder in ("annotations/val", "SegmentationClassAug"):
        write_map(root / folder / "one.png", columns(0, 4))
    write_json(root / "classes.json", ["cup"])
    write_json(
        root / "coco.json", coco_record({1: "one.jpg"}, [{"image_id": 1, "segmentation": [LEFT]}], {1: "A Cup"})
    )
    return root


@pytest.mark.parametrize(
    ("name", "split", "kind", "sentence", "semantic"),
    [
        ("refer:{root}:refcoco:unc", "train", ReferDataset, "a cup", False),
        ("jsonl:{root}", "own", JsonlDataset, "A cup", False),
        ("semantic:{root}", "val", IndexMapDataset, "cup", True),
        ("human_parsing:{root}", None, IndexMapDataset, "background", True),
        ("coco:{root}/coco.json:{root}", None, CocoDataset, "a cup", True),
        ("objects:{root}/coco.json:{root}", None, CocoDataset, "A Cup", False),
    ],
)
def test_every_layout_by_its_name(root, name, split, kind, sentence, semantic):
    dataset = open_dataset(name.replace("{root}", str(root)), split)
    assert isinstance(dataset, kind)
    sample = dataset[0]
    assert (sample.sentences[0], sample.semantic[0]) == (sentence, semantic)


def test_a_colon_in_the_first_path_stays_there(tmp_path):
    root = tmp_path / "C:data"
    write_refer(root, "refcoco", [ref(1, "val", ["a cup"], 0)], [{"image_id": 1, "segmentation": [LEFT]}])
    assert len(open_dataset(f"refer:{root}:refcoco:unc", "val")) == 1


def test_training_keeps_sentences_as_they_are_written(root):
    assert open_dataset(f"refer:{root}:refcoco:unc", "train", training=True)[0].sentences == ["A cup"]


@pytest.mark.parametrize(
    ("name", "split", "options", "message"),
    [
        ("refcoco", "val", {}, "'refcoco' is unknown: choose one of rendered_scenes, refer:ROOT:refcoco:unc, hub:"),
        ("refer:", "val", {}, "is unknown"),
        ("refer:root:unc", "val", {}, "must look like refer:ROOT:refcoco:unc"),
        ("refer:root::unc", "val", {}, "must look like refer:ROOT:refcoco:unc"),
        ("coco:file.json", None, {}, "must look like coco:ANNOTATIONS.json:PHOTOS"),
        ("coco:file.json:photos", "val", {}, "has no splits: name none"),
        ("refer:root:refcoco:unc", None, {}, "has splits: choose one"),
        ("jsonl:folder", "", {}, "has splits: choose one"),
        ("jsonl:folder", "val", {"legacy_overlap": True}, "legacy_overlap is for datasets refer"),
    ],
)
def test_wrong_names(name, split, options, message):
    with pytest.raises(ValueError, match=message):
        open_dataset(name, split, **options)


def test_the_documented_lines(tmp_path):
    (lines,) = re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)
    assert [len(read_line(tmp_path, line, "line").sentences) for line in lines.splitlines()] == [2, 1, 1]


def test_the_documented_mixture(tmp_path, monkeypatch):
    root = tmp_path / "data" / "refer_seg"
    for name, split_by in (("refclef", "unc"), ("refcoco", "unc"), ("refcoco+", "unc"), ("refcocog", "umd")):
        refs = [ref(i, split, [name, "b", "c", "d"], i) for i, split in enumerate(("train", "train", "val"))]
        write_refer(root, name, refs, [{"image_id": i, "segmentation": [LEFT]} for i in range(3)], split_by)
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code, names)
    assert len(names["mixture"]) == 1_920_000
    assert len(names["mixture"][1_919_999].sentences) == 3
