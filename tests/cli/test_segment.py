import inspect
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from safetensors.torch import load_file, save_file

from evf_sam_cli import main
from evf_sam_cli.segment import run
from modeling_evf_sam import EvfSamModel, EvfSamPredictor, EvfSamProcessor

SENTENCES = ["the red circle", "Star -- left of the BLUE square!"]


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    """A current folder with a photo in it."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (40, 60, 3), np.uint8)).save("photo.png")
    return tmp_path


@pytest.fixture
def segment(tiny_checkpoint):
    return lambda *arguments: main(["segment", "--model", str(tiny_checkpoint), *map(str, arguments)])


def test_the_command_takes_for_there_what_the_package_does():
    threshold = inspect.signature(run).parameters["present_threshold"].default
    assert threshold == inspect.signature(EvfSamPredictor.predict).parameters["present_threshold"].default


def _files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_writes_masks_overlay_and_json_that_agree(segment, workplace, tiny_checkpoint, capsys):
    assert segment("photo.png", *SENTENCES, "--dtype", "float32") == 0
    folder = workplace / "photo_masks"
    names = ["01_the_red_circle.png", "02_star_left_of_the_blue_square.png"]
    assert _files(folder) == [*names, "overlay.png", "result.json"]
    record = json.loads((folder / "result.json").read_text())
    assert (record["photo"], record["width"], record["height"]) == ("photo.png", 60, 40)
    assert [entry["file"] for entry in record["masks"]] == names
    assert [entry["sentence"] for entry in record["masks"]] == SENTENCES

    model = EvfSamModel.from_pretrained(tiny_checkpoint, dtype=torch.float32)
    processor = EvfSamProcessor.from_pretrained(tiny_checkpoint)
    inputs = processor(images=[Image.open("photo.png")], text=[SENTENCES])
    with torch.no_grad():
        (expected,) = processor.post_process_referring_segmentation(model(**inputs), inputs)
    for entry, mask, score, box in zip(record["masks"], *expected.values(), strict=True):
        assert entry["semantic"] is False
        assert entry["score"] == pytest.approx(score.item())
        assert entry["box"] == box.tolist()
        assert entry["area"] == mask.sum()
        assert np.array_equal(coco_mask.decode(entry["rle"]), mask)
        picture = Image.open(folder / entry["file"])
        assert picture.mode == "L"
        assert np.array_equal(np.asarray(picture), mask.numpy() * np.uint8(255))
    out = capsys.readouterr().out
    assert all(f"photo_masks/{name}" in out for name in [*names, "overlay.png", "result.json"])


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_other_precisions(segment, workplace, dtype):
    record = workplace / "photo_masks" / "result.json"
    assert segment("photo.png", *SENTENCES, "--dtype", "float32") == 0
    expected = json.loads(record.read_text())["masks"]
    assert segment("photo.png", *SENTENCES, "--dtype", dtype) == 0
    found = json.loads(record.read_text())["masks"]
    assert [entry["score"] for entry in found] != [entry["score"] for entry in expected]
    for entry, other in zip(found, expected, strict=True):
        assert entry["score"] == pytest.approx(other["score"], abs=0.05)


def test_encodes_the_photo_once(segment, monkeypatch):
    sizes, encode = [], EvfSamModel.get_image_embeddings
    monkeypatch.setattr(
        EvfSamModel,
        "get_image_embeddings",
        lambda self, pixels, *chunk: sizes.append(len(pixels)) or encode(self, pixels, *chunk),
    )
    assert segment("photo.png", "a circle", "a square", "a star") == 0
    assert sizes == [1]


def test_prompts_and_mode_reach_the_processor(segment, monkeypatch):
    seen, call = [], EvfSamProcessor.__call__
    monkeypatch.setattr(
        EvfSamProcessor, "__call__", lambda self, **options: seen.append(options) or call(self, **options)
    )
    prompts = ["--point", "1,2", "--not-point", "3,3", "--point", "30.5,4", "--box", "0,0,60,40"]
    assert segment("photo.png", "circle", "star", "--semantic", *prompts) == 0
    assert seen[0]["text"] == [["circle", "star"]]
    assert seen[0]["semantic"] is True
    assert seen[0]["input_points"] == [[[[1, 2], [30.5, 4], [3, 3]]] * 2]
    assert seen[0]["input_labels"] == [[[1, 1, 0]] * 2]
    assert seen[0]["input_boxes"] == [[[0, 0, 60, 40]] * 2]


@pytest.fixture
def photos(workplace):
    """Three more photos in a folder, two of one name, and a damaged one."""
    (workplace / "photos").mkdir()
    for name, side in (("a.png", 30), ("a.jpg", 32), ("b.png", 34)):
        Image.effect_noise((side, 20), 50).save(workplace / "photos" / name)
    return workplace / "photos"


@pytest.mark.parametrize(
    ("arguments", "sentences"),
    [
        (["photos/a.jpg", "photos/a.png", "photos/b.png", "star", "the circle"], ["star", "the circle"]),
        (["photos", "star"], ["star"]),
        (["photos/*", "-s", "star", "-s", "the circle"], ["star", "the circle"]),
        (["photos/*.png", "photos", "--", "photos/a.png", "-s"], ["photos/a.png", "-s"]),
        (["photos", "photos/a.png", "is it a star?"], ["is it a star?"]),
    ],
)
def test_several_photos(segment, workplace, photos, arguments, sentences, monkeypatch, capsys):
    loads, load = [], EvfSamModel.from_pretrained
    monkeypatch.setattr(EvfSamModel, "from_pretrained", lambda *a, **k: loads.append(a) or load(*a, **k))
    assert segment("--output", "found", "--json", "all.json", *arguments) == 0
    assert len(loads) == 1
    records = {path.parent.name: json.loads(path.read_text()) for path in workplace.glob("found/*/result.json")}
    assert set(records) == {"a", "a_2", "b"}
    assert {record["photo"] for record in records.values()} == {"photos/a.jpg", "photos/a.png", "photos/b.png"}
    for name, record in records.items():
        assert [mask["sentence"] for mask in record["masks"]] == sentences
        assert Image.open(workplace / "found" / name / record["masks"][0]["file"]).width == record["width"]
    written = json.loads((workplace / "all.json").read_text())["photos"]
    assert sorted(record["width"] for record in written) == [30, 32, 34]
    assert capsys.readouterr().out.count("overlay.png: ") == 3


def test_a_photo_that_cannot_be_read_does_not_stop_the_others(segment, workplace, photos, capsys):
    (photos / "a.jpg").write_text("hello")
    assert segment("photos", "star") == 2
    out, err = capsys.readouterr()
    assert err.startswith("error: 1 of 3 photos could not be read: photo 'photos/a.jpg' is not an image")
    assert err.count("\n") == 1
    assert "masks/b/overlay.png: star" in out
    assert len(list(workplace.glob("masks/*/01_star.png"))) == 2


def test_the_embedded_checkpoint_says_what_it_knows(workplace, tiny_checkpoint, capsys):
    for model, known in ((str(tiny_checkpoint), False), ("rendered_scenes", True)):
        assert main(["segment", "photo.png", "the star", "--model", model]) == 0
        record = json.loads((workplace / "photo_masks" / "result.json").read_text())
        assert record["model"] == model
        assert ("drawn shapes only" in record.get("warning", "")) == known
        assert ("drawn shapes only" in capsys.readouterr().out) == known


def test_json_on_standard_output_is_all_that_is_there(segment, workplace, capsys):
    assert segment("photo.png", "the star", "--json", "-", "--output", "there") == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == json.loads((workplace / "there" / "result.json").read_text())
    assert "01_the_star.png" in err


def test_a_second_run_replaces_the_pictures_of_the_first(segment, workplace):
    assert segment("photo.png", "the star", "a circle", "--attention") == 0
    (workplace / "photo_masks" / "03_mine.png").touch()
    Image.new("RGB", (8, 8)).save("photo.png")
    assert segment("photo.png", "the star", "--json", "copy.json") == 0
    assert _files(workplace / "photo_masks") == ["01_the_star.png", "03_mine.png", "overlay.png", "result.json"]
    assert Image.open("photo_masks/01_the_star.png").size == (8, 8)
    assert json.loads((workplace / "copy.json").read_text())["width"] == 8


def test_instances_and_a_label_map(segment, workplace, capsys):
    assert segment("photo.png", *SENTENCES, "--instances", "--label-map", "--semantic") == 0
    folder = workplace / "photo_masks"
    record = json.loads((folder / "result.json").read_text())
    labels = np.asarray(Image.open(folder / record["label_map"]))
    for number, (entry, other) in enumerate(zip(record["masks"], record["masks"][::-1], strict=True), start=1):
        mask, others = (coco_mask.decode(one["rle"]).astype(bool) for one in (entry, other))
        assert np.array_equal((labels == number) & ~others, mask & ~others)
        objects = np.asarray(Image.open(folder / entry["instances_file"]))
        assert objects.max() == len(entry["instances"])
    out = capsys.readouterr().out
    assert f"instances {len(record['masks'][0]['instances'])}" in out
    assert "photo_masks/labels.png, photo_masks/labels_legend.png" in out


def test_excluded_names_reach_every_sentence(segment, monkeypatch):
    seen, call = [], EvfSamProcessor.__call__
    monkeypatch.setattr(
        EvfSamProcessor, "__call__", lambda self, **options: seen.append(options) or call(self, **options)
    )
    assert segment("photo.png", *SENTENCES, "--exclude", "the sleeve", "--exclude", "the collar") == 0
    assert seen[0]["text"] == [[*SENTENCES, "the sleeve", "the collar"]]


def _exif(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return {"exif": exif}


@pytest.mark.parametrize(
    ("name", "image", "options", "size"),
    [
        ("deep.png", Image.fromarray(np.full((4, 6), 40_000, np.uint16)), {}, (6, 4)),
        ("print.jpg", Image.new("CMYK", (6, 4)), {}, (6, 4)),
        ("palette.png", Image.new("P", (6, 4)), {}, (6, 4)),
        ("alpha.png", Image.new("RGBA", (6, 4), (255, 0, 0, 0)), {}, (6, 4)),
        ("rotated.jpg", Image.new("RGB", (6, 4)), _exif(6), (4, 6)),
        ("thin.png", Image.new("RGB", (1, 300)), {}, (1, 300)),
        ("dot.png", Image.new("L", (1, 1)), {}, (1, 1)),
    ],
)
def test_unusual_photos_work(segment, workplace, name, image, options, size):
    image.save(name, **options)
    assert segment(name, "the star", "--output", "masks") == 0
    assert Image.open("masks/01_the_star.png").size == size


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.png", "star"], "'nothing.png' does not exist"),
        (["the star"], "photo 'the star' does not exist: give photos first, and then sentences"),
        (["photo.png"], "there is no sentence"),
        (["photo.png", "star", "text.png"], "'text.png' is a file behind the sentence 'star'"),
        (["photo.png", "nothing.jpg", "star"], "'nothing.jpg' does not exist"),
        (["empty", "star"], "folder 'empty' has no photo in it"),
        (["empty/*.png", "star"], "'empty/*.png' does not exist"),
        (["star", "-s", "star"], "photo 'star' does not exist"),
        (["--sentence", "star"], "Missing argument 'PHOTO"),
        (["photo.png", "star", "--not-point", "3"], "--not-point '3' must be 2 numbers"),
        (["text.png", "star"], "'text.png' is not an image"),
        (["cut.jpg", "star"], "'cut.jpg' cannot be read"),
        (["photo.png", ""], "no words"),
        (["photo.png", "star", "  "], "sentence 1 has no words"),
        (["photo.png", "star " * 100], "shorten it"),
        (["photo.png", "star", "--exclude", " "], "exclude: give a name"),
        (["photo.png", "star", "--point", "60.5,3"], "outside the photo"),
        (["photo.png", "star", "--point", "3"], "--point '3' must be 2 numbers"),
        (["photo.png", "star", "--point", "a,b"], "--point 'a,b' must be 2 numbers"),
        (["photo.png", "star", "--box", "1,2,3"], "--box '1,2,3' must be 4 numbers"),
        (["photo.png", "star", "--box", "20,2,10,9"], "x0 < x1"),
        (["photo.png", "star", "--box", "nan,2,10,9"], "nan"),
        (["photo.png", "star", "--explain", "--point", "3,3"], "--explain leaves out words, not points or boxes"),
        (["photo.png", "star", "--output", "photo.png"], "cannot write into 'photo.png'"),
        (["photo.png", "star", "--json", "photo.png/result.json"], "cannot write into 'photo.png'"),
        (["photo.png", "star", "--device", "abacus"], "device 'abacus' cannot be used"),
        (["photo.png", "star", "--dtype", "int4"], "dtype 'int4' is not available: use one of float32, bfloat16"),
        (["photo.png", "star", "--dtype", "int8", "--device", "meta"], "int8 is for a CPU, not for meta"),
        (["photo.png", "star", "--model", "./nowhere"], "model './nowhere' was not found"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(segment, workplace, arguments, message, capsys):
    (workplace / "text.png").write_text("hello")
    (workplace / "empty").mkdir()
    Image.effect_noise((64, 64), 50).save("cut.jpg")
    (workplace / "cut.jpg").write_bytes((workplace / "cut.jpg").read_bytes()[:800])
    before = _files(workplace)
    assert segment(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err
    assert _files(workplace) == before


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda tensors, name: tensors.pop(name), "missing"),
        (lambda tensors, name: tensors.update(more=torch.zeros(1)), "unknown"),
        (lambda tensors, name: tensors.update({name: torch.zeros(3, 3)}), "misshapen"),
        (lambda tensors, name: tensors[name].fill_(torch.nan), "not finite"),
    ],
)
def test_a_damaged_checkpoint_is_named(tiny_checkpoint, workplace, damage, message, capsys):
    shutil.copytree(tiny_checkpoint, workplace / "damaged")
    weights = workplace / "damaged" / "model.safetensors"
    tensors = load_file(weights)
    damage(tensors, "projector.fc1.weight")
    save_file(tensors, weights, metadata={"format": "pt"})
    assert main(["segment", "photo.png", "the star", "--model", "damaged"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: damaged ")
    assert err.count("\n") == 1
    assert message in err
    assert not (workplace / "photo_masks").exists()


def test_attention_is_drawn_when_asked_for(segment, workplace, capsys):
    assert segment("photo.png", *SENTENCES, "--attention") == 0
    assert "photo_masks/attention.png" in capsys.readouterr().out
    picture = Image.open(workplace / "photo_masks" / "attention.png")
    assert picture.width > 2 * 512  # map and mask, enlarged


def test_explanations_are_drawn_when_asked_for_and_replaced(segment, workplace, capsys):
    assert segment("photo.png", *SENTENCES, "--explain") == 0
    assert "photo_masks/explain_01.png, photo_masks/explain_02.png" in capsys.readouterr().out
    heights = [Image.open(workplace / "photo_masks" / f"explain_0{number}.png").height for number in (1, 2)]
    assert heights[0] < heights[1]  # three words, and seven
    assert segment("photo.png", SENTENCES[1], "--explain") == 0
    assert [name for name in _files(workplace / "photo_masks") if "explain" in name] == ["explain_01.png"]
    assert Image.open(workplace / "photo_masks" / "explain_01.png").height == heights[1]
    assert segment("photo.png", SENTENCES[1]) == 0
    assert not [name for name in _files(workplace / "photo_masks") if "explain" in name]


def test_data_sets_of_what_was_found(segment, workplace, capsys):
    shutil.copy("photo.png", "second.png")
    formats = ["--format", "coco", "--format", "yolo", "--instances", "--semantic", "--device", "cpu"]
    assert segment("photo.png", "second.png", "--sentence", "star", "--output", "found", *formats) == 0
    assert "found/coco: " in capsys.readouterr().out
    coco = COCO("found/coco/annotations.json")
    assert [image["file_name"] for image in coco.loadImgs(coco.getImgIds())] == ["photo.png", "second.png"]
    record = json.loads((workplace / "found" / "photo" / "result.json").read_text())
    areas = [instance["area"] for instance in record["masks"][0]["instances"]]
    assert areas
    assert sorted(entry["area"] for entry in coco.loadAnns(coco.getAnnIds(imgIds=1))) == sorted(areas)
    assert len((workplace / "found" / "yolo" / "labels" / "second.txt").read_text().splitlines()) == len(areas)
