import pytest

from modeling_evf_sam.training.recipe import load_finetune_recipe

SHIPPED = ["refcoco", "multitask", "finetune_own_data", "lora", "presence"]


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_recipes_need_nothing_but_a_root(name):
    with pytest.raises(ValueError, match=r"needs data.root: add --set data.root=DIR"):
        load_finetune_recipe(name)
    recipe = load_finetune_recipe(name, ["data.root=photos"])
    assert recipe.data.datasets[0].name.split(":")[1].startswith("photos")
    assert recipe.micro_batches(processes=4) == recipe.batch_size // recipe.per_device_batch_size // 4


def test_the_papers_numbers():
    recipe = load_finetune_recipe("refcoco", ["data.root=refer_seg"])
    assert (recipe.steps, recipe.batch_size, recipe.learning_rate, recipe.warmup_steps) == (15_000, 128, 1e-4, 100)
    assert (recipe.betas, recipe.weight_decay, recipe.max_grad_norm) == ([0.9, 0.95], 0.0, 1.0)
    assert recipe.trained_parts == ["multimodal_encoder", "projector", "no_mask_embedding", "mask_decoder"]
    assert recipe.micro_batches(processes=4) == 2  # 16 photos on each of 4 GPUs, accumulated twice
    assert not recipe.data.include_held_out and recipe.data.sentences_per_photo == 3


def test_numbers_as_people_write_them(write_recipe):
    recipe = load_finetune_recipe(write_recipe(), ["learning_rate=1e-4", "betas=[0, 9e-1]", "lora={rank: 4}"])
    assert (recipe.learning_rate, recipe.betas, recipe.lora.rank) == (1e-4, [0.0, 0.9], 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("learning_rat=1", "unknown recipe keys: learning_rat; known: .*learning_rate"),
        ("data.rot=x", "unknown recipe keys: data.rot; known: .*root"),
        ("data.datasets=[{name: 'jsonl:x', ratio: 1}]", "unknown recipe keys: data.datasets.0.ratio; known: .*rate"),
        ("data.datasets=[{split: train}]", "the recipe lacks data.datasets.0.name"),
        ("data.datasets=[jsonl]", "data.datasets.0 is 'jsonl': write a mapping with name, split, rate"),
        ("data.datasets=jsonl", "data.datasets is 'jsonl': write a list, each a mapping"),
        ("data.validation={nam: x}", "unknown recipe keys: data.validation.nam"),
        ("data.bad_samples=ignore", "data.bad_samples is 'ignore': write one of stop, skip"),
        ("lora={r: 1}", "unknown recipe keys: lora.r; known: rank"),
        ("steps=many", "steps is 'many': write a whole number"),
        ("steps=0", "steps is 0: it must be at least 1"),
        ("steps=true", "steps is True: write a whole number"),
        ("learning_rate=fast", "learning_rate is 'fast': write a number"),
        ("precision=float16", "precision is 'float16': write one of auto, float32, bfloat16"),
        (
            "trained_parts=[sam]",
            r"trained_parts is \['sam'\]: write a list, each one of multimodal_encoder, pro",
        ),
        ("betas=[0.9]", r"betas is \[0.9\]: write two numbers"),
        ("deepspeed=2", "deepspeed is 2: write text or null"),
        ("betas=[0.9, fast]", r"betas is \[0.9, 'fast'\]: write a list, each a number"),
        ("data.datasets=[{name: 'jsonl:x', rate: often}]", "data.datasets.0.rate is 'often': write a number"),
        ("data.datasets=null", "data.datasets is None: write a list"),
        ("lora.rank=2", "the recipe has no lora"),
        ("lora=16", "lora is 16: write a mapping with rank, alpha, dropout"),
        ("model=3", "model is 3: write text or a mapping"),
        ("seed=[", "--set seed=\\[: the value is not YAML"),
    ],
)
def test_bad_recipes(write_recipe, change, message):
    with pytest.raises(ValueError, match=message):
        load_finetune_recipe(write_recipe(), [change])


def test_a_cache_needs_a_frozen_image_encoder(write_recipe):
    with pytest.raises(ValueError, match="take image_encoder out of trained_parts"):
        load_finetune_recipe(write_recipe(embedding_cache="cache", trained_parts=["image_encoder"]))


@pytest.mark.parametrize(("name", "value"), [("deepspeed", "zero2"), ("lora", {"rank": 2})])
def test_one_way_to_shard_at_a_time(write_recipe, name, value):
    with pytest.raises(ValueError, match=f"fsdp goes without {name}: take one of them out"):
        load_finetune_recipe(write_recipe(fsdp="full_shard", **{name: value}))


def test_a_batch_that_does_not_divide(write_recipe):
    recipe = load_finetune_recipe(write_recipe(batch_size=128, per_device_batch_size=16))
    with pytest.raises(ValueError, match="batch_size 128 is no multiple of per_device_batch_size 16 x 3 processes"):
        recipe.micro_batches(processes=3)
