import pytest

from modeling_evf_sam.rendered_scenes.curriculum.recipe import load_recipe
from modeling_evf_sam.training.recipe import load_finetune_recipe
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
        (b"1: 2", "key 1 is no text"),
        (b"a: &a [1]\nb: *a", "an alias is not read: write the value out"),
        (b"[" * 5000, "more than 20 levels"),
        (b"a: !!timestamp x", "is not YAML of settings"),
        (b"a: 2026-99-99", "is not YAML of settings"),
        (b"#" * 500_000, "has 500000 bytes"),
    ],
)
def test_a_file_that_is_no_recipe(tmp_path, content, message):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_recipe(str(path))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("refcoco", "seed=abc", "seed is 'abc': write a whole number"),
        ("refcoco", "seed=-1", "seed is -1: it must be 0 to 4294967295"),
        ("refcoco", "learning_rate=.nan", "learning_rate is nan: write a number"),
        ("refcoco", "learning_rate=1" + "0" * 400, "learning_rate is 1000.*: write a number"),
        ("refcoco", "seed=[", "--set seed=.: the value is not YAML"),
        ("rendered_scenes", "stages=abc", "stages is 'abc': write a mapping"),
        ("rendered_scenes", "tokenizer={a: 1}", "unknown recipe keys: tokenizer.a"),
        ("rendered_scenes", "seed=4294967296", "seed is 4294967296"),
    ],
)
def test_a_wrong_value_is_named_with_its_key(name, change, message):
    load = load_recipe if name == "rendered_scenes" else load_finetune_recipe
    with pytest.raises(ValueError, match=message):
        load(name, ["data.root=photos"] * (name == "refcoco") + [change])
