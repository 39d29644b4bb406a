import json
import sys

import pytest
from PIL import Image

from evf_sam_cli import main
from modeling_evf_sam.bench.stages import CALL, ENCODE, STAGES


@pytest.fixture(scope="module")
def bench(tiny_checkpoint):
    fast = ["--prompts", "3,1", "--repeats", "2"]
    return lambda *arguments: main(["bench", "--model", str(tiny_checkpoint), *fast, *map(str, arguments)])


def test_record_has_every_stage_for_every_number_of_sentences(bench, capsys):
    assert bench("--photos", 2, "--json", "-") == 0
    out, err = capsys.readouterr()
    record = json.loads(out)
    entries = {(entry["what"], entry["sentences"]): entry for entry in record["measurements"]}
    assert {(stage, count) for stage in (*STAGES, CALL) if stage != ENCODE for count in (1, 3)} <= set(entries)
    for entry in entries.values():
        assert len(entry["seconds"]) == 2
        assert entry["what"] in err
    call = entries[CALL, 3]
    assert call["photos_per_second"] == pytest.approx(2 / call["median"])
    assert call["seconds_per_sentence"] == pytest.approx(call["median"] / 6)
    prompts = sum(entries[stage, 3]["flops"] for stage in ("multimodal encoder", "mask decoder"))
    assert call["flops"] == pytest.approx(entries[ENCODE, None]["flops"] + prompts, rel=0.01)
    assert record["setting"]["photos"] == 2


def test_ratios_follow_from_the_measurements(bench, capsys):
    assert bench("--json", "-") == 0
    out, err = capsys.readouterr()
    record = json.loads(out)
    medians = {(entry["what"], entry["sentences"]): entry["median"] for entry in record["measurements"]}
    call = record["ratios"]["call"]["3"]
    assert call["time"] == pytest.approx(medians[CALL, 3] / medians[CALL, 1])
    separate = medians["a call for each sentence", 2] / 2
    assert call["separate_calls"] == pytest.approx(3 * separate / medians[CALL, 3])
    another = medians["another sentence", 1] / medians[CALL, 1]
    assert record["ratios"]["another_of_first_sentence"] == pytest.approx(another)
    assert f"3 sentences take {call['time']:.2f} x the time of 1" in " ".join(err.split())


def test_precision_and_both_baselines(bench, capsys):
    assert bench("--dtype", "bfloat16", "--json", "-") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["setting"]["dtype"] == "bfloat16"
    assert set(record["ratios"]["transformers"]) == {"float32", "bfloat16"}


def test_int8_does_the_same_work(bench, capsys):
    work = {}
    for dtype in ("float32", "int8"):
        assert bench("--dtype", dtype, "--json", "-") == 0
        record = json.loads(capsys.readouterr().out)
        assert record["setting"]["dtype"] == dtype
        assert set(record["ratios"]["transformers"]) == {"float32"}
        work[dtype] = [entry["flops"] for entry in record["measurements"] if entry["dtype"] == dtype]
    assert work["int8"] == work["float32"][: len(work["int8"])]  # all but transformers' encoder


def test_chart_is_a_picture(bench, tmp_path):
    pytest.importorskip("matplotlib", reason="charts need the extra 'bench'")
    assert bench("--chart", tmp_path / "new" / "chart.png") == 0
    with Image.open(tmp_path / "new" / "chart.png") as picture:
        assert picture.width > 800


def test_chart_without_matplotlib_names_the_extra(bench, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert bench("--chart", tmp_path / "chart.png") == 2
    assert "a chart needs matplotlib" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prompts", "1,two"], "--prompts '1,two' must be numbers above 0"),
        (["--prompts", "0"], "--prompts '0' must be numbers above 0"),
        (["--preset", "evf-sam"], "--model and --preset are two models"),
        (["--device", "abacus"], "device 'abacus' cannot be used"),
    ],
)
def test_bad_choices_are_one_line(bench, arguments, message, capsys):
    assert bench(*arguments) == 2
    err = capsys.readouterr().err.strip().splitlines()[-1]
    assert err.startswith("error: ")
    assert message in err
