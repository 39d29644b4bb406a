import json
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask

from evf_sam_cli import main
from modeling_evf_sam import EvfSamModel, EvfSamProcessor
from modeling_evf_sam.evaluation import evaluator
from modeling_evf_sam.evaluation.evaluator import evaluate_model
from modeling_evf_sam.inference.segmenting import segment
from modeling_evf_sam.rendered_scenes.dataset import RenderedScenes
from tests.miniatures import LEFT, MIDDLE, ref, write_lines, write_photo, write_refer


def test_json_holds_the_figures_of_evaluate_model(tiny_checkpoint, capsys):
    arguments = ["evaluate", "--model", str(tiny_checkpoint), "--split", "validation", "--size", "5", "--seed", "3"]
    assert main([*arguments, "--json", "-", "--batch-size", "2", "--dtype", "float32"]) == 0
    out, err = capsys.readouterr()
    record = json.loads(out)
    expected = evaluate_model(
        EvfSamModel.from_pretrained(tiny_checkpoint),
        EvfSamProcessor.from_pretrained(tiny_checkpoint),
        iter(RenderedScenes("validation", 5, sentences_per_scene=4, seed=3)),
    ).to_dict()
    assert {name: record[name] for name in expected} == expected
    assert (record["dataset"], record["split"], record["photos"], record["seed"]) == (
        "rendered_scenes",
        "validation",
        5,
        3,
    )
    for shown in ("gIoU", "cIoU", "P@0.5", "P@0.9", "all", *expected["by_kind"]):
        assert shown in err


def test_sentences_of_other_photos(tiny_checkpoint, tmp_path, capsys):
    for number, name in enumerate(("cat", "dog", "bus")):
        write_photo(tmp_path / f"{number}.jpg")
        write_lines(tmp_path, name, [{"image": f"{number}.jpg", "text": f"the {name}", "mask": LEFT}])
    lines = [json.loads((tmp_path / f"{name}.jsonl").read_text()) for name in ("cat", "dog", "bus")]
    write_lines(tmp_path, "test", lines)
    command = ["evaluate", "--model", str(tiny_checkpoint), "--dataset", f"jsonl:{tmp_path}", "--split", "test"]
    assert main([*command, "--absent", "1", "--dump", str(tmp_path / "dump"), "--json", "-"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["absent"], record["by_kind"].keys()) == (1.0, {"absent"})
    assert 0 <= record["no_target_accuracy"] <= 1
    dumped = [json.loads(line) for line in (tmp_path / "dump" / "sentences.jsonl").read_text().splitlines()]
    assert all(one["sentence"] != line["text"] for one, line in zip(dumped, lines, strict=True))


@pytest.mark.parametrize("option", ["--size", "--limit"])
def test_a_part_of_a_split_is_told_from_the_whole(option, tiny_checkpoint, tmp_path, capsys):
    for number in range(3):
        write_photo(tmp_path / f"{number}.jpg")
    write_lines(tmp_path, "test", [{"image": f"{number}.jpg", "text": "it", "mask": LEFT} for number in range(3)])
    photos = ["evaluate", "--model", str(tiny_checkpoint), "--dataset", f"jsonl:{tmp_path}", "--split", "test"]
    scenes = ["evaluate", "--model", str(tiny_checkpoint)]
    counts = {}
    for name, arguments in {"part": [*photos, option, "2"], "whole": photos, "scenes": [*scenes, option, "2"]}.items():
        assert main([*arguments, "--json", "-"]) == 0
        record = json.loads(capsys.readouterr().out)
        counts[name] = (record["photos"], record["of_photos"])
    assert counts == {"part": (2, 3), "whole": (3, 3), "scenes": (2, 500)}


def test_the_embedded_checkpoint_says_what_it_knows_beside_figures_of_photos(tmp_path, capsys):
    write_photo(tmp_path / "one.jpg")
    write_lines(tmp_path, "test", [{"image": "one.jpg", "text": "a cup", "mask": LEFT}])
    assert main(["evaluate", "--dataset", f"jsonl:{tmp_path}", "--split", "test"]) == 0
    assert "drawn shapes only" in capsys.readouterr().out
    assert main(["evaluate", "--size", "1"]) == 0
    assert "drawn shapes only" not in capsys.readouterr().out


def test_table_goes_to_standard_output_and_json_to_a_file(tiny_checkpoint, tmp_path, capsys):
    target = tmp_path / "figures.json"
    assert main(["evaluate", "--model", str(tiny_checkpoint), "--size", "2", "--json", str(target)]) == 0
    assert "gIoU" in capsys.readouterr().out
    assert json.loads(target.read_text())["photos"] == 2


def _count_alone(checkpoint, root, split):
    """cIoU and gIoU by pycocotools and numpy alone, as the paper counts: every sentence of every object."""
    refs = pickle.loads((root / "refcoco" / "refs(unc).p").read_bytes())
    instances = json.loads((root / "refcoco" / "instances.json").read_text())
    images = {image["id"]: image for image in instances["images"]}
    annotations = {entry["id"]: entry for entry in instances["annotations"]}
    model, processor = EvfSamModel.from_pretrained(checkpoint).eval(), EvfSamProcessor.from_pretrained(checkpoint)
    inters, unions = [], []
    for entry in (entry for entry in refs if entry["split"] == split):
        image = images[entry["image_id"]]
        photo = Image.open(root / "images/mscoco/images/train2014" / image["file_name"])
        runs = annotations[entry["ann_id"]]["segmentation"]
        if isinstance(runs[0], list):
            runs = coco_mask.frPyObjects(runs, image["height"], image["width"])
        target = coco_mask.decode(runs).sum(axis=2) > 0
        for sentence in entry["sentences"]:
            inputs = processor(images=photo, text=sentence["sent"].strip().lower())
            with torch.no_grad():
                outputs = model(**inputs)
            mask = processor.post_process_referring_segmentation(outputs, inputs)[0]["masks"][0].numpy()
            inters.append((mask & target).sum())
            unions.append((mask | target).sum())
    return {"ciou": sum(inters) / sum(unions), "giou": np.mean(np.divide(inters, unions)), "sentences": len(inters)}


def test_real_refcoco_equals_an_independent_count(tiny_checkpoint, shared, capsys):
    root = shared / "data" / "refcoco-mini"
    arguments = ["--dataset", f"refer:{root}:refcoco:unc", "--split", "testB", "--json", "-"]
    assert main(["evaluate", "--model", str(tiny_checkpoint), "--dtype", "float32", *arguments]) == 0
    record = json.loads(capsys.readouterr().out)
    expected = _count_alone(tiny_checkpoint, root, "testB")
    # Sentences of a photo are computed together, which rounds otherwise: a pixel or two, of logits next to zero.
    assert {name: record[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert 0 < record["ciou"] < 1
    assert (record["photos"], record["by_kind"]) == (3, {})


def _count_dump(folder, root, split):
    """The same figures from the files alone: predictions as they were dumped, targets as they were annotated."""
    refs = pickle.loads((root / "refcoco" / "refs(unc).p").read_bytes())
    instances = json.loads((root / "refcoco" / "instances.json").read_text())
    annotations = {entry["id"]: entry for entry in instances["annotations"]}
    wanted: dict[tuple, list] = {}  # (photo, sentence) -> targets; two objects may share a sentence
    files = {image["id"]: image["file_name"] for image in instances["images"]}
    for entry in (entry for entry in refs if entry["split"] == split):
        segmentation = annotations[entry["ann_id"]]["segmentation"]
        for sentence in entry["sentences"]:
            wanted.setdefault((files[entry["image_id"]], sentence["sent"].strip().lower()), []).append(segmentation)
    inters, unions = [], []
    for record in map(json.loads, (folder / "sentences.jsonl").read_text(encoding="utf-8").splitlines()):
        parts = wanted[record["photo"], record["sentence"]].pop(0)
        runs = coco_mask.frPyObjects(parts, *record["rle"]["size"]) if isinstance(parts[0], list) else parts
        target, predicted = coco_mask.merge(runs), record["rle"]
        inters.append(int(coco_mask.area(coco_mask.merge([target, predicted], intersect=True))))
        unions.append(int(coco_mask.area(coco_mask.merge([target, predicted]))))
        assert (record["intersection"], record["union"]) == (inters[-1], unions[-1])
        assert record["target"] == coco_mask.area(target)
    assert not any(wanted.values())
    return {"ciou": sum(inters) / sum(unions), "giou": np.mean(np.divide(inters, unions)), "sentences": len(inters)}


@pytest.mark.parametrize("split", ["val", "testA", "testB"])
def test_dumped_masks_give_the_figures(split, tiny_checkpoint, shared, tmp_path, capsys):
    root = shared / "data" / "refcoco-mini"
    arguments = ["--dataset", f"refer:{root}:refcoco:unc", "--split", split, "--json", "-"]
    assert main(["evaluate", "--model", str(tiny_checkpoint), *arguments, "--dump", str(tmp_path / "dump")]) == 0
    record = json.loads(capsys.readouterr().out)
    expected = _count_dump(tmp_path / "dump", root, split)
    # Sentences of a photo are computed together, which rounds otherwise: a pixel or two, of logits next to zero.
    assert {name: record[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    with Image.open(tmp_path / "dump" / "worst.png") as sheet:
        assert sheet.width == 4 * 308 + 8


def test_dump_without_a_picture(tiny_checkpoint, tmp_path):
    command = ["evaluate", "--model", str(tiny_checkpoint), "--size", "2", "--dump", str(tmp_path / "dump")]
    assert main([*command, "--worst", "0"]) == 0
    assert [file.name for file in (tmp_path / "dump").iterdir()] == ["sentences.jsonl"]


DRIVER = """
import json, sys
from torch import distributed
from evf_sam_cli import main
distributed.init_process_group("gloo")
print([main(arguments) for arguments in json.loads(sys.argv[1])], file=sys.stderr)
"""


def _records_and_scores(path):
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return records, [record.pop("score") for record in records]


def test_two_processes_find_what_one_finds(tiny_checkpoint, tmp_path):
    """Three photos, then one, so that a process has none; then a photo that the second process does not find."""
    for number in range(4):
        write_photo(tmp_path / f"{number}.jpg", grey=60 * number)
    lines = [
        {"image": f"{number}.jpg", "text": [f"cup {i}" for i in range(number + 1)], "mask": LEFT}
        for number in range(4)
    ]
    write_lines(tmp_path, "test", [*lines, {**lines[0], "mask": None}])
    write_lines(tmp_path, "faulty", [lines[0], {**lines[1], "image": "gone.jpg"}])
    (tmp_path / "driver.py").write_text(DRIVER)
    runs = []
    for size in (3, 1):
        arguments = ["evaluate", "--model", str(tiny_checkpoint), "--dataset", f"jsonl:{tmp_path}", "--split", "test"]
        runs.append([*arguments, "--size", str(size), "--batch-size", "1", "--json"])
        assert main([*runs[-1], str(tmp_path / f"alone{size}.json"), "--dump", str(tmp_path / f"alone{size}")]) == 0
    together = [
        [*run, str(tmp_path / f"both{size}.json"), "--dump", str(tmp_path / f"both{size}")]
        for size, run in zip((3, 1), runs, strict=True)
    ]
    together.append([*arguments[:-1], "faulty"])
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    result = subprocess.run(
        [*launch, str(tmp_path / "driver.py"), json.dumps(together)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert result.stderr.count("[0, 0, 2]") == 2, result.stderr
    assert "gone.jpg' does not exist" in result.stderr
    assert "another process of this evaluation has failed" in result.stderr
    for size in (3, 1):
        for name in (f"{size}.json", f"{size}/worst.png"):
            assert (tmp_path / f"both{name}").read_bytes() == (tmp_path / f"alone{name}").read_bytes()
        alone, both = (_records_and_scores(tmp_path / f"{way}{size}" / "sentences.jsonl") for way in ("alone", "both"))
        assert both[0] == alone[0]
        assert both[1] == pytest.approx(alone[1], abs=1e-5)


def test_table_of_the_paper(tiny_checkpoint, shared, capsys):
    root = shared / "data" / "refcoco-mini"
    arguments = ["--dataset", f"refer:{root}:refcoco:unc", "--split", "testB", "--table", "--json", "-"]
    assert main(["evaluate", "--model", str(tiny_checkpoint), *arguments]) == 0
    out, err = capsys.readouterr()
    ours = next(line for line in err.splitlines() if line.startswith("tiny"))
    assert ours.split()[1:] == [f"{100 * json.loads(out)['ciou']:.1f}"]
    (published,) = (line for line in err.splitlines() if line.startswith("EVF-SAM multitask"))
    column = published.index(" 80.2") + len(" 80.2")
    assert ours.rstrip().endswith(ours.split()[1]) and len(ours.rstrip()) == column
    assert "was scored on 20 of the 5095 sentences: not to be compared" in err


def test_legacy_overlap_and_size(tiny_checkpoint, tmp_path, capsys):
    refs = [ref(1, "val", ["both"], 0), ref(2, "val", ["again", "more"], 1)]
    annotations = [{"image_id": i, "segmentation": [LEFT, MIDDLE]} for i in (1, 2)]
    root = write_refer(tmp_path, "refcoco", refs, annotations)
    command = ["evaluate", "--model", str(tiny_checkpoint), "--dataset", f"refer:{root}:refcoco:unc"]
    records = []
    for more in ([], ["--legacy-overlap"], ["--size", "1"]):
        assert main([*command, "--split", "val", "--json", "-", *more]) == 0
        records.append(json.loads(capsys.readouterr().out))
    assert [record["sentences"] for record in records] == [3, 3, 1]
    assert records[0]["ciou"] != records[1]["ciou"]


def test_real_categories_are_scored_one_by_one(tiny_checkpoint, shared, capsys):
    arguments = ["--dataset", f"semantic:{shared / 'data' / 'clothing-mini'}", "--split", "validation", "--size", "2"]
    assert main(["evaluate", "--model", str(tiny_checkpoint), *arguments, "--json", "-"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert {"skin", "hair"} <= set(record["by_kind"])
    assert sum(figures["sentences"] for figures in record["by_kind"].values()) == record["sentences"]


@pytest.fixture
def own_data(tmp_path):
    """Arguments that score a photo with a sentence that names something and one that does not."""
    write_photo(tmp_path / "own" / "one.jpg")
    lines = [{"image": "one.jpg", "text": "a cup", "mask": LEFT}, {"image": "one.jpg", "text": "ox", "mask": None}]
    write_lines(tmp_path / "own", "test", lines)
    return ["--dataset", f"jsonl:{tmp_path / 'own'}", "--split", "test"]


def test_own_folder_with_sentences_that_name_nothing(own_data, tiny_checkpoint, tmp_path, capsys):
    assert main(["evaluate", "--model", str(tiny_checkpoint), *own_data, "--json", str(tmp_path / "r.json")]) == 0
    assert {"N-acc", "T-acc", "MCC", "P@0.9"} <= set(capsys.readouterr().out.split())
    assert json.loads((tmp_path / "r.json").read_text())["no_target_accuracy"] in (0.0, 1.0)


def test_what_the_model_estimates_is_shown_written_and_drawn(own_data, tiny_checkpoint, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib", reason="diagrams need the extra 'eval'")

    def find(model, processor, photos, sentences, **options):
        """The first half of each photo, with the same estimates."""
        for found in segment(model, processor, photos, sentences, **options):
            masks = np.zeros_like(found.masks)
            masks[:, :, :6] = True
            yield replace(found, masks=masks, presence=np.full(len(masks), 0.75), quality=np.full(len(masks), 0.5))

    monkeypatch.setattr(evaluator, "segment", lambda *arguments, **options: list(find(*arguments, **options)))
    checkpoint = shutil.copytree(tiny_checkpoint, tmp_path / "calibrated")
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, "quality": [[-10.0, 0.0], [10.0, 1.0]]}))
    files = {name: tmp_path / "new" / name for name in ("scores.json", "dump", "diagram.png")}
    options = ["--json", files["scores.json"], "--dump", files["dump"], "--reliability", files["diagram.png"]]
    assert main(["evaluate", "--model", str(checkpoint), *own_data, *map(str, options)]) == 0
    table = capsys.readouterr().out.splitlines()
    assert ["N-acc", "T-acc", "accuracy", "MCC", "ECE", "ECE"] == table[-2].split()[2:]
    assert ["all", "2", "0.0", "100.0", "50.0", "0.0", "25.0", "16.7"] == table[-1].split()
    record = json.loads(files["scores.json"].read_text())
    assert (record["presence_mcc"], record["presence_ece"]) == (0, 0.25)
    assert record["quality_ece"] == pytest.approx(4 / 6 - 0.5)
    lines = map(json.loads, (files["dump"] / "sentences.jsonl").read_text().splitlines())
    assert [(line["presence"], line["quality"]) for line in lines] == [(0.75, 0.5)] * 2
    with Image.open(files["diagram.png"]) as diagram:
        assert (diagram.format, diagram.width) == ("PNG", 1800)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "coco"], "dataset 'coco' is unknown: choose one of rendered_scenes, refer:ROOT:refcoco:unc"),
        (["--dataset", "jsonl:folder"], "dataset 'jsonl:folder' has splits: choose one"),
        (["--dataset", "refer:no:refcoco:unc", "--split", "val"], "refs(unc).p' does not exist"),
        (["--legacy-overlap"], "--legacy-overlap is for datasets refer:... and hub:... alone"),
        (["--worst", "3"], "--worst draws into the folder of --dump: give --dump DIR too"),
        (["--table"], "--table: 'rendered_scenes test' is not in Table 2: choose one of refcoco unc val, "),
        (["--dump", "{file}"], "cannot write into '{file}'"),
        (["--reliability", "{file}/d.png"], "cannot write into '{file}'"),
        (["--reliability", "d.png"], "--reliability: '{model}' estimates neither presence nor quality"),
        (["--split", "testA"], "choose one of train, validation, test"),
        (["--device", "abacus"], "device 'abacus' cannot be used"),
    ],
)
def test_bad_choices_name_the_good_ones(arguments, message, tiny_checkpoint, tmp_path, capsys):
    file = tmp_path / "file"
    file.touch()
    arguments = [argument.replace("{file}", str(file)) for argument in arguments]
    message = message.replace("{file}", str(file)).replace("{model}", str(tiny_checkpoint))
    assert main(["evaluate", "--model", str(tiny_checkpoint), *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err
