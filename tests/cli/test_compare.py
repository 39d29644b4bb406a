import shutil

import numpy as np
import pytest
from PIL import Image

from evf_sam_cli import main

SENTENCES = ["the red circle", "the blue square"]


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    """A current folder with a photo in it."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)).save("photo.png")
    return tmp_path


def test_two_models_in_columns_and_sentences_in_rows(workplace, tiny_checkpoint, capsys):
    shutil.copytree(tiny_checkpoint, "other")
    models = ["--model", str(tiny_checkpoint), "--model", "other"]
    assert main(["compare", "photo.png", *SENTENCES, *models, "--output", "pictures/both.png"]) == 0
    assert capsys.readouterr().out == "pictures/both.png\n"
    picture = Image.open(workplace / "pictures" / "both.png")
    assert picture.width == 2 * 512 + 3 * 8  # a small photo is enlarged
    left, right = (np.asarray(picture)[-300:-8, x : x + 512] for x in (8, 528))  # of the last row
    assert np.array_equal(left, right)  # equal weights draw equal masks


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["photo.png", "it"], "Missing option '--model'"),
        (["photo.png", "it", "--model", "a", "--model", "a"], "a model is given twice"),
        (["photo.png", "it", "--model", "./nowhere"], "model './nowhere' was not found"),
        (["missing.png", "it", "--model", "a"], "missing.png"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(arguments, message, workplace, capsys):
    assert main(["compare", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1
    assert [path.name for path in workplace.iterdir()] == ["photo.png"]
