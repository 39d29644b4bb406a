import json

import pytest

from modeling_evf_sam.segment_video.partial import Partial

SETTINGS = {"film": "a", "sentences": ("star",)}
FRAMES = [{"frame": number, "objects": []} for number in range(4)]


def stopped(frames):
    yield from frames
    raise KeyboardInterrupt


def keep(partial, frames):
    with pytest.raises(KeyboardInterrupt):
        list(partial.keep(stopped(frames)))


@pytest.fixture
def file(tmp_path):
    keep(Partial(tmp_path / "out", SETTINGS), FRAMES[:2])
    (file,) = (tmp_path / "out").iterdir()
    return file


def test_a_run_goes_on(file):
    assert file.name.startswith(".")
    partial = Partial(file.parent, SETTINGS)
    assert partial.frames == FRAMES[:2]
    assert list(partial.keep(FRAMES[2:])) == FRAMES[2:]
    assert Partial(file.parent, SETTINGS).frames == partial.frames == FRAMES
    partial.remove()
    assert not file.exists()


def test_a_line_that_was_cut_short_does_not_count(file):
    file.write_bytes(file.read_bytes()[:-5])
    partial = Partial(file.parent, SETTINGS)
    assert partial.frames == FRAMES[:1]
    list(partial.keep(FRAMES[1:]))
    assert [json.loads(line) for line in file.read_text().splitlines()[1:]] == FRAMES


def test_a_run_that_begins_anew(file):
    partial = Partial(file.parent, SETTINGS)
    partial.forget()
    keep(partial, FRAMES[3:])
    assert Partial(file.parent, SETTINGS).frames == FRAMES[3:]


def test_other_settings_are_refused(file):
    with pytest.raises(ValueError, match=r"out' was begun with other settings \(sentences\): choose another folder"):
        Partial(file.parent, {**SETTINGS, "sentences": ["circle"]})


def test_a_run_that_fails_at_once_leaves_nothing(tmp_path):
    keep(Partial(tmp_path / "out", SETTINGS), [])
    assert not (tmp_path / "out").exists()
