from pathlib import Path

import pytest
import yaml
from hypothesis import strategies as st

from modeling_evf_sam.rendered_scenes.ablation import load_ablation
from modeling_evf_sam.rendered_scenes.curriculum.recipe import load_recipe
from modeling_evf_sam.training.recipe import load_finetune_recipe
from modeling_evf_sam.training.recipe_files import PACKAGE
from tests.fuzzing.damage import damaged
from tests.fuzzing.outcomes import fuzzed

LOADERS = {"ablation": load_ablation, "rendered_scenes": load_recipe}
SHIPPED = {path.stem: path.read_bytes() for path in sorted(Path(PACKAGE).glob("*/recipes/*.yaml"))}
NAMES = st.sampled_from(sorted(SHIPPED))
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers() | st.integers(10**300, 10**320),
    st.floats(),
    st.text(max_size=10),
    st.lists(st.integers() | st.text(max_size=3), max_size=3),
    st.dictionaries(st.text(max_size=3) | st.integers(), st.integers() | st.text(max_size=3), max_size=3),
)
# What YAML reads as something else than it looks like, and what grows.
SNIPPETS = st.sampled_from([
    "1: 2", "? [a]\n: b", "&a [*a]", "&a {x: 1}", "*a", "<<: {a: 1}", "!!python/object:os.system {}",
    "0x" + "f" * 9000, "1" * 5000, "2026-99-99", "1:99:99", ".nan", "-.inf", "1e999", "!!binary x", "!!set {a}",
    "!!timestamp x",
    "[" * 5000, "{a: " * 5000, "- " * 5000, "'", '"\\ud800"', "\t", "---\n---", "%YAML 9", "!!int x", "!!float []",
])  # fmt: skip


@pytest.fixture
def file(tmp_path):
    return tmp_path / "recipe.yaml"


def _load(name: str, source: str, changes: list[str]) -> None:
    LOADERS.get(name, load_finetune_recipe)(source, ["data.root=photos"] * (name not in LOADERS) + changes)


@fuzzed("recipes", name=NAMES, keys=st.lists(st.integers(0, 30), min_size=1, max_size=3), value=VALUES)
def test_a_value_of_any_kind_in_the_place_of_any_other(name, keys, value, file):
    place = recipe = yaml.safe_load(SHIPPED[name])
    for depth, key in enumerate(keys):
        entries = list(range(len(place))) if isinstance(place, list) else sorted(place)
        key = entries[key % len(entries)]
        inner = place[key]
        if depth + 1 == len(keys) or not isinstance(inner, list | dict) or not inner:
            place[key] = value
            break
        place = inner
    file.write_text(yaml.safe_dump(recipe))
    _load(name, str(file), [])


@fuzzed(
    "recipes", name=NAMES, content=st.sampled_from(sorted(SHIPPED.values())).flatmap(lambda c: damaged(st.just(c)))
)
def test_a_damaged_file(name, content, file):
    file.write_bytes(content)
    _load(name, str(file), [])


@fuzzed("recipes", name=NAMES, key=st.sampled_from(["seed", "steps", "stages", "data", "model", "a.b"]), text=SNIPPETS)
def test_snippets_of_yaml(name, key, text, file):
    file.write_text(text)
    for source, changes in ((str(file), []), (name, [f"{key}={text}"])):
        try:
            _load(name, source, changes)
        except (ValueError, OSError) as error:
            refused = error
    raise refused


@fuzzed("recipes", name=NAMES, change=st.text(max_size=30) | st.builds("{}={}".format, st.text(max_size=9), SNIPPETS))
def test_changes(name, change):
    _load(name, name, [change])
