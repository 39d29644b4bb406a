import sys

import pytest

from modeling_evf_sam.training import measure_sharding
from modeling_evf_sam.training.measure_sharding import WAYS, Sizes, main


def test_a_system_of_the_paper():
    sizes = Sizes.of("evf-effi-sam-b")
    assert sizes.low_rank < sizes.trained / 10 and sizes.layer < sizes.trained / 10
    taken = {way: sizes.bytes_per_process(way, 4) for way in WAYS}
    assert taken["data parallel"] == 4 * sizes.weights + 16 * sizes.trained
    assert taken["fsdp"] < taken["zero2"] < taken["data parallel"]
    assert sizes.bytes_per_process("fsdp", 8) < taken["fsdp"]
    assert sizes.bytes_per_process("lora", 8) == taken["lora"]


def test_the_table_has_every_system(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["measure_sharding", "--processes", "2"])
    monkeypatch.setattr(measure_sharding, "PRESETS", ["evf-effi-sam-b", "evf-sam-vit-b"])
    main()
    shown = capsys.readouterr().out
    assert "GB on each of 2" in shown
    assert [name for name in ("evf-effi-sam-b", "evf-sam-vit-b") if name not in shown] == []


@pytest.mark.slow
def test_what_two_processes_hold(shared, capsys):
    """As computed, but for gradients on their way and layers at work."""
    measure_sharding.measure(shared / "tokenizer" / "beit3")
    lines = capsys.readouterr().out.splitlines()
    print("\n".join(lines))
    for line in lines:
        first, second, computed = (float(word) for word in line.split() if word.replace(".", "").isdigit())
        assert max(first, second) < computed < 1.25 * min(first, second)
    assert [line.split(":")[0] for line in lines] == ["data parallel", "fsdp"]
