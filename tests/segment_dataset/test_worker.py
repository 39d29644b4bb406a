import json

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask

from modeling_evf_sam import EvfSamModel, EvfSamProcessor
from modeling_evf_sam.segment_dataset.reading import Prompt

parquet = pytest.importorskip("pyarrow.parquet", reason="bulk runs need the extra 'bulk'")
from modeling_evf_sam.segment_dataset.results import PARTS, done_photos, keep_settings, write_part  # noqa: E402
from modeling_evf_sam.segment_dataset.worker import PartWriter  # noqa: E402

PROMPTS = [Prompt("the red circle"), Prompt("star", semantic=True)]


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for index in range(5):
        Image.fromarray(rng.integers(0, 255, (40, 50 + index, 3), np.uint8)).save(tmp_path / f"{index}.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "0.png").read_bytes()[:200])
    return tmp_path


@pytest.fixture
def writer(photos, tiny_checkpoint):
    output = photos / "out"
    output.mkdir()
    return PartWriter(
        model=str(tiny_checkpoint), device="cpu", dtype="float32", root=photos, output=output, batch_size=2
    )


def _rows(folder):
    return [row for part in sorted(folder.glob(PARTS)) for row in parquet.read_table(part).to_pylist()]


def test_a_damaged_exif_takes_one_photo_away_and_not_its_batch(writer, photos):
    Image.new("RGB", (40, 30)).save(photos / "exif.jpg", exif=b"Exif\0\0XX")

    (failure,) = writer.write([(name, PROMPTS) for name in ("0.png", "exif.jpg", "1.png")])

    assert failure["image"] == "exif.jpg"
    assert "damaged EXIF data" in failure["error"]
    assert [row["image"] for row in _rows(photos / "out")] == ["0.png", "0.png", "1.png", "1.png"]


def test_rows_are_what_the_model_says(writer, photos, tiny_checkpoint):
    names = [f"{index}.png" for index in range(5)]
    assert writer.write([(name, PROMPTS) for name in names]) == []
    rows = _rows(photos / "out")
    assert [(row["image"], row["sentence"]) for row in rows] == [(n, p.text) for n in names for p in PROMPTS]
    model, processor = EvfSamModel.from_pretrained(tiny_checkpoint), EvfSamProcessor.from_pretrained(tiny_checkpoint)
    for name, pair in zip(names, zip(rows[::2], rows[1::2], strict=True), strict=True):
        inputs = processor(
            images=[Image.open(photos / name)], text=[[p.text for p in PROMPTS]], semantic=[[False, True]]
        )
        with torch.no_grad():
            (expected,) = processor.post_process_referring_segmentation(model(**inputs), inputs)
        for row, mask, score, box in zip(pair, *expected.values(), strict=True):
            assert np.array_equal(coco_mask.decode(row["rle"]), mask)
            assert (row["area"], row["box"]) == (mask.sum(), box.tolist())
            assert row["score"] == pytest.approx(score.item(), abs=1e-5)
    assert [row["semantic"] for row in rows] == [False, True] * 5
    assert {row[name] for row in rows for name in ("quality", "presence", "present")} == {None}


def test_what_a_model_says_of_presence_has_columns(tmp_path):
    row = {"image": "a.png", "sentence": "a cat", "label": "cat", "instance": None, "semantic": False,
           "score": 0.5, "quality": 0.25, "presence": 0.125,
           "present": False, "box": [0.0] * 4, "area": 0, "rle": {"size": [4, 4], "counts": "`0"}}  # fmt: skip
    write_part(tmp_path, ["a.png"], [row])
    assert _rows(tmp_path) == [row]


def test_failures_are_told_and_the_others_done(writer, photos):
    long = [Prompt("word " * 200)]
    block = [("0.png", PROMPTS), ("1.png", long), ("broken.png", PROMPTS), ("no.png", PROMPTS), ("2.png", PROMPTS)]
    failures = {failure["image"]: failure["error"] for failure in writer.write(block)}
    assert list(failures) == ["1.png", "broken.png", "no.png"]
    for name, message in {"1.png": "tokens", "broken.png": "cannot be read", "no.png": "does not exist"}.items():
        assert message in failures[name]
    assert done_photos(photos / "out") == {"0.png", "2.png"}


def test_a_block_of_failures_leaves_no_part(writer, photos):
    assert len(writer.write([("no.png", PROMPTS)])) == 1
    assert list((photos / "out").iterdir()) == []
    assert done_photos(photos / "out") == set()


def test_the_same_block_again_replaces_its_part(writer, photos):
    for _ in range(2):
        writer.write([("0.png", PROMPTS)])
    assert len(_rows(photos / "out")) == 2


def test_a_folder_keeps_to_its_model_and_prompts(tmp_path):
    keep_settings(tmp_path, {"model": "a", "prompts": "1"})
    keep_settings(tmp_path, {"model": "a", "prompts": "1"})
    assert json.loads((tmp_path / "settings.json").read_text()) == {"model": "a", "prompts": "1"}
    with pytest.raises(ValueError, match=r"begun with other settings \(prompts\): choose another folder"):
        keep_settings(tmp_path, {"model": "a", "prompts": "2"})
