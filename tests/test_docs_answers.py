import json
import runpy
from pathlib import Path

import pytest

from modeling_evf_sam import DEFAULT_CHECKPOINT
from modeling_evf_sam.inference.instances import AGREEMENT

ANSWERS = Path(__file__).parents[1] / "docs" / "answers"


@pytest.fixture(scope="module")
def script() -> dict:
    return runpy.run_path(str(ANSWERS / "measure.py"))


def test_instances_are_worth_something(script):
    measured = script["measure_instances"](script["load"](str(DEFAULT_CHECKPOINT)), 30, AGREEMENT)
    assert measured["sentences"] > 10
    assert measured["panoptic quality"] > 0.6


def test_label_maps_are_worth_something(script):
    loaded = script["load"](str(DEFAULT_CHECKPOINT))
    measured = script["measure_label_maps"](loaded, 10, script["CATEGORIES"]["shapes"])
    assert measured["mean IoU"] > 0.6


def test_the_agreement_is_the_one_that_was_measured():
    assert f"SAM's mask at IoU {AGREEMENT}" in json.loads((ANSWERS / "measures.json").read_text())["instances"]
