import subprocess
import sys

import pytest

from evf_sam_cli import app, main


@pytest.mark.parametrize(
    "arguments",
    [["--help"], *([command.name, "--help"] for command in app.registered_commands)],
)
def test_help_needs_neither_torch_nor_transformers(arguments):
    program = (
        "import sys; sys.argv[0] = 'evf-sam'; from evf_sam_cli import app, main; "
        f"status = main({arguments}); print(sorted({{'torch', 'transformers', 'numpy'}} & set(sys.modules)), status)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("Usage: evf-sam")
    assert run.stdout.endswith("[] 0\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing command"),
        (["segmnt"], "No such command 'segmnt'"),
        (["segment"], "Missing argument 'PHOTO'"),
        (["segment", "photo.png"], "Missing argument 'SENTENCE"),
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
