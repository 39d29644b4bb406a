import json
import sys

import numpy as np
import pytest

from modeling_evf_sam.data.hub_references import HubReferDataset, hub_held_out_photos
from modeling_evf_sam.data.open_dataset import open_dataset
from tests.miniatures import HEIGHT, LEFT, MIDDLE, RIGHT, WIDTH, columns, write_photo

datasets = pytest.importorskip("datasets", reason="the extra 'hub-data' is not installed")

# the Hub's split -> (image, annotation, the papers' split, sentences, polygons)
ROWS = {
    "train": [
        (1, 10, "train", ["A cup", "the cup "], [LEFT]),
        (1, 11, "train", ["dog"], [MIDDLE, RIGHT]),
        (2, 12, "train", ["ox"], [LEFT]),
        (3, 13, "train", ["cat"], [LEFT]),
    ],
    "validation": [(4, 14, "val", ["Pen"], [LEFT])],
    "test": [(5, 15, "testA", ["Man "], [RIGHT])],
    "testB": [(6, 16, "testB", ["car"], [[LEFT]])],
}


def _row(image_id, ann_id, split, sentences, polygons):
    image = {"id": image_id, "file_name": f"{image_id}.jpg", "height": HEIGHT, "width": WIDTH}
    entry = {"id": ann_id, "image_id": image_id, "category_id": 1, "iscrowd": 0, "segmentation": polygons}
    return {
        "sent_ids": list(range(len(sentences))),
        "file_name": f"{image_id}_{ann_id}.jpg",
        "ann_id": ann_id,
        "ref_id": ann_id,
        "image_id": image_id,
        "split": split,
        "sentences": [{"raw": s, "sent": s, "sent_id": i, "tokens": s.split()} for i, s in enumerate(sentences)],
        "category_id": 1,
        "raw_anns": json.dumps(entry),
        "raw_image_info": json.dumps(image),
    }


ROW = _row(*ROWS["train"][0])


def write_repository(folder, rows):
    for split, entries in rows.items():
        (folder / "data").mkdir(parents=True, exist_ok=True)
        table = datasets.Dataset.from_list([entry if isinstance(entry, dict) else _row(*entry) for entry in entries])
        table.to_parquet(str(folder / "data" / f"{split}-00000-of-00001.parquet"))
    return str(folder)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


@pytest.fixture
def repository(tmp_path):
    for image_id in range(1, 7):
        write_photo(tmp_path / "photos" / f"{image_id}.jpg")
    return write_repository(tmp_path / "mirror" / "refcoco", ROWS)


def test_rows_are_sentences_about_annotations(repository, tmp_path):
    dataset = HubReferDataset(repository, "train", tmp_path / "photos")
    sample = dataset[0]
    assert sample.sentences == ["A cup", "the cup ", "dog"]
    np.testing.assert_array_equal(sample.masks, [columns(0, 4), columns(0, 4), columns(3, 12)])
    assert (dataset.sizes, sample.name) == ((4, 3, 5), "1.jpg")
    assert dataset.published_sizes == (42404, 16994, 120624)


@pytest.mark.parametrize(
    ("split", "benchmark", "sentences"),
    [
        ("val", "val", ["pen"]),
        ("validation", "val", ["pen"]),
        ("testA", "testA", ["man"]),
        ("test", "testA", ["man"]),
    ],
)
def test_splits_by_the_names_of_the_papers_or_the_hub(repository, tmp_path, split, benchmark, sentences):
    dataset = open_dataset(f"hub:{repository}:{tmp_path / 'photos'}", split)
    assert dataset.benchmark == ("refcoco", "unc", benchmark)
    assert dataset[0].sentences == sentences


def test_training_leaves_out_what_any_of_the_three_tests_on(repository, tmp_path):
    write_repository(
        tmp_path / "mirror" / "refcocog",
        {"train": [(1, 20, "train", ["a"], [LEFT])], "test": [(2, 21, "test", ["b"], [LEFT])]},
    )
    assert hub_held_out_photos(repository) == {2, 4, 5, 6}
    name = f"hub:{repository}:{tmp_path / 'photos'}"
    dataset = open_dataset(name, "train", training=True)
    assert [image_id for image_id, _ in dataset.photos] == [1, 3]
    assert (dataset.excluded, dataset[0].sentences[0]) == (1, "A cup")
    assert len(open_dataset(name, "train", training=True, include_held_out=True)) == 3


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{**ROW, "raw_anns": "{"}], "row 0: raw_anns is not JSON"),
        ([{**ROW, "raw_anns": "[]"}], "row 0, raw_anns is list, not an object"),
        ([{**ROW, "raw_image_info": "{}"}], "row 0, raw_image_info: 'file_name' must be str"),
        ([{**ROW, "sentences": [{"raw": "a"}]}], "row 0, a sentence: 'sent' must be str"),
        ([{**ROW, "sentences": "a cup"}], "row 0: 'sentences' must be list, not 'a cup'"),
        ([ROWS["train"][0], ROWS["test"][0]], "must have rows of one split, not of testA, train"),
        ([{"image_id": 1, "segmentation": [1.0, 2.0]}], "has no column .*: it must have those of jxu124/refcoco"),
        ([_row(1, 10, "train", ["a"], [[0, 0, 99, 0, 99, 9]])], "annotation 10: part 0 .* outside the 12 x 10"),
        ([_row(77, 10, "train", ["a"], [LEFT])], r"77\.jpg' does not exist"),
    ],
)
def test_wrong_rows_are_named(repository, tmp_path, rows, message):
    other = write_repository(tmp_path / "other", {"train": rows})
    with pytest.raises((ValueError, OSError), match=message):
        HubReferDataset(other, "train", tmp_path / "photos")[0]


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("hub:lmms-lab/RefCOCO:photos", "val", "'lmms-lab/RefCOCO' has a single polygon for each object"),
        ("hub:lmms-lab/RefCOCOplus:photos", "val", "take jxu124/refcoco, refcocoplus or refcocog"),
        ("hub:jxu124/refcoco", "val", "must look like hub:jxu124/refcoco:PHOTOS"),
        ("hub:{mirror}/gone:photos", "val", "gone' cannot be loaded"),
        ("hub:{mirror}/refcoco:photos", "dev", "has no split 'dev': choose one of train, validation, test, testB"),
        ("hub:{mirror}/refcoco:photos", None, "has splits: choose one"),
    ],
)
def test_wrong_names(repository, tmp_path, name, split, message):
    with pytest.raises(ValueError, match=message):
        open_dataset(name.replace("{mirror}", str(tmp_path / "mirror")), split)


def test_the_package_is_asked_for(repository, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ValueError, match=r"need the package datasets: pip install"):
        open_dataset(f"hub:{repository}:{tmp_path}", "val")
