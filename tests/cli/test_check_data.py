import os
import pickle

import pytest
from PIL import Image

from evf_sam_cli import main
from tests.miniatures import LEFT, ref, write_lines, write_photo, write_refer

CUP = {"image": "cup.jpg", "text": "the cup", "mask": LEFT}


@pytest.fixture
def folder(tmp_path):
    write_photo(tmp_path / "cup.jpg")
    return write_lines(tmp_path, "train", [CUP])


@pytest.mark.parametrize("prefix", ["", "jsonl:"])
def test_a_folder_without_faults(folder, prefix, capsys):
    assert main(["check-data", f"{prefix}{folder}"]) == 0
    assert capsys.readouterr().out == f"{prefix}{folder}: no faults\n"


def test_every_fault_of_every_split_is_listed(folder, capsys):
    write_lines(folder, "test", [{**CUP, "text": ""}, CUP, {**CUP, "mask": [1, 2, 3]}])
    write_lines(folder, "validation", [{**CUP, "image": "mug.jpg"}])
    assert main(["check-data", str(folder)]) == 2
    out, err = capsys.readouterr()
    assert [line.split(": ")[0] for line in out.splitlines()] == [
        f"{folder}/{place}" for place in ("test.jsonl:1", "test.jsonl:3", "validation.jsonl:1")
    ]
    assert err == f"error: {folder} has 3 faults: correct what is listed\n"
    assert main(["check-data", str(folder), "--split", "train"]) == 0


def test_sentences_that_mean_nothing_are_counted(folder, capsys):
    write_lines(folder, "test", [CUP, {**CUP, "text": ["a mug", "two cups"], "mask": None}])
    assert main(["check-data", str(folder)]) == 0
    counts = "test: 2 of 3 sentences mean nothing in their photo (mask null)"
    assert capsys.readouterr().out == f"{counts}\n{folder}: no faults\n"


def test_long_lists_are_cut(folder, capsys):
    write_lines(folder, "train", [{**CUP, "text": ""}] * 25)
    assert main(["check-data", str(folder)]) == 2
    out, err = capsys.readouterr()
    assert out.count("\n") == 21
    assert out.endswith("... and 5 more\n")
    assert "25 faults" in err


def test_public_layouts(tmp_path, capsys):
    refs = [ref(i, "val", ["the cup"], i) for i in (0, 1, 2)]
    annotations = [{"image_id": i, "segmentation": [LEFT]} for i in (0, 1, 2)]
    root = write_refer(tmp_path, "refcoco", refs, annotations)
    command = ["check-data", f"refer:{root}:refcoco:unc", "--split", "val"]
    assert main(command) == 0
    assert (
        "3 objects, 3 photos, 3 sentences; published: 3811 objects, 1500 photos, 10834 sentences"
        in capsys.readouterr().out
    )
    (root / "images/mscoco/images/train2014/COCO_train2014_000000000001.jpg").unlink()
    assert main(command) == 2
    assert "COCO_train2014_000000000001.jpg' does not exist" in capsys.readouterr().out


def test_rendered_scenes_have_no_files(capsys):
    assert main(["check-data", "rendered_scenes"]) == 0
    assert capsys.readouterr().out.startswith("rendered_scenes: no faults")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("\x1b[2Jcup\u202e.jpg", "'\\x1b[2Jcup\\u202e.jpg' is not the name of a file"),
        ("cup\u202e.jpg", "cup\\u202e.jpg' does not exist"),
    ],
)
def test_control_characters_are_shown_and_not_obeyed(folder, capsys, name, shown):
    write_lines(folder, "train", [{**CUP, "image": name}])
    assert main(["check-data", str(folder)]) == 2
    out = capsys.readouterr().out
    assert shown in out
    assert "\x1b" not in out and "\u202e" not in out


def test_a_damaged_exif_is_a_fault(folder, capsys):
    Image.new("RGB", (40, 30)).save(folder / "cup.jpg", exif=b"Exif\0\0XX")
    write_lines(folder, "train", [{**CUP, "mask": None}])
    assert main(["check-data", str(folder)]) == 2
    assert "cup.jpg' cannot be read (damaged EXIF data" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cup.jpg", "photo '{}' is no regular file"),
        ("cup.png", "mask '{}' is no regular file"),
        ("train.jsonl", "'{}' does not exist"),
    ],
)
def test_a_pipe_is_refused_and_not_waited_for(folder, name, message, capsys):
    write_lines(folder, "train", [{**CUP, "mask": "cup.png"}])
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    assert main(["check-data", str(folder), "--split", "train"]) == 2
    assert message.format(folder / name) in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone"], "dataset 'gone' is unknown: choose one of rendered_scenes, refer:ROOT"),
        (["jsonl:gone"], "'gone' holds no .jsonl file"),
        (["{folder}", "--split", "dev"], "dev.jsonl' does not exist: the splits in '{folder}' are train"),
    ],
)
def test_wrong_usage(folder, arguments, message, capsys):
    assert main(["check-data", *(argument.replace("{folder}", str(folder)) for argument in arguments)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message.replace("{folder}", str(folder)) in err


def test_help(capsys):
    assert main(["check-data", "--help"]) == 0
    assert "FOLDER|DATASET" in capsys.readouterr().out


def test_a_pipe_in_the_place_of_annotations_is_not_waited_for(tmp_path, capsys):
    (tmp_path / "refcoco").mkdir()
    for name in ("refs(unc).p", "instances.json"):
        (tmp_path / "refcoco" / "refs(unc).p").unlink(missing_ok=True)
        refs = [{"split": "val", "image_id": 1, "ann_id": 1, "sentences": [{"sent": "a cup"}]}]
        (tmp_path / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps(refs))
        (tmp_path / "refcoco" / name).unlink(missing_ok=True)
        os.mkfifo(tmp_path / "refcoco" / name)
        assert main(["check-data", f"refer:{tmp_path}:refcoco:unc", "--split", "val"]) == 2
        assert "is no regular file" in capsys.readouterr().err


def test_an_error_escapes_control_characters(capsys):
    assert main(["check-data", "jsonl:\x1b[2Jgone"]) == 2
    assert "'\\x1b[2Jgone' holds no .jsonl file" in capsys.readouterr().err
