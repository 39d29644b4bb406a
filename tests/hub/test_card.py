import re
import shutil
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from PIL import Image
from transformers import pipeline

from modeling_evf_sam import DEFAULT_CHECKPOINT, EvfSamModel
from modeling_evf_sam.hub.card import checkpoint_card, usage
from modeling_evf_sam.hub.code import write_code

PHOTO = Path(__file__).parents[2] / "docs" / "sample.png"
RECORD = {
    "model": DEFAULT_CHECKPOINT,
    "dataset": "refer:/data/refer:refcoco:unc",
    "split": "testA",
    "giou": 0.81239,
    "ciou": 0.75,
    "sentences": 24,
    "by_kind": {"relation": {"giou": 0.5, "ciou": 0.25, "sentences": 3}},
}


def test_metadata_is_what_the_hub_reads():
    data = ModelCard(
        checkpoint_card(
            DEFAULT_CHECKPOINT,
            repository="someone/scenes",
            evaluations=[RECORD, {**RECORD, "split": "val", "giou": 0.9}],
            license="mit",
            base_models=["facebook/sam-vit-base"],
            datasets=["someone/photos"],
        )
    ).data
    assert (data.license, data.library_name, data.pipeline_tag) == ("mit", "transformers", "image-segmentation")
    assert (data.base_model, data.datasets) == (["facebook/sam-vit-base"], ["someone/photos"])
    assert data.metrics == ["giou", "ciou"]
    assert data.tags == ["referring-expression-segmentation", "evf-sam"]
    assert data.model_name == "scenes"
    figures = {
        (each.dataset_name, each.dataset_split, each.metric_type): each.metric_value for each in data.eval_results
    }
    assert figures == {
        ("refcoco unc", "testA", "giou"): 81.24,
        ("refcoco unc", "testA", "ciou"): 75.0,
        ("refcoco unc", "val", "giou"): 90.0,
        ("refcoco unc", "val", "ciou"): 75.0,
    }


def test_a_card_without_an_evaluation_has_no_figures():
    card = checkpoint_card(DEFAULT_CHECKPOINT)
    assert "Scores\n" not in card
    assert ModelCard(card).data.eval_results is None
    assert "model-index" not in card


def test_scores_are_a_table():
    card = checkpoint_card(DEFAULT_CHECKPOINT, evaluations=[RECORD])
    assert "| refcoco unc | testA | all | 24 | 81.2 | 75.0 |" in card
    assert "| refcoco unc | testA | relation | 3 | 50.0 | 25.0 |" in card
    assert "/data/refer" not in card


def test_sizes_are_those_of_the_model():
    card = checkpoint_card(DEFAULT_CHECKPOINT)
    model = EvfSamModel.from_pretrained(DEFAULT_CHECKPOINT)
    for part in (model.multimodal_encoder, model.projector, model.sam, model):
        assert f"| {sum(weight.numel() for weight in part.parameters()):,} |" in card
    assert "| multimodal encoder | BEIT-3 | 96 px |" in card
    assert "at most 62 tokens" in card
    assert "With `semantic=True` it looks for every pixel" in card


@pytest.mark.parametrize("repository", [None, DEFAULT_CHECKPOINT])
def test_examples_run(repository, tmp_path, monkeypatch, capsys):
    Image.open(PHOTO).convert("RGB").save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    examples = re.findall(
        r"```python\n(.*?)```", checkpoint_card(DEFAULT_CHECKPOINT, repository=repository), re.DOTALL
    )
    assert len(examples) == 2
    for example in examples:
        exec(compile(example, "card", "exec"), {})
    assert Image.open("the largest circle.png").size == Image.open(PHOTO).size
    assert "torch.Size([2, " in capsys.readouterr().out


def test_code_beside_the_weights_adds_a_tag_and_an_example(tmp_path, monkeypatch, capsys):
    for file in Path(DEFAULT_CHECKPOINT).glob("*.*"):
        shutil.copy(file, tmp_path)
    write_code(tmp_path)
    card = checkpoint_card(str(tmp_path))
    assert "custom_code" in ModelCard(card).data.tags
    example = re.findall(r"```python\n(.*?)```", card, re.DOTALL)[2]
    assert "trust_remote_code=True" in example
    Image.open(PHOTO).convert("RGB").save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "card", "exec"), {})
    assert "'label': 'the pink star'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "elsewhere/another"}, "an evaluation is about elsewhere/another, not about"),
        ({"giou": None}, "no giou in an evaluation: give what `evf-sam evaluate --json` wrote"),
    ],
)
def test_a_strange_evaluation_is_refused(change, message):
    record = {name: value for name, value in {**RECORD, **change}.items() if value is not None}
    with pytest.raises(ValueError, match=re.escape(message)):
        checkpoint_card(DEFAULT_CHECKPOINT, evaluations=[record])


def test_a_checkpoint_that_knows_drawn_shapes_alone_says_so(tiny_checkpoint):
    drawn, other = checkpoint_card(DEFAULT_CHECKPOINT), checkpoint_card(str(tiny_checkpoint))
    warning = "knows drawn shapes alone"
    assert (warning in drawn, warning in other) == (True, False)
    assert "--model\nevf-sam-multitask" in drawn or "--model evf-sam-multitask" in drawn
    assert ("zebra on the left" in drawn, "zebra on the left" in other) == (False, True)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"dataset": "rendered_scenes", "photos": 8}, True),
        ({"dataset": "rendered_scenes", "photos": 500}, False),
        ({"photos": 8, "of_photos": 750}, True),
        ({"photos": 750, "of_photos": 750}, False),
        ({}, False),
    ],
)
def test_a_score_of_a_part_is_no_score_of_the_split(changes, part):
    card = checkpoint_card(DEFAULT_CHECKPOINT, evaluations=[{**RECORD, **changes}])
    assert ("(8 photos alone: no score of the split)" in card) is part
    data = ModelCard(card).data
    assert (data.eval_results is None) is part and (data.metrics is None) is part


def test_usage_names_the_task_of_the_pipeline():
    (task,) = set(re.findall(r'pipeline\("(.+?)"', usage("x", with_code=True)))
    assert pipeline(task, model=DEFAULT_CHECKPOINT).task == task
