import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from evf_sam_cli import app, main

PROGRAM = """
import sys
from evf_sam_cli import app, main
for verb in [None, *(command.name for command in app.registered_commands)]:
    assert main([verb, "--help"] if verb else ["--help"]) == 0
    assert not {"torch", "transformers", "numpy"} & set(sys.modules), verb
"""


def test_help_needs_neither_torch_nor_transformers():
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    usages = [line for line in run.stdout.splitlines() if line.startswith("Usage: evf-sam")]
    shown = [usage.removeprefix("Usage: evf-sam").split()[0] for usage in usages]
    assert shown == ["[OPTIONS]", *(command.name for command in app.registered_commands)]


def test_the_version_is_told(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"evf-sam {version('evf-sam')}\n"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--version"], 0, "evf-sam "),
        (["segment", "missing.png", "the star"], 2, "photo 'missing.png' does not exist"),
        (["segment", "missing/*.jpg", "-s", "the star"], 2, "photo 'missing/*.jpg' does not exist"),
        (["compare", "missing.png", "the star", "--model", "rendered_scenes"], 2, "'missing.png' does not exist"),
        (["evaluate", "--worst", "3"], 2, "give --dump DIR too"),
        (["bench", "--prompts", "none"], 2, "must be numbers above 0"),
    ],
)
def test_the_script_answers_before_anything_slow_is_imported(arguments, status, message, tmp_path):
    script = shutil.which("evf-sam", path=str(Path(sys.executable).parent)) or shutil.which("evf-sam")
    if script is None:
        pytest.skip("the package is not installed")
    command = [sys.executable, "-X", "importtime", script, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == status
    assert message in run.stdout + run.stderr
    imported = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines()}
    assert "evf_sam_cli" in imported
    assert not {"torch", "transformers", "numpy", "modeling_evf_sam"} & imported


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing command"),
        (["segmnt"], "No such command 'segmnt'"),
        (["segment"], "Missing argument 'PHOTO"),
        (["segment", "photo.png"], "photo 'photo.png' does not exist"),
        (["evaluate", "--sized", "3"], "No such option: --sized"),
        (["evaluate", "--size", "0"], "'--size'"),
        (["evaluate", "--size", "many"], "'--size'"),
    ],
)
def test_wrong_usage_is_one_line(arguments, message, capsys):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("error: ")
    assert message in err
