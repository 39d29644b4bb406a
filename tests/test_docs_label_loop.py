"""The script of docs/tutorials/label_loop.md, on real photos and a model that knows nothing."""

import importlib.util
import json
from pathlib import Path

import pytest

from modeling_evf_sam.data.jsonl_folder import JsonlDataset

SCRIPT = Path(__file__).parents[1] / "docs" / "tutorials" / "label_loop" / "label_loop.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("label_loop", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_photos_are_taken_apart_and_what_was_wrong_is_put_right(script, shared, tiny_checkpoint, tmp_path, capsys):
    pytest.importorskip("pyarrow", reason="reviewing needs the extra 'bulk'")
    from modeling_evf_sam.segment_dataset.reading import read_job
    from modeling_evf_sam.segment_dataset.results import keep_settings
    from modeling_evf_sam.segment_dataset.worker import PartWriter

    script.split(shared / "data" / "clothing-mini", tmp_path)
    job = read_job(str(tmp_path / "round"), tmp_path / "prompts.jsonl")
    assert len(job.names) == script.ROUND
    found = tmp_path / "found"
    found.mkdir()
    keep_settings(found, {"model": str(tiny_checkpoint)}, root=str(job.root))
    writer = PartWriter(model=str(tiny_checkpoint), device="cpu", root=job.root, output=found, batch_size=2)
    asked = [(name, job.prompts(name)) for name in job.names[:2]]
    assert writer.write(asked) == []

    script.review(tmp_path)

    count = sum(len(prompts) for _, prompts in asked)
    assert sum(json.loads(capsys.readouterr().out).values()) == count
    truth = [json.loads(line) for line in (tmp_path / "truth.jsonl").read_text().splitlines()]
    masks = {(Path(line["image"]).name, line["text"]): line["mask"]["counts"] for line in truth}
    lines = [json.loads(line) for line in (found / "reviewed" / "train.jsonl").read_text().splitlines()]
    assert len(lines) == count
    assert all(masks[Path(line["image"]).name, line["text"]] == line["mask"]["counts"] for line in lines)
    assert {len(JsonlDataset(tmp_path / "first", split)) for split in ("train", "test")} == {script.LABELLED, 40}
