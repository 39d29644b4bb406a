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
        ("rendered_scenes", ["stages={}"], "no stages"),
        ("rendered_scenes", ["stages={text: {objective: text}}"], "the recipe lacks stages.text.steps"),
    ],
)
def test_bad_recipes(name, changes, message):
    with pytest.raises(ValueError, match=message):
        load_recipe(name, changes)


def test_a_file_that_is_no_recipe(tmp_path):
    path = tmp_path / "list.yaml"
    path.write_text("[1, 2]")
    with pytest.raises(ValueError, match="it must be a mapping"):
        load_recipe(str(path))
