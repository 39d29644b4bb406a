import json
import pickle
from contextlib import nullcontext

import numpy as np
import pytest

from modeling_evf_sam.data.open_dataset import open_dataset
from modeling_evf_sam.data.refer_layout import ReferDataset, held_out_photos
from modeling_evf_sam.data.references import PUBLISHED_SIZES
from tests.miniatures import LEFT, MIDDLE, RIGHT, columns, ref, run_lengths, write_json, write_photo, write_refer

ANNOTATIONS = [
    {"image_id": 1, "segmentation": [LEFT, RIGHT]},
    {"image_id": 1, "segmentation": [run_lengths(columns(5, 6))]},
    {"image_id": 2, "segmentation": [LEFT, MIDDLE]},
    {"image_id": 3, "segmentation": []},
]
REFS = [
    ref(1, "train", ["Both sides ", "left and right"], 0),
    ref(2, "val", ["The Left half"], 2),
    ref(1, "train", ["a thin line"], 1),
    ref(3, "val", ["nothing", "  "], 3),
]


@pytest.mark.parametrize("name", ["refclef", "refcoco", "refcoco+", "refcocog"])
def test_photos_with_all_their_sentences(tmp_path, name):
    dataset = ReferDataset(write_refer(tmp_path, name, REFS, ANNOTATIONS), name, "unc", "train")
    (sample,) = dataset
    assert sample.sentences == ["Both sides ", "left and right", "a thin line"]
    both, thin = columns(0, 4) | columns(8, 12), columns(5, 6)
    np.testing.assert_array_equal(sample.masks, [both, both, thin])
    assert (sample.photo.mode, sample.photo.size, sample.masks.dtype) == ("RGB", (12, 10), bool)
    assert (sample.semantic, sample.kinds) == ([False] * 3, [""] * 3)
    assert dataset.sizes == (2, 1, 3)


def test_evaluation_lower_cases_and_passes_over_sentences_without_words(tmp_path, caplog):
    root = write_refer(tmp_path, "refcoco", REFS, ANNOTATIONS)
    dataset = open_dataset(f"refer:{root}:refcoco:unc", "val")
    assert [sample.sentences for sample in dataset] == [["the left half"], ["nothing"]]
    assert not dataset[1].masks.any()
    assert dataset.sizes == (2, 2, 3)
    assert "left out 1 sentences without words" in caplog.text


@pytest.mark.parametrize(("legacy_overlap", "pixels"), [(False, 80), (True, 70)])
def test_overlapping_polygons(tmp_path, legacy_overlap, pixels):
    root = write_refer(tmp_path, "refcoco", REFS, ANNOTATIONS)
    dataset = open_dataset(f"refer:{root}:refcoco:unc", "val", legacy_overlap=legacy_overlap)
    assert dataset[0].masks.sum() == pixels


def test_photos_of_any_benchmark_are_held_out_of_training(tmp_path):
    """Photo 2 is tested on by refcoco+, photo 4 by refcocog's own google split only, photo 5 by refclef."""

    def write(name, splits, split_by="unc"):
        refs = [ref(i, split, ["a thing"], i) for i, split in splits.items()]
        annotations = [{"image_id": i, "segmentation": [LEFT]} for i in range(6)]
        return write_refer(tmp_path, name, refs, annotations, split_by)

    write("refcoco", dict.fromkeys(range(6), "train"))
    write("refcoco+", {1: "train", 2: "testB"})
    write("refcocog", {3: "val", 4: "train"}, "umd")
    write("refclef", {5: "test"})
    root = write("refcocog", {4: "val", **dict.fromkeys((0, 1, 2, 3, 5), "train")}, "google")
    write_refer(
        tmp_path,
        "refcoco",
        [ref(i, "train", ["a thing"], i) for i in range(6)],
        [{"image_id": i, "segmentation": [LEFT]} for i in range(6)],
    )
    name = f"refer:{root}:refcoco:unc"
    dataset = open_dataset(name, "train", training=True)
    assert [image_id for image_id, _ in dataset.photos] == [0, 1, 4, 5]
    assert (dataset.excluded, dataset.sizes) == (2, (6, 6, 6))
    assert len(open_dataset(name, "train", training=True, include_held_out=True)) == 6
    assert held_out_photos(root, "refcocog", "google") == {2, 3, 4}
    assert held_out_photos(root, "refclef", "unc") == {5}
    with pytest.raises(ValueError, match=r"all photos of .* val are held out"):
        open_dataset(f"refer:{root}:refcocog:umd", "val", training=True)


def test_several_targets_or_none(tmp_path):
    refs = [
        ref(1, "train", ["both"], [0, 1]),
        ref(1, "train", ["a purple cow", "no such thing"], [-1]),
        ref(1, "train", ["the line"], [1]),
    ]
    sample = ReferDataset(write_refer(tmp_path, "grefcoco", refs, ANNOTATIONS), "grefcoco", "unc", "train")[0]
    assert [int(mask.sum()) for mask in sample.masks] == [90, 0, 0, 10]
    assert sample.kinds == ["several targets", "no target", "no target", "one target"]


def _edit(path, change):
    record = json.loads(path.read_text())
    change(record)
    write_json(path, record)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("images"), "instances.json' has no list 'images'"),
        (lambda d: d["images"].pop(0), "has no image 1, which the references speak of"),
        (lambda d: d["annotations"].pop(1), "has no annotation 1 for image 1"),
        (lambda d: d["annotations"][1].update(image_id=2), "has no annotation 1 for image 1"),
        (lambda d: d["images"][0].pop("height"), r"images\[0\]: 'height' must be int, not None"),
        (lambda d: d["images"].insert(0, 7), r"images\[0\] is int, not an object"),
        (lambda d: d["images"][0].update(height=11), "has 12 x 10 pixels but .* image 1 is for 12 x 11"),
        (lambda d: d["images"][0].update(file_name="../secret.jpg"), r"image 1: '\.\./secret\.jpg' leads out of"),
        (lambda d: d["images"][0].update(file_name="/etc/passwd"), "image 1: '/etc/passwd' leads out of"),
        (lambda d: d["images"][0].update(file_name="C:\\secret.jpg"), "leads out of"),
        (lambda d: d["images"][0].update(file_name="gone.jpg"), r"gone\.jpg' does not exist"),
        (lambda d: d["annotations"][1].update(segmentation=None), "annotation 1: the segmentation is None"),
        (lambda d: d["annotations"][0].update(segmentation=[[0, 0, 99, 0, 99, 9]]), "annotation 0: part 0 .* outside"),
    ],
)
def test_bad_instances_are_named(tmp_path, change, message):
    root = write_refer(tmp_path, "refcoco", REFS, ANNOTATIONS)
    _edit(root / "refcoco" / "instances.json", change)
    with pytest.raises((ValueError, OSError), match=message):
        ReferDataset(root, "refcoco", "unc", "train")[0]


@pytest.mark.parametrize(
    ("refs", "message"),
    [
        ([], "no list of references"),
        ({"a": 1}, "no list of references"),
        ([*REFS, 3], r"refs\(unc\)\.p', entry 4 is int, not an object"),
        ([{**REFS[0], "image_id": "1"}], "entry 0: 'image_id' must be int, not '1'"),
        ([{**REFS[0], "sentences": [{"raw": "a"}]}], "entry 0, a sentence: 'sent' must be str"),
        ([{**REFS[0], "ann_id": None}], "entry 0: 'ann_id' must be a whole number"),
        (REFS[1:2], "has no split 'train': choose one of val"),
    ],
)
def test_bad_references_are_named(tmp_path, refs, message):
    root = write_refer(tmp_path, "refcoco", REFS, ANNOTATIONS)
    (root / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps(refs))
    with pytest.raises(ValueError, match=message):
        ReferDataset(root, "refcoco", "unc", "train")


@pytest.mark.parametrize(
    ("name", "split_by", "expected"),
    [
        ("refcoco", "unc", nullcontext()),
        ("refcoco", "umd", pytest.raises(FileNotFoundError, match=r"refs\(umd\)\.p' does not exist")),
        ("coco", "unc", pytest.raises(ValueError, match=r"'coco' is unknown .* refclef, refcoco")),
    ],
)
def test_choices(tmp_path, name, split_by, expected):
    write_refer(tmp_path, "refcoco", REFS, ANNOTATIONS)
    with expected:
        ReferDataset(tmp_path, name, split_by, "train")


def test_a_photo_that_is_no_photo(tmp_path):
    root = write_refer(tmp_path, "refcoco", REFS, ANNOTATIONS)
    photo = write_photo(root / "images/mscoco/images/train2014/COCO_train2014_000000000001.jpg")
    photo.write_text("<html>")
    with pytest.raises(ValueError, match=r"COCO_train2014_000000000001\.jpg' is not an image"):
        ReferDataset(root, "refcoco", "unc", "train")[0]


def test_published_sizes_add_up_to_the_whole_datasets():
    totals = {}
    for (name, split_by, _), sizes in PUBLISHED_SIZES.items():
        totals[name, split_by] = np.add(totals.get((name, split_by), 0), sizes)
    assert {key: total.tolist() for key, total in totals.items()} == {
        ("refcoco", "unc"): [50000, 19994, 142210],
        ("refcoco+", "unc"): [49856, 19992, 141564],
        ("refcocog", "umd"): [49822, 25799, 95010],
    }


@pytest.mark.parametrize(("split", "sizes"), [("val", (6, 2, 17)), ("testA", (14, 11, 42)), ("testB", (6, 3, 20))])
def test_real_files(shared, split, sizes):
    dataset = open_dataset(f"refer:{shared / 'data/refcoco-mini'}:refcoco:unc", split)
    assert dataset.sizes == sizes
    assert sum(len(sample.sentences) for sample in dataset) == sizes[2]
    assert all(mask.any() for sample in dataset for mask in sample.masks)
