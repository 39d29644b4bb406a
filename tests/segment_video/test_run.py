import json

import pytest
import torch
from PIL import Image

from modeling_evf_sam.inference.loading import load_model
from modeling_evf_sam.inference.video import EvfSamVideoPredictor
from modeling_evf_sam.segment_video.frame_folder import FrameFolder
from modeling_evf_sam.segment_video.run import segment_video
from modeling_evf_sam.segment_video.walking import Correction, Question
from tests.film_files import rendered_frames

COUNT = 8
SENTENCES = ["the blue star", "a square"]


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    folder = tmp_path_factory.mktemp("film")
    for number, frame in enumerate(rendered_frames(COUNT)):
        Image.fromarray(frame).save(folder / f"{number}.png")
    return FrameFolder(folder)


@pytest.fixture(scope="module", params=["tiny_checkpoint", "tiny_video_checkpoint"])
def model(request):
    """Without a memory, and with one."""
    return load_model(str(request.getfixturevalue(request.param)), "cpu", "float32", for_films=True)


QUESTIONS = {
    "forward": Question(sentences=SENTENCES),
    "from the middle": Question(sentences=SENTENCES, key_frame=4, redetect=2),
    "from the best": Question(sentences=SENTENCES, key_frame="best"),
    "corrected": Question(
        sentences=SENTENCES[:1],
        corrections=[Correction(frame=6, points=[[5, 5], [40, 40]], labels=[1, 0], box=[2, 2, 50, 50])],
    ),
}


def run(model, film, question, output, **options):
    options = {"settings": {"model": "tiny"}, "overlay": False, **options}
    return segment_video(EvfSamVideoPredictor(*model), film, question, output, **options)


def lines(folder):
    return [json.loads(line) for line in (folder / "masks.jsonl").read_text().splitlines()]


def stop_at(count, name):
    """A progress that is interrupted at the `count`-th frame of one kind of work."""

    def progress(items, kind, _):
        for number, item in enumerate(items, start=1):
            yield item
            if (kind, number) == (name, count):
                raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.parametrize("stop", [1, 6])
def test_a_stopped_run_ends_as_an_undisturbed_one(model, film, tmp_path, name, stop):
    question = QUESTIONS[name]
    run(model, film, question, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(model, film, question, tmp_path / "stopped", progress=stop_at(stop, "segmenting"))
    assert [file.name for file in (tmp_path / "stopped").iterdir()] == [".partial.jsonl"]
    summary = run(model, film, question, tmp_path / "stopped")
    assert lines(tmp_path / "stopped") == lines(tmp_path / "whole")
    assert [file.name for file in (tmp_path / "stopped").iterdir()] == ["masks.jsonl"]
    has_memory = EvfSamVideoPredictor(*model).has_memory
    assert summary.done_before == (0 if has_memory else stop)


def test_finished_frames_are_not_segmented_again(model, film, tmp_path):
    network, _ = model
    encoded = []
    hook = network.sam.vision_encoder.register_forward_hook(lambda *_: encoded.append(1))
    with pytest.raises(KeyboardInterrupt):
        run(model, film, QUESTIONS["forward"], tmp_path, overlay=True, progress=stop_at(2, "drawing"))
    assert len(encoded) == COUNT
    assert run(model, film, QUESTIONS["forward"], tmp_path).done_before == COUNT
    hook.remove()
    assert len(encoded) == COUNT


@torch.no_grad()
def test_rows_are_what_the_predictor_finds(model, film, tmp_path):
    predictor = EvfSamVideoPredictor(*model)
    for sentence in SENTENCES:
        predictor.add_sentence(sentence)
    expected = [
        (result.frame, number, int(mask.sum()), score)
        for result in predictor.propagate([film[index] for index in range(COUNT)])
        for number, mask, score in zip(result.object_ids, result.masks, result.scores.tolist(), strict=True)
    ]
    rows = run(model, film, QUESTIONS["forward"], tmp_path).rows
    assert [(row["frame"], row["object"], row["area"], row["score"]) for row in rows] == expected
    assert rows == lines(tmp_path)


def test_files_of_a_former_run_go(model, film, tmp_path):
    first = run(model, film, QUESTIONS["forward"], tmp_path, formats=["coco", "mot"])
    assert first.files == ["masks.jsonl", "youtube_vis.json", "mot.txt"]
    (tmp_path / "notes.txt").touch()
    run(model, film, QUESTIONS["corrected"], tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"masks.jsonl", "notes.txt"}


def test_a_run_with_other_settings_is_refused(model, film, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(model, film, QUESTIONS["forward"], tmp_path, progress=stop_at(1, "segmenting"))
    for question, settings in ((QUESTIONS["corrected"], "tiny"), (QUESTIONS["forward"], "other")):
        with pytest.raises(ValueError, match=r"was begun with other settings \((sentences, corrections|model)\)"):
            run(model, film, question, tmp_path, settings={"model": settings})


BAD = {
    "key frame": (Question(sentences=SENTENCES, key_frame=COUNT), r"has no frame 8 \(its last one is 7\)"),
    "corrected frame": (
        Question(sentences=SENTENCES, corrections=[Correction(frame=99, points=[[1, 1]], labels=[1])]),
        "has no frame 99",
    ),
    "point": (
        Question(sentences=SENTENCES, corrections=[Correction(frame=0, points=[[1, 999]], labels=[1])]),
        r"\(1, 999\) is outside the frames, which are \d+ x \d+",
    ),
    "box": (
        Question(sentences=SENTENCES, corrections=[Correction(frame=0, points=[], labels=[], box=[-1, 0, 5, 5])]),
        r"\(-1, 0\) is outside the frames",
    ),
}


@pytest.mark.parametrize(("question", "message"), BAD.values(), ids=BAD)
def test_questions_that_do_not_fit_the_film(film, question, message):
    with pytest.raises(ValueError, match=message):
        question.check(film)
