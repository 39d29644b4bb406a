"""Data sets that are made of the parts say what the parts say."""

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

parquet = pytest.importorskip("pyarrow.parquet", reason="bulk runs need the extra 'bulk'")
from modeling_evf_sam.annotations.annotation import Least  # noqa: E402
from modeling_evf_sam.annotations.formats import write_data_set  # noqa: E402
from modeling_evf_sam.segment_dataset.annotated import AnnotatedParts  # noqa: E402
from modeling_evf_sam.segment_dataset.reading import Prompt, read_job  # noqa: E402
from modeling_evf_sam.segment_dataset.results import PARTS  # noqa: E402
from modeling_evf_sam.segment_dataset.worker import PartWriter  # noqa: E402

NAMES = [f"{index}.png" for index in range(5)]
LINES = [{"text": "the red circle", "label": "circle"}, {"text": "star", "semantic": True}]


@pytest.fixture
def job(tmp_path):
    rng = np.random.default_rng(0)
    for name in NAMES:
        Image.fromarray(rng.integers(0, 255, (40, 50, 3), np.uint8)).save(tmp_path / name)
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, LINES)))
    return read_job(str(tmp_path), tmp_path / "prompts.jsonl")


@pytest.fixture
def parts(job, tmp_path, tiny_checkpoint):
    """A function that segments all photos, in two parts, and gives the rows and the annotated photos."""

    def segment(least=Least(), **options):  # noqa: B008 - it never changes
        output = tmp_path / "out"
        output.mkdir()
        settings = {"model": str(tiny_checkpoint), "device": "cpu", "dtype": "float32", "batch_size": 2}
        writer = PartWriter(**settings, root=job.root, output=output, **options)
        for names in (NAMES[:3], NAMES[3:]):
            assert writer.write([(name, job.prompts(name)) for name in names]) == []
        rows = [row for part in sorted(output.glob(PARTS)) for row in parquet.read_table(part).to_pylist()]
        return rows, AnnotatedParts(output, job.root, least)

    return segment


def test_prompts_have_labels(job):
    assert job.shared == [Prompt("the red circle", label="circle"), Prompt("star", True)]
    assert job.labels == ["circle", "star"]


def test_photos_have_what_their_rows_say(parts, job):
    rows, photos = parts()
    assert {(row["sentence"], row["label"]) for row in rows} == {("the red circle", "circle"), ("star", "star")}
    assert sorted(photo.name for photo in photos) == NAMES == sorted(photo.name for photo in photos)
    for photo in photos:
        own = [row for row in rows if row["image"] == photo.name and row["area"]]
        assert photo.file == job.root / photo.name
        assert photo.size == (40, 50)
        expected = sorted((row["label"], row["area"], row["score"]) for row in own)
        assert sorted((one.label, one.area, one.score) for one in photo.annotations) == expected


def test_coco_has_the_masks_of_the_rows(parts, job, tmp_path, capsys):
    rows, photos = parts()
    write_data_set("coco", photos, job.labels, tmp_path / "coco")
    coco = COCO(tmp_path / "coco" / "annotations.json")
    names = {image["id"]: image["file_name"] for image in coco.loadImgs(coco.getImgIds())}
    found = [(names[one["image_id"]], one["segmentation"]["counts"]) for one in coco.loadAnns(coco.getAnnIds())]
    assert sorted(found) == sorted((row["image"], row["rle"]["counts"]) for row in rows if row["area"])


def test_objects_have_rows_of_their_own(parts):
    rows, photos = parts(instances=True)
    numbers = [row["instance"] for row in rows]
    assert 1 in numbers
    by_answer = {}
    for row in rows:
        by_answer.setdefault((row["image"], row["sentence"]), []).append(row["instance"])
    assert len(by_answer) == len(NAMES) * len(LINES)
    for counted in by_answer.values():
        assert counted in ([None], list(range(1, len(counted) + 1)))
    assert sum(len(photo.annotations) for photo in photos) <= sum(row["area"] > 0 for row in rows)


def test_small_masks_are_left_out(parts):
    rows, photos = parts(Least(area=600))
    areas = [one.area for photo in photos for one in photo.annotations]
    assert sorted(areas) == sorted(row["area"] for row in rows if row["area"] >= 600)
