"""Sentences of other photos, about what a photo does not show."""

import json
import pickle
from functools import partial

import pytest

from modeling_evf_sam.data.coco_categories import CocoDataset
from modeling_evf_sam.data.hub_references import HubReferDataset
from modeling_evf_sam.data.index_maps import open_scene_parsing
from modeling_evf_sam.data.jsonl_folder import JsonlDataset
from modeling_evf_sam.data.mixture import DatasetMixture
from modeling_evf_sam.data.open_dataset import open_dataset
from modeling_evf_sam.data.refer_layout import ReferDataset
from tests.miniatures import LEFT, RIGHT, coco_record, columns, ref, write_json, write_lines, write_map, write_photo
from tests.miniatures import write_refer as write_refer_layout

NAMES = {1: "cat", 2: "dog", 3: "bus"}
SHOWN = {0: {1, 2}, 1: {2}, 2: {3}, 3: {1, 2, 3}}  # photo -> categories; the sentences are about the first of each
SENTENCES = {
    0: ["the cat on the left", "a sleeping cat"],
    1: ["black dog", "left"],
    2: ["the yellow bus"],
    3: ["the cat in the bus"],
}


def write_refer(root, name="grefcoco"):
    annotations = [
        {"image_id": photo, "category_id": category, "segmentation": [LEFT]}
        for photo, categories in SHOWN.items()
        for category in sorted(categories)
    ]
    first = {photo: [a["image_id"] for a in annotations].index(photo) for photo in SHOWN}
    several = name == "grefcoco"
    refs = [
        ref(photo, "train", sentences, [first[photo]] if several else first[photo])
        for photo, sentences in SENTENCES.items()
    ]
    if several:
        refs.append(ref(0, "train", ["the cat and its dog"], [0, 1]))
        refs.append(ref(2, "train", ["a purple cow"], [-1]))
    return write_refer_layout(root, name, refs, annotations)


def refer(root):
    return ReferDataset(write_refer(root), "grefcoco", "unc", "train")


def coco(root, *, objects=False):
    images = {photo: f"{photo}.png" for photo in SHOWN}
    for name in images.values():
        write_photo(root / name)
    annotations = [
        {"image_id": photo, "category_id": category, "segmentation": [[LEFT], [[1, 1, 2, 2]]][category == max(those)]}
        for photo, those in {**SHOWN, 1: {1, 2}}.items()  # the last category of a photo has no mask
        for category in sorted(those)
    ]
    annotations.append({"image_id": 2, "category_id": 2, "segmentation": [RIGHT]})
    record = coco_record(images, annotations, NAMES)
    return CocoDataset(write_json(root / "instances.json", record), root, objects=objects)


def scenes(root):
    labels = "".join(f"{index}\t{name}\n" for index, name in NAMES.items())
    for photo, categories in SHOWN.items():
        write_photo(root / "images" / "training" / f"{photo}.jpg")
        values = sum(columns(4 * n, 4 * n + 4) * index for n, index in enumerate(sorted(categories)))
        write_map(root / "annotations" / "training" / f"{photo}.png", values)
    (root / "labels.txt").write_text(labels)
    return open_scene_parsing(root, "training")


def own_photos(root):
    lines = []
    for photo, categories in SHOWN.items():
        write_photo(root / f"{photo}.png")
        names = [NAMES[category] for category in sorted(categories)]
        lines.append({"image": f"{photo}.png", "text": names, "mask": [LEFT]})
    lines.append({"image": "1.png", "text": "a purple cow", "mask": None})
    return JsonlDataset(write_lines(root, "train", lines), "train")


def drawn(samples):
    """(the number of the photo, a sentence) -> its kind."""
    return {
        (sample.name.partition(".")[0][-1], sentence): kind
        for sample in samples
        for sentence, kind in zip(sample.sentences, sample.kinds, strict=True)
    }


LAYOUTS = [refer, coco, partial(coco, objects=True), scenes, own_photos]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_negative_names_nothing_that_its_photo_shows(tmp_path, layout):
    dataset = layout(tmp_path)
    categories = {target.sentence: target.categories for i in range(len(dataset)) for target in dataset.targets(i)}
    negatives = 0
    for index, sample in enumerate(DatasetMixture([dataset], size=200, negatives=0.5)):
        photo = next(i for i in range(len(dataset)) if dataset.photo_name(i) == sample.name)
        own = {target.sentence for target in dataset.targets(photo)}
        for sentence, mask, kind in zip(sample.sentences, sample.masks, sample.kinds, strict=True):
            assert (kind == "absent") == (sentence not in own), index
            if kind == "absent":
                negatives += 1
                assert categories[sentence] and categories[sentence].isdisjoint(dataset.categories(photo))
                assert not mask.any()
    assert negatives > 20


def test_what_a_photo_shows_is_more_than_what_is_said_about_it(tmp_path):
    assert refer(tmp_path / "refer").categories(0) == {1, 2}
    dataset = coco(tmp_path / "coco")
    assert dataset.targets(0)[0].categories == {"cat"}
    assert dataset.categories(0) == {"cat", "dog"}


def test_sentences_that_mean_nothing_at_home_are_neither_replaced_nor_lent(tmp_path):
    kinds = drawn(DatasetMixture([refer(tmp_path)], size=200, negatives=1.0, sentences_per_photo=9))
    assert {photo for photo, sentence in kinds if sentence == "a purple cow"} == {"2"}
    assert kinds["2", "a purple cow"] == "no target"
    assert ("2", "the yellow bus") not in kinds  # a photo without a cat or a dog lends and takes
    assert kinds["3", "the cat in the bus"] == "one target"  # nothing is missing from photo 3


def test_a_sentence_about_two_things_is_wrong_only_where_neither_is(tmp_path):
    kinds = drawn(DatasetMixture([refer(tmp_path)], size=300, negatives=1.0))
    absent = {key for key, kind in kinds.items() if kind == "absent"}
    assert {photo for photo, sentence in absent if sentence == "the cat and its dog"} == {"2"}
    assert {photo for photo, sentence in absent if sentence == "a sleeping cat"} == {"1", "2"}


def test_a_sentence_of_places_alone_stays_at_home(tmp_path):
    kinds = drawn(DatasetMixture([refer(tmp_path)], size=300, negatives=0.5))
    assert {photo for photo, sentence in kinds if sentence == "left"} == {"1"}


def test_the_share_and_its_seed(tmp_path):
    dataset = own_photos(tmp_path)
    mixture = partial(DatasetMixture, [dataset], size=500)
    kinds = [kind for sample in mixture(negatives=0.3) for kind in sample.kinds]
    replaceable = 4 / 8  # of the photos' 2, 2, 1 and 3 sentences: 2, 1, 1 and, as the last shows everything, 0
    assert kinds.count("absent") / len(kinds) == pytest.approx(0.3 * replaceable, abs=0.03)
    first = [mixture(negatives=0.3)[index].sentences for index in range(50)]
    copy = pickle.loads(pickle.dumps(mixture(negatives=0.3)))
    assert [copy[index].sentences for index in reversed(range(50))] == first[::-1]
    assert [mixture(negatives=0.3, seed=1)[index].sentences for index in range(50)] != first
    assert not any("absent" in mixture()[index].kinds for index in range(50))


@pytest.mark.parametrize("negatives", [-0.1, 1.5, float("nan")])
def test_a_share_is_from_0_to_1(tmp_path, negatives):
    with pytest.raises(ValueError, match="negatives is a share of the sentences, from 0 to 1, not"):
        DatasetMixture([own_photos(tmp_path)], size=1, negatives=negatives)


def test_rows_of_the_hub_do_not_say_what_else_a_photo_shows(tmp_path):
    dataset = HubReferDataset.__new__(HubReferDataset)
    dataset.source, dataset.photos = "jxu124/refcoco", [(1, [])]
    with pytest.raises(ValueError, match=r"'jxu124/refcoco' does not say what else its photos show.*take the REFER"):
        DatasetMixture([dataset], size=1, negatives=0.5)


def test_real_photos(shared):
    folder = shared / "data" / "coco-mini"
    annotations = folder / "annotations" / "instances_train2017.json"
    dataset = CocoDataset(annotations, folder / "train2017")
    record = json.loads(annotations.read_text())
    names = {entry["id"]: entry["name"] for entry in record["categories"]}
    shown: dict[str, set[str]] = {image["file_name"]: set() for image in record["images"]}
    for entry in record["annotations"]:
        shown[f"{entry['image_id']:012}.jpg"].add(names[entry["category_id"]])
    kinds = []
    for sample in DatasetMixture([dataset], size=50, negatives=0.5):
        kinds += sample.kinds
        absent = {s for s, kind in zip(sample.sentences, sample.kinds, strict=True) if kind == "absent"}
        assert absent.isdisjoint(shown[sample.name])
    assert 0.35 < kinds.count("absent") / len(kinds) < 0.65


@pytest.mark.parametrize("split", ["val", "testA", "testB"])
def test_real_sentences(shared, split):
    dataset = open_dataset(f"refer:{shared / 'data/refcoco-mini'}:refcoco:unc", split)
    homes = {target.sentence: target.categories for i in range(len(dataset)) for target in dataset.targets(i)}
    photos = {dataset.photo_name(i): dataset.categories(i) for i in range(len(dataset))}
    for sample in DatasetMixture([dataset], size=50, negatives=0.5):
        for sentence, kind in zip(sample.sentences, sample.kinds, strict=True):
            assert kind != "absent" or homes[sentence].isdisjoint(photos[sample.name])
