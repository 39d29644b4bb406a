"""Each script, run as one runs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "conversion"


@pytest.mark.parametrize(
    ("script", "source", "written"),
    [
        ("convert_evf_sam.py", ["golden/original_hub_folder"], "model.safetensors"),
        ("convert_tokenizer.py", ["tokenizer/beit3/sentencepiece.bpe.model"], "tokenizer.json"),
        (
            "build_from_foundations.py",
            ["--sam", "golden/original_hub_folder", "--beit3", "golden/original_hub_folder"],
            None,
        ),
    ],
)
def test_a_script_is_its_verb(script, source, written, shared, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS.parent)}
    command = [sys.executable, SCRIPTS / script, *source, "--output", tmp_path / "result"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=shared, env=environment)
    if written is None:  # a whole release is no part
        assert (run.returncode, run.stderr.startswith("error: ")) == (2, True)
    else:
        assert run.returncode == 0, run.stderr
        assert (tmp_path / "result" / written).is_file()
