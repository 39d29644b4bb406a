import pytest

from evf_sam_cli import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "no_such"], "no recipe no_such: give a YAML file or one of ablation, finetune_own_data"),
        (["--recipe", "rendered_scenes", "--set", "stages.text.step=1"], "unknown recipe keys: stages.text.step"),
        (["--recipe", "rendered_scenes", "--stage", "video"], "no stage 'video'"),
        ([], "recipe"),
        (["--recipe", "refcoco"], "needs data.root: add --set data.root=DIR"),
        (["--recipe", "refcoco", "--set", "data.root=x", "--set", "data.sentence=1"], "unknown recipe keys: data.sen"),
        (["--recipe", "refcoco", "--set", "data.root=x", "--stage", "text"], "has no stages: leave --stage out"),
        (["--recipe", "finetune_own_data", "--set", "data.root=nowhere"], "'nowhere/train.jsonl' does not exist"),
    ],
)
def test_bad_input_ends_with_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("error: ") and error.count("\n") == 1
    assert not list(tmp_path.iterdir())
