import json

import numpy as np
import pytest
from PIL import Image

parquet = pytest.importorskip("pyarrow.parquet", reason="bulk runs need the extra 'bulk'")
from modeling_evf_sam.segment_dataset import on_ray  # noqa: E402
from modeling_evf_sam.segment_dataset.reading import read_job  # noqa: E402
from modeling_evf_sam.segment_dataset.results import done_photos  # noqa: E402

NAMES = [f"{index}.png" for index in range(6)]


@pytest.fixture
def place(tmp_path):
    """Six photos, of which one is broken, and two sentences."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "out").mkdir()
    rng = np.random.default_rng(0)
    for name in NAMES:
        Image.fromarray(rng.integers(0, 255, (40, 50, 3), np.uint8)).save(tmp_path / "photos" / name)
    (tmp_path / "photos" / NAMES[1]).write_bytes(b"broken")
    (tmp_path / "sentences.txt").write_text("the red circle\nstar")
    return tmp_path


@pytest.fixture
def segment(place, tiny_checkpoint, monkeypatch):
    """Runs the blocks in this process, and gives the summary."""

    def in_turns(blocks, settings, *, use_gpu, workers):
        worker = on_ray.Worker(**settings, threads=1)
        for block in blocks:
            yield {name: values[0] for name, values in worker(block).items()}

    monkeypatch.setattr(on_ray, "_run_on_ray", in_turns)

    def segment(prompts="sentences.txt", **options):
        job = read_job(str(place / "photos"), place / prompts)
        options = {"model": str(tiny_checkpoint), "device": "cpu", "batch_size": 2, "part_size": 2, **options}
        return on_ray.segment_dataset(job, place / "out", **options)

    return segment


def _failures(place):
    lines = (place / "out" / "failures.jsonl").read_text().splitlines()
    return [json.loads(line)["image"] for line in lines]


def test_all_photos_in_parts_and_failures_in_a_list(segment, place):
    assert segment() == on_ray.Summary(done=5, failed=1)
    assert len(list((place / "out").glob("part-*.parquet"))) == 3
    assert done_photos(place / "out") == set(NAMES) - {NAMES[1]}
    assert _failures(place) == [NAMES[1]]


def test_a_stopped_run_goes_on_where_it_was(segment, place):
    def stop_after_two(counts, total):
        for number, count in enumerate(counts):
            if number == 2:
                raise KeyboardInterrupt
            yield count

    with pytest.raises(KeyboardInterrupt):
        segment(progress=stop_after_two, part_size=1)
    before = {part: part.stat().st_mtime_ns for part in (place / "out").glob("part-*.parquet")}
    assert 0 < len(before) < 5
    assert segment() == on_ray.Summary(done=5 - len(before), done_before=len(before), failed=1)
    assert {part: part.stat().st_mtime_ns for part in before} == before
    rows = [row for part in (place / "out").glob("part-*") for row in parquet.read_table(part)["image"].to_pylist()]
    assert sorted(rows) == sorted(2 * [name for name in NAMES if name != NAMES[1]])
    assert _failures(place) == [NAMES[1]]


def test_a_worker_without_a_model_ends_the_run(segment, place):
    with pytest.raises(ValueError, match="device 'abacus' cannot be used"):
        segment(device="abacus")
    assert not list((place / "out").iterdir())


def test_a_mended_photo_is_done_and_no_longer_listed(segment, place):
    segment()
    Image.new("RGB", (50, 40)).save(place / "photos" / NAMES[1])
    assert segment() == on_ray.Summary(done=1, done_before=5)
    assert not (place / "out" / "failures.jsonl").exists()
    assert segment() == on_ray.Summary(done_before=6)


def test_photos_without_a_sentence_are_counted(segment, place):
    lines = [{"image": NAMES[0], "text": ["star", "a star"]}, {"image": NAMES[2], "text": "star", "semantic": True}]
    (place / "own.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert segment("own.jsonl") == on_ray.Summary(done=2, without_sentence=4)
    rows = [row for part in (place / "out").glob("part-*") for row in parquet.read_table(part).to_pylist()]
    assert sorted((row["image"], row["sentence"], row["semantic"]) for row in rows) == [
        (NAMES[0], "a star", False),
        (NAMES[0], "star", False),
        (NAMES[2], "star", True),
    ]
