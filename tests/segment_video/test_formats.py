import json

import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from modeling_evf_sam.segment_video.formats import FORMATS, LINES, rows_of
from modeling_evf_sam.segment_video.frame_folder import FrameFolder
from tests.film_files import squares
from tests.miniatures import columns, run_lengths

SENTENCES = ["the star", "größer", "the star"]


def found(number, mask, box):
    return {"object": number, "score": 0.25, "area": int(mask.sum()), "box": box, "rle": run_lengths(mask)}


LEFT, NOTHING = (columns(0, 4), [0.0, 0.0, 4.0, 10.0]), (columns(0, 0), [0.0] * 4)
FRAMES = [  # as a walk in both directions yields them, with a second frame that is damaged
    {"frame": 2, "objects": [found(1, *LEFT), found(3, *NOTHING)]},
    {"frame": 3, "objects": [found(1, *NOTHING), found(2, *LEFT), found(3, *LEFT)]},
    {"frame": 2, "objects": [found(2, *NOTHING)]},
    {"frame": 0, "objects": [found(1, *LEFT), found(2, *NOTHING), found(3, *NOTHING)]},
]


@pytest.fixture
def film(tmp_path):
    folder = tmp_path / "film"
    folder.mkdir()
    for number, frame in enumerate(squares(4, (12, 10))):
        Image.fromarray(frame).save(folder / f"{number}.png")
    (folder / "1.png").write_bytes(b"damaged")
    return FrameFolder(folder, skip_damaged=True)


@pytest.fixture
def rows(film):
    return rows_of(film, SENTENCES, FRAMES)


def test_lines(film, rows, tmp_path):
    LINES.write(tmp_path / LINES.file, film, rows)
    lines = [json.loads(line) for line in (tmp_path / "masks.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(line["frame"], line["object"]) for line in lines] == [(f, o) for f in (0, 2, 3) for o in (1, 2, 3)]
    assert list(lines[0]) == ["frame", "time", "object", "sentence", "score", "area", "box", "rle"]
    assert (lines[-2]["sentence"], lines[-2]["time"], lines[-2]["area"]) == ("größer", 0.12, 40)
    assert coco_mask.decode(lines[-2]["rle"])[:, :4].all()


def test_youtube_vis(film, rows, tmp_path):
    file, write = FORMATS["coco"]
    write(tmp_path / file, film, rows)
    record = json.loads((tmp_path / "youtube_vis.json").read_text(encoding="utf-8"))
    names = ["film/0.png", "film/2.png", "film/3.png"]
    assert record["videos"] == [{"id": 1, "width": 12, "height": 10, "length": 3, "file_names": names}]
    assert record["categories"] == [{"id": 1, "name": "the star"}, {"id": 2, "name": "größer"}]
    assert [each["category_id"] for each in record["annotations"]] == [1, 2, 1]
    first = record["annotations"][0]
    assert first["bboxes"] == [[0, 0, 4, 10], [0, 0, 4, 10], None]
    assert first["areas"] == [40, 40, None]
    assert [bool(each) for each in first["segmentations"]] == [True, True, False]


def test_mot(film, rows, tmp_path):
    file, write = FORMATS["mot"]
    write(tmp_path / file, film, rows)
    rest = "0,0,4,10,0.2500,-1,-1,-1"
    assert (tmp_path / "mot.txt").read_text().splitlines() == [
        f"1,1,{rest}",
        f"3,1,{rest}",
        f"4,2,{rest}",
        f"4,3,{rest}",
    ]
