import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from evf_sam_cli import main
from modeling_evf_sam.originals import tokenizer_conversion
from modeling_evf_sam.originals.tokenizer import read_sentencepiece


def run(*arguments: object) -> int:
    return main(["tokenizer", *map(str, arguments)])


def test_the_published_file(shared, workplace):
    source = shared / "tokenizer" / "beit3" / "sentencepiece.bpe.model"
    assert run(source, "--output", "plain", "--verify") == 0
    assert run(source, "--output", "semantic", "--semantic", "--verify") == 0
    plain, semantic = AutoTokenizer.from_pretrained("plain"), AutoTokenizer.from_pretrained("semantic")
    for case in json.loads((shared / "tokenizer" / "expected_ids.json").read_text()):
        assert plain(case["text"]).input_ids == case["input_ids"], case["text"]
        if "[semantic]" not in case["text"]:
            assert semantic(case["text"]).input_ids == case["input_ids"], case["text"]
    assert (len(plain), len(semantic)) == (64002, 64003)
    assert semantic.convert_tokens_to_ids("[semantic]") == 64002
    assert semantic("[semantic] hair").input_ids[:2] == [0, 64002]
    assert plain.model_max_length == semantic.model_max_length == 1022


def test_all_files_are_reported(beit3_spm, workplace, capsys):
    assert run(beit3_spm, "--output", "tokenizer", "--verify") == 0
    report = json.loads(Path("tokenizer/conversion_report.json").read_text())
    written = {path.name for path in Path("tokenizer").iterdir()}
    assert written == {row["file"] for row in report["results"]} | {"conversion_report.json"}
    assert written >= {"tokenizer.json", "tokenizer_config.json", "README.md"}
    assert report["verified"] is True
    assert report["sources"][0]["sha256"] in capsys.readouterr().out


def test_verify_finds_a_difference(beit3_spm, workplace, monkeypatch, capsys):
    monkeypatch.setattr(tokenizer_conversion, "PROBES", ("a", "b"))
    other = read_sentencepiece(beit3_spm, semantic=False)
    other.add_tokens(["b"])
    monkeypatch.setattr(tokenizer_conversion.AutoTokenizer, "from_pretrained", lambda folder: other)
    assert run(beit3_spm, "--output", "tokenizer", "--verify") == 2
    assert "reads 'b' otherwise" in capsys.readouterr().err
    assert not Path("tokenizer").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.spm", None, "'absent.spm' does not exist"),
        ("page.spm", "<html>", "'page.spm' is no sentencepiece model"),
        ("empty.spm", "", "'empty.spm' is no sentencepiece model"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(workplace, name, content, message, capsys):
    if content is not None:
        Path(name).write_text(content)
    assert run(name, "--output", "tokenizer") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error
    assert not Path("tokenizer").exists()
