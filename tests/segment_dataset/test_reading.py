import json

import pytest

from modeling_evf_sam.segment_dataset.reading import Prompt, read_job
from tests.miniatures import write_photo

pyarrow = pytest.importorskip("pyarrow", reason="bulk runs need the extra 'bulk'")
parquet = pytest.importorskip("pyarrow.parquet")
NAMES = ["a.jpg", "sub/b.JPG"]
SHARED = [Prompt("the cup"), Prompt("sky")]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        write_photo(tmp_path / "photos" / name)
    (tmp_path / "photos" / "notes.txt").write_text("no photo")
    (tmp_path / "sentences.txt").write_text("the cup\n\n sky \n")
    (tmp_path / "photos" / "list.txt").write_text("\n".join([*NAMES, "missing.jpg", "a.jpg"]))
    table = pyarrow.table({"image": NAMES, "text": [["x", "y"], ["z"]], "semantic": [None, True]})
    parquet.write_table(table, tmp_path / "photos" / "own.parquet")
    return tmp_path


@pytest.mark.parametrize(
    ("images", "root", "names"),
    [
        ("photos", "photos", NAMES),
        ("photos/list.txt", "photos", ["a.jpg", "missing.jpg", "sub/b.JPG"]),
        ("photos/own.parquet", "photos", NAMES),
        ("photos/*.jpg", ".", ["photos/a.jpg"]),
        ("photos/**/*.[jJ]*", ".", ["photos/a.jpg", "photos/sub/b.JPG"]),
    ],
)
def test_photos_from_folder_list_parquet_and_glob(place, images, root, names):
    job = read_job(images, place / "sentences.txt")
    assert (job.root.resolve(), job.names) == ((place / root).resolve(), names)
    assert [job.prompts(name) for name in names] == [SHARED] * len(names)


def test_sentences_of_their_own(place):
    lines = [
        {"image": "a.jpg", "text": "x"},
        {"image": "elsewhere.jpg", "text": "z"},
        {"image": "a.jpg", "text": ["y", "w"], "semantic": True},
    ]
    (place / "own.jsonl").write_text("\n".join(map(json.dumps, lines)))
    job = read_job("photos", place / "own.jsonl")
    assert job.prompts("a.jpg") == [Prompt("x"), Prompt("y", True), Prompt("w", True)]
    assert job.prompts("sub/b.JPG") == []
    job = read_job("photos", place / "photos" / "own.parquet")
    assert [job.prompts(name) for name in NAMES] == [[Prompt("x"), Prompt("y")], [Prompt("z", True)]]


@pytest.mark.parametrize(
    ("images", "prompts", "error", "message"),
    [
        ("nowhere", "a cup", FileNotFoundError, "images 'nowhere' do not exist"),
        ("*.gif", "a cup", ValueError, r"'\*.gif' has no photos"),
        ("photos", "", ValueError, "has no sentence for a photo of 'photos', such as 'a.jpg'"),
        ("photos", "{", ValueError, "entry 1: not JSON"),
        ("photos", '["a.jpg"]', ValueError, "entry 1: .* names no photo"),
        ("photos", '{"image": "a.jpg"}', ValueError, "entry 1: text is None"),
        ("photos", '{"image": "a.jpg", "text": " "}', ValueError, "entry 1: text is"),
        ("photos", '{"image": "a.jpg", "text": "x", "semantic": "no"}', ValueError, "semantic is 'no'"),
        ("photos", '{"image": "b.jpg", "text": "x"}', ValueError, "has no sentence for a photo"),
        ("photos", '{"text": "x", "label": 3}', ValueError, "label is 3: write one line of text"),
        ("photos", '{"text": "x", "label": "a\\nb"}', ValueError, "label is .*: write one line of text"),
        ("photos", '{"text": "x"}\n{"image": "a.jpg", "text": "y"}', ValueError, "with and without an image"),
    ],
)
def test_mistakes_name_their_place(place, images, prompts, error, message):
    file = place / ("prompts.jsonl" if prompts.startswith(("{", "[")) else "prompts.txt")
    file.write_text(prompts)
    with pytest.raises(error, match=message):
        read_job(images, file)


def test_no_prompts(place):
    with pytest.raises(FileNotFoundError, match="do not exist"):
        read_job("photos", type(place)("no.txt"))
