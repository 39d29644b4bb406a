import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from evf_sam_cli import main
from modeling_evf_sam.rendered_scenes.ablation import load_ablation, run_ablation
from modeling_evf_sam.rendered_scenes.reproduction import collect, comparable, write_report
from modeling_evf_sam.training.freezing import PARTS
from tests.tiny_recipe import BUDGET, LAYERS, MULTIMODAL_VIEW, write_tiny_recipe

STAGES = ["embedding", "sam"]  # and one that no row starts from


@pytest.fixture(scope="module")
def changes(tmp_path_factory):
    """A step for each stage and row, with small encoders."""
    recipe = write_tiny_recipe(tmp_path_factory.mktemp("recipe") / "tiny.yaml", [*STAGES, "text"])
    return [
        f"recipe={recipe}",
        "sam_stage=sam",
        "seeds=[0]",
        "test_scenes=2",
        "rows.beit3-early-half.model.num_fusion_layers=1",
        f"encoders.clip.vision_config.image_size={MULTIMODAL_VIEW}",
        "encoders.clip.text_config.vocab_size=400",
        f"encoders.vilt.image_size={MULTIMODAL_VIEW}",
        "encoders.vilt.vocab_size=400",
        *(f"encoders.vilt.{name}={size}" for name, size in LAYERS.items()),
        *(
            f"encoders.clip.{part}_config.{name}={size}"
            for part in ("text", "vision")
            for name, size in LAYERS.items()
        ),
        *(f"{budget}.{name}={value}" for budget in ("pretraining", "budget") for name, value in BUDGET.items()),
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, changes):
    """Every row, trained a step with one seed."""
    folder = tmp_path_factory.mktemp("ablation")
    run_ablation(load_ablation(changes=changes), folder / "foundation", folder / "rows")
    return folder


def test_the_foundation_is_what_rows_start_from(finished):
    trained = {path.parent.name for path in (finished / "foundation").glob("*/weights.safetensors")}
    assert trained == set(STAGES)
    assert {path.parent.name for path in (finished / "rows").glob("*/weights.safetensors")} == {
        "pretraining_beit3",
        "pretraining_clip",
        "pretraining_vilt",
    }


@pytest.fixture
def in_this_process(monkeypatch):
    """Rows are trained in a thread, which has nothing to import."""
    monkeypatch.setattr("modeling_evf_sam.rendered_scenes.ablation.ProcessPoolExecutor", ThreadPoolExecutor)


def test_the_report_has_every_row_with_its_spread(finished, changes, in_this_process):
    ablation = load_ablation(changes=[*changes, "seeds=[0, 1]"])
    ablation.tables = ablation.tables[2:3]
    ablation.rows = {name: ablation.rows[name] for *_, name, _ in ablation.tables[0]["rows"]}
    run_ablation(ablation, finished / "foundation", finished / "rows")
    page = write_report(ablation, collect(ablation, finished / "rows"), "scores.json", "curves.png")
    assert len([line for line in page.splitlines() if line.count("±") == 2]) == len(ablation.rows) == 4
    assert page.count("Order, against the paper's: ") + page.count("The order is the paper's.") == 1


def test_what_is_there_is_not_run_again_unless_the_settings_differ(finished, changes):
    files = {path: path.stat().st_mtime_ns for path in (finished / "rows").glob("*/*/scores.json")}
    run_ablation(load_ablation(changes=changes), finished / "foundation", finished / "rows")
    assert {path: path.stat().st_mtime_ns for path in files} == files
    longer = load_ablation(changes=[*changes, "budget.steps=2"])
    with pytest.raises(ValueError, match="no table has two rows that are trained with all seeds"):
        comparable(longer, collect(longer, finished / "rows"))


def test_a_row_that_was_not_run_has_no_figures(finished, changes):
    ablation = load_ablation(changes=changes)
    scores = collect(ablation, finished / "rows")
    run = {name: scores[name] for name in ("beit3-early", "beit3-text", "clip-late")}
    page = write_report(ablation, run, "scores.json", "curves.png")
    assert [line.split(":")[0] for line in page.splitlines() if line.startswith("## ")] == ["## Table 1", "## Table 3"]
    assert "Not run: CLIP (text)." in page and "| BEIT-3 | late |" not in page


def test_the_command_writes_page_and_scores(finished, changes, tmp_path, capsys):
    folders = ["--foundation", str(finished / "foundation"), "--output", str(finished / "rows")]
    settings = [argument for change in changes for argument in ("--set", change)]
    assert main(["ablate", *folders, *settings, "--report", str(tmp_path / "docs" / "page.md")]) == 0
    scores = json.loads((tmp_path / "docs" / "page.json").read_text())
    assert set(scores) == set(load_ablation().rows)
    page = (tmp_path / "docs" / "page.md").read_text()
    assert "page.json" in page and "](page.png)" in page
    assert Image.open(tmp_path / "docs" / "page.png").width > 1000
    assert main(["ablate", *folders, *settings, "--row", "nonsense"]) == 2
    assert "no rows nonsense: choose from beit3-early" in capsys.readouterr().err


@pytest.mark.parametrize("name", load_ablation().rows)
def test_a_row_trains_its_parts_and_no_others(finished, name):
    row = load_ablation().rows[name]
    assert "projector" in row.train  # fresh in every row
    trained = load_file(finished / "rows" / name / "seed_0" / "weights.safetensors")
    places = {part: f"model.{PARTS[part]}." for part in row.train}
    assert {part for part, place in places.items() if any(key.startswith(place) for key in trained)} == set(row.train)
    assert all(key.startswith(tuple(places.values())) for key in trained)


@pytest.mark.parametrize("name", ["beit3-text", "clip-text", "vilt-late"])
def test_rows_start_from_the_pretrained_encoder(finished, changes, in_this_process, name):
    """A row trained at a rate of zero keeps every tensor of the encoder that it has."""
    folder = finished / f"still-{name}"
    shutil.copytree(finished / "rows", folder, ignore=shutil.ignore_patterns("seed_*"))
    ablation = load_ablation(changes=[*changes, "budget.learning_rate=0"])
    run_ablation(ablation, finished / "foundation", folder, names=[name])
    start = load_file(folder / f"pretraining_{ablation.rows[name].encoder}" / "weights.safetensors")
    kept = load_file(folder / name / "seed_0" / "weights.safetensors")
    own = {key: value for key, value in kept.items() if key.startswith("model.multimodal_encoder.")}
    tower = "" if name != "clip-text" else "text_model."
    same = [torch.equal(value, start[key.replace("encoder.", f"encoder.{tower}", 1)]) for key, value in own.items()]
    assert len(same) > 20 and all(same)


def test_rows_start_from_the_foundation(finished, changes, in_this_process):
    """A row that trains the mask decoder alone, at a rate of zero, keeps what it started from."""
    folder = finished / "frozen"
    ablation = load_ablation(changes=[*changes, "budget.learning_rate=0"])
    run_ablation(ablation, finished / "foundation", folder, names=["train-decoder"])
    start = load_file(finished / "foundation" / "sam" / "weights.safetensors")
    kept = load_file(folder / "train-decoder" / "seed_0" / "weights.safetensors")
    decoder = [key for key in kept if key.startswith("model.sam.mask_decoder.")]
    assert decoder and all(torch.equal(kept[key], start[key]) for key in decoder)


def test_unknown_keys():
    with pytest.raises(ValueError, match=r"unknown recipe keys: budget.step"):
        load_ablation(changes=["budget.step=1"])
    with pytest.raises(ValueError, match=r"unknown recipe keys: rows.beit3-text.parts"):
        load_ablation(changes=["rows.beit3-text.parts=[projector]"])


def test_the_shipped_page_follows_from_its_scores():
    folder = Path(__file__).parents[2] / "docs"
    scores = json.loads((folder / "reproduction.json").read_text())
    page = write_report(load_ablation(), scores, "reproduction.json", "reproduction.png")
    assert page == (folder / "reproduction.md").read_text()
