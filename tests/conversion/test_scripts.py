"""Each script, run as one runs it, but in this process."""

import runpy
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
def test_a_script_is_its_verb(script, source, written, shared, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(shared)
    monkeypatch.setattr(sys, "argv", [script, *source, "--output", str(tmp_path / "result")])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPTS / script), run_name="__main__")
    if written is None:  # a whole release is no part
        assert (ended.value.code, capsys.readouterr().err[:7]) == (2, "error: ")
    else:
        assert ended.value.code == 0
        assert (tmp_path / "result" / written).is_file()
