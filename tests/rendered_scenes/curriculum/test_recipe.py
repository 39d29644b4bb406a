import pytest

from modeling_evf_sam.rendered_scenes.curriculum.recipe import load_recipe


def test_the_shipped_recipe_and_changes():
    recipe = load_recipe("rendered_scenes", ["stages.text.steps=7", "seed=3", "stages.text.kinds=[relation]"])
    assert (recipe.stages["text"].steps, recipe.seed, recipe.stages["text"].kinds) == (7, 3, ["relation"])
    assert list(recipe.stages) == [
        "embedding",
        "sam",
        "sam_again",
        "sight",
        "sight_again",
        "reading",
        "reading_again",
        "text",
        "text_again",
        "text_semantic",
        "presence",
        "presence_again",
        "presence_pairs",
        "whole",
        "scores",
    ]


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("no_such", [], "no recipe no_such: .*rendered_scenes"),
        ("missing.yaml", [], "no recipe missing.yaml"),
        ("rendered_scenes", ["seed"], "--set seed: write key=value"),
        ("rendered_scenes", ["stages.nothing.steps=1"], "the recipe has no nothing"),
        ("rendered_scenes", ["sead=1"], "unknown recipe keys: sead; known: .*seed"),
        ("rendered_scenes", ["stages.text.step=1"], "unknown recipe keys: stages.text.step"),
        ("rendered_scenes", ["stages={}"], "stages is empty: write at least one"),
        ("rendered_scenes", ["stages={text: {objective: text}}"], "the recipe lacks stages.text.steps"),
        (
            "rendered_scenes",
            ["stages.text.objective=masks"],
            "stages.text.objective is 'masks': write one of emb",
        ),
        ("rendered_scenes", ["stages.text.steps=0"], "stages.text.steps is 0: it must be at least 1"),
        ("rendered_scenes", ["stages.text.learning_rate=fast"], "stages.text.learning_rate is 'fast': write a number"),
        ("rendered_scenes", ["stages.text.kinds=7"], "kinds is 7: write a list, each text or a mapping or null"),
    ],
)
def test_bad_recipes(name, changes, message):
    with pytest.raises(ValueError, match=message):
        load_recipe(name, changes)
