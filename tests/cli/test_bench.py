import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import find_spec
from io import StringIO
from types import SimpleNamespace

import pytest
from PIL import Image

from evf_sam_cli import main
from modeling_evf_sam.bench.stages import CALL, ENCODE, PRODUCT, STAGES, TRANSFORMERS


@pytest.fixture(scope="module")
def bench(tiny_checkpoint):
    fast = ["--prompts", "1", "--repeats", "1"]
    return lambda *arguments: main(["bench", "--model", str(tiny_checkpoint), *fast, *map(str, arguments)])


@pytest.fixture(scope="module")
def run(bench, tmp_path_factory):
    """The record of a whole run, what it said, and its chart."""
    chart = tmp_path_factory.mktemp("bench") / "new" / "chart.png"
    drawing = ["--chart", chart] if find_spec("matplotlib") else []
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        assert bench("--photos", 2, "--prompts", "3,1", "--repeats", 2, "--json", "-", *drawing) == 0
    return SimpleNamespace(record=json.loads(out.getvalue()), said=err.getvalue(), chart=chart)


def test_record_has_every_stage_for_every_number_of_sentences(run):
    entries = {(entry["what"], entry["sentences"]): entry for entry in run.record["measurements"]}
    assert {(stage, count) for stage in (*STAGES, CALL) if stage != ENCODE for count in (1, 3)} <= set(entries)
    for entry in entries.values():
        assert len(entry["seconds"]) == 2
        assert entry["what"] in run.said
    call = entries[CALL, 3]
    assert call["photos_per_second"] == pytest.approx(2 / call["median"])
    assert call["seconds_per_sentence"] == pytest.approx(call["median"] / 6)
    prompts = sum(entries[stage, 3]["flops"] for stage in ("multimodal encoder", "mask decoder"))
    assert call["flops"] == pytest.approx(entries[ENCODE, None]["flops"] + prompts, rel=0.01)
    assert run.record["setting"]["photos"] == 2


def test_ratios_follow_from_the_measurements(run):
    medians = {(entry["what"], entry["sentences"]): entry["median"] for entry in run.record["measurements"]}
    call = run.record["ratios"]["call"]["3"]
    assert call["time"] == pytest.approx(medians[CALL, 3] / medians[CALL, 1])
    separate = medians["a call for each sentence", 2] / 2
    assert call["separate_calls"] == pytest.approx(3 * separate / medians[CALL, 3])
    another = medians["another sentence", 1] / medians[CALL, 1]
    assert run.record["ratios"]["another_of_first_sentence"] == pytest.approx(another)
    assert f"3 sentences take {call['time']:.2f} x the time of 1" in " ".join(run.said.split())


def test_chart_is_a_picture(run):
    pytest.importorskip("matplotlib", reason="charts need the extra 'bench'")
    with Image.open(run.chart) as picture:
        assert picture.width > 800


def test_other_precisions_do_the_same_work(bench, capsys):
    baselines, work = {}, {}
    for dtype in ("float32", "bfloat16", "int8"):
        assert bench("--dtype", dtype, "--json", "-") == 0
        record = json.loads(capsys.readouterr().out)
        assert record["setting"]["dtype"] == dtype
        baselines[dtype] = set(record["ratios"]["transformers"])
        own = [entry for entry in record["measurements"] if entry["what"] not in (PRODUCT, TRANSFORMERS)]
        assert {entry["dtype"] for entry in own} == {dtype}
        work[dtype] = [(entry["what"], entry["flops"]) for entry in own]
    assert baselines == {"float32": {"float32"}, "bfloat16": {"float32", "bfloat16"}, "int8": {"float32"}}
    assert work["float32"] == work["int8"]
    for (what, flops), (same, whole) in zip(work["bfloat16"], work["float32"], strict=True):
        assert (what, flops) == (same, pytest.approx(whole, rel=0.1))  # its attention takes a little more in windows


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


def test_exported_graphs_stand_beside_the_model(bench, tiny_checkpoint, tmp_path, capsys):
    assert main(["export", str(tmp_path / "graphs"), "--model", str(tiny_checkpoint), "--format", "torch"]) == 0
    capsys.readouterr()
    assert bench("--exported", tmp_path / "graphs", "--prompts", "1,2", "--json", "-") == 0
    output = capsys.readouterr()
    found = [entry for entry in json.loads(output.out)["measurements"] if entry["what"] == f"{CALL}, torch"]
    assert [entry["sentences"] for entry in found] == [1, 2]
    assert f"{CALL}, torch, float32" in output.err


def test_a_folder_without_graphs_is_told(bench, tmp_path, capsys):
    assert bench("--exported", tmp_path) == 2
    assert f"'{tmp_path}' has no report.json: give a folder that evf-sam export wrote" in capsys.readouterr().err
