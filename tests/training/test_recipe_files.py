import pytest

from modeling_evf_sam.training.recipe_files import read_recipe

SHIPPED = ["ablation", "finetune_own_data", "lora", "multitask", "presence", "refcoco", "rendered_scenes"]


@pytest.mark.parametrize("name", SHIPPED)
def test_recipes_of_every_room_go_by_their_names(name):
    assert read_recipe(name, ["seed=5"])["seed"] == 5


@pytest.mark.parametrize("name", ["refcocoo", "missing.yaml"])
def test_an_unknown_name_lists_all(name):
    with pytest.raises(ValueError, match=f"no recipe {name}: give a YAML file or one of {', '.join(SHIPPED)}$"):
        read_recipe(name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1, 2]", "is not a recipe: it must be a mapping"),
        (b"seed: [", "is not YAML"),
        (b"\xff\xfe", "is not YAML"),
    ],
)
def test_a_file_that_is_no_recipe(tmp_path, content, message):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_recipe(str(path))
