"""Data sets as other programs read them: every mask comes back."""

import json

import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from evf_sam_cli import data_sets
from modeling_evf_sam.annotations.annotation import AnnotatedPhoto, Annotation
from modeling_evf_sam.annotations.formats import FORMATS, write_data_set
from modeling_evf_sam.annotations.label_studio import CHANNELS, WORD_SIZES, brush
from modeling_evf_sam.data.segmentations import run_lengths

LABELS = ["cup", "tea & milk", "Löffel"]
SIZES = {"a.png": (20, 30), "sub/b.png": (40, 25), "empty.png": (8, 9)}


def masks(size):
    """One in a piece, one with a hole, and one in three parts, which lie apart."""
    solid, ring, parts = (np.zeros(size, dtype=bool) for _ in range(3))
    solid[2:6, 3:9] = True
    ring[8:15, 8:16] = True
    ring[10:12, 10:13] = False
    parts[16:18, 1:3] = parts[17:19, 10:12] = parts[16, 20] = True
    return solid, ring, parts


def annotation(label, mask, score):
    rows, columns = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
    box = [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]
    return Annotation(label=label, rle=run_lengths(mask), box=box, area=int(mask.sum()), score=score)


@pytest.fixture
def photos(tmp_path):
    found = []
    for name, size in SIZES.items():
        file = tmp_path / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size[::-1], "teal").save(file)
        drawn = [] if name == "empty.png" else zip(LABELS, masks(size), (0.75, 0.5, 0.25), strict=True)
        found.append(AnnotatedPhoto(file=file, name=name, size=size, annotations=[annotation(*one) for one in drawn]))
    return found


@pytest.fixture
def written(photos, tmp_path):
    def write(format):
        write_data_set(format, photos, LABELS, tmp_path / format)
        return tmp_path / format

    return write


def filled(mask):
    """Without its holes, as an outline has none."""
    from modeling_evf_sam.inference.polygons import outlines

    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(outlines(mask), *mask.shape))).astype(bool)


@pytest.mark.parametrize("format", ["coco", "coco-polygons"])
def test_coco_opens_in_pycocotools(written, photos, format, capsys):
    coco = COCO(written(format) / "annotations.json")
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == LABELS
    assert [image["file_name"] for image in coco.loadImgs(coco.getImgIds())] == list(SIZES)
    for image, photo in zip(coco.loadImgs(coco.getImgIds()), photos, strict=True):
        assert (image["height"], image["width"]) == photo.size
        found = coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))
        assert [entry["category_id"] for entry in found] == [1, 2, 3][: len(found)]
        for entry, expected in zip(found, photo.annotations, strict=True):
            mask = expected.mask if format == "coco" else filled(expected.mask)
            assert np.array_equal(coco.annToMask(entry), mask)
            assert entry["area"] == expected.area
            assert entry["bbox"][:2] == expected.box[:2]
            assert entry["bbox"][2:] == [expected.box[2] - expected.box[0], expected.box[3] - expected.box[1]]


def test_coco_opens_in_supervision(written, photos, tmp_path):
    supervision = pytest.importorskip("supervision", reason="needs supervision")
    found = supervision.DetectionDataset.from_coco(
        str(tmp_path / "photos"), str(written("coco") / "annotations.json"), force_masks=True
    )
    assert found.classes == LABELS
    for name in ("a.png", "sub/b.png"):
        detections = found.annotations[str(tmp_path / "photos" / name)]
        assert np.array_equal(detections.mask, masks(SIZES[name]))
        assert detections.class_id.tolist() == [0, 1, 2]


def test_yolo_has_an_outline_for_each_mask(written, photos):
    folder = written("yolo")
    data = yaml.safe_load((folder / "data.yaml").read_text())
    assert (data["names"], data["train"]) == (dict(enumerate(LABELS)), "images")
    for photo in photos:
        assert (folder / "images" / photo.name).read_bytes() == photo.file.read_bytes()
        lines = (folder / "labels" / photo.name).with_suffix(".txt").read_text().splitlines()
        height, width = photo.size
        for line, expected in zip(lines, photo.annotations, strict=True):
            label, *numbers = line.split()
            assert LABELS[int(label)] == expected.label
            corners = np.array(numbers, dtype=float).reshape(-1, 2) * (width, height)
            runs = coco_mask.frPyObjects([corners.round(3).ravel().tolist()], height, width)
            assert np.array_equal(coco_mask.decode(runs)[..., 0].astype(bool), filled(expected.mask))


def test_yolo_opens_in_supervision(written, photos, tmp_path):
    supervision = pytest.importorskip("supervision", reason="needs supervision")
    folder = written("yolo")
    found = supervision.DetectionDataset.from_yolo(
        str(folder / "images"), str(folder / "labels"), str(folder / "data.yaml"), force_masks=True
    )
    assert found.classes == LABELS
    detections = found.annotations[str(folder / "images" / "a.png")]
    assert detections.class_id.tolist() == [0, 1, 2]
    assert detections.xyxy[0].tolist() == pytest.approx(photos[0].annotations[0].box, abs=1)


def test_index_masks_have_the_number_of_the_surest_label(written):
    folder = written("masks")
    assert (folder / "labels.txt").read_text(encoding="utf-8").splitlines() == LABELS
    assert Image.open(folder / "legend.png").height > 20
    for name, size in SIZES.items():
        with Image.open((folder / "masks" / name).with_suffix(".png")) as picture:
            indices = np.asarray(picture)
        assert indices.shape == size
        for number, mask in enumerate(masks(size), start=1) if name != "empty.png" else ():
            assert (indices[mask] == number).all()


def test_label_studio_gets_tasks_and_an_interface(written):
    folder = written("labelstudio")
    tasks = json.loads((folder / "tasks.json").read_text(encoding="utf-8"))
    assert [task["data"]["image"] for task in tasks] == [f"/data/local-files/?d={name}" for name in SIZES]
    regions = tasks[1]["predictions"][0]["result"]
    assert [region["value"]["brushlabels"] for region in regions] == [[label] for label in LABELS]
    assert {(region["original_height"], region["original_width"]) for region in regions} == {SIZES["sub/b.png"]}
    assert '<Label value="tea &amp; milk"/>' in (folder / "config.xml").read_text(encoding="utf-8")
    for region, mask in zip(regions, masks(SIZES["sub/b.png"]), strict=True):
        assert np.array_equal(unpacked(region["value"]["rle"]).reshape(*mask.shape, 4)[..., 3] > 0, mask)


def unpacked(data):
    """Label Studio's run lengths, read by their description."""
    stream = "".join(f"{byte:08b}" for byte in data)
    place = 0

    def take(bits):
        nonlocal place
        place += bits
        return int(stream[place - bits : place], 2)

    count, width, sizes, values = take(32), take(5) + 1, [take(4) + 1 for _ in range(4)], []
    while len(values) < count:
        repeated, length = take(1), take(sizes[take(2)]) + 1
        values += [take(width)] * length if repeated else [take(width) for _ in range(length)]
    return np.array(values)


@pytest.mark.parametrize("side", [1, 130, 300])  # runs of each width, and longer than the widest
def test_runs_of_any_length(side):
    mask = np.zeros((side, side), dtype=bool)
    mask[side // 2 :] = True
    found = unpacked(brush(annotation("a", mask, 1.0)))
    assert np.array_equal(found, np.repeat(mask.ravel() * 255, CHANNELS))
    assert side < 300 or mask.sum() * CHANNELS > 1 << WORD_SIZES[-1]


def test_label_studio_reads_the_runs():
    brush_format = pytest.importorskip("label_studio_sdk.converter.brush", reason="needs label-studio-sdk")
    mask = masks((40, 25))[2]
    decoded = brush_format.decode_rle(brush(annotation("a", mask, 1.0)))
    assert np.array_equal(decoded.reshape(40, 25, 4)[..., 3] > 0, mask)


def test_the_command_line_offers_every_format():
    assert data_sets.FORMATS == tuple(FORMATS)


@pytest.mark.parametrize("format", FORMATS)
def test_another_run_takes_the_place_of_the_former(written, photos, format):
    folder = written(format)
    (folder / "of_before").touch()
    before = {file.relative_to(folder).as_posix() for file in folder.rglob("*")}
    after = {file.relative_to(folder).as_posix() for file in written(format).rglob("*")}
    assert after == before - {"of_before"}
