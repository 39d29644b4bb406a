import pytest

from modeling_evf_sam.cli import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "no_such"], "no recipe no_such"),
        (["--recipe", "rendered_scenes", "--set", "stages.text.step=1"], "unknown recipe keys: stages.text.step"),
        (["--recipe", "rendered_scenes", "--stage", "video"], "no stage 'video'"),
        ([], "recipe"),
    ],
)
def test_bad_input_ends_with_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("error: ") and error.count("\n") == 1
    assert not list(tmp_path.iterdir())
