import re
from pathlib import Path

import pytest
import torch

from modeling_evf_sam import EvfSamModel
from modeling_evf_sam.sam_families import SAM_FAMILIES, sam_family
from tests.golden import SYSTEMS, golden_config

PACKAGE = Path(__file__).parents[1] / "modeling_evf_sam"


def test_there_is_a_system_of_every_family():
    families = {golden_config(**changes).sam_config.model_type for changes in SYSTEMS.values()}
    assert families == set(SAM_FAMILIES)


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_image_embeddings_depend_on_the_encoder_s_weights_alone(name):
    config = golden_config(**SYSTEMS[name])
    model = EvfSamModel(config)
    model.requires_grad_(True)
    embeddings = model.get_image_embeddings(torch.randn(1, 3, config.view_size, config.view_size))
    levels = [embeddings] if isinstance(embeddings, torch.Tensor) else embeddings
    sum(level.square().sum() for level in levels).backward()
    used = {weight for weight, parameter in model.named_parameters() if parameter.grad is not None}
    prefixes = sam_family(config.sam_config).encoder_weights
    assert used == {weight for weight in used if weight.startswith(prefixes)}
    assert all(any(weight.startswith(prefix) for weight in used) for prefix in prefixes)


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_allowed_selection_makes_one_mask(name):
    config = golden_config(**SYSTEMS[name])
    for selection in sam_family(config.sam_config).mask_selections:
        model = EvfSamModel(golden_config(**{**SYSTEMS[name], "mask_selection": selection})).eval()
        with torch.no_grad():
            outputs = model(
                pixel_values=torch.randn(1, 3, config.view_size, config.view_size),
                multimodal_pixel_values=torch.randn(1, 3, 32, 32),
                input_ids=torch.tensor([[[0, 5, 2]]]),
            )
        assert outputs.pred_masks.shape[:3] == (1, 1, 1)


def test_no_other_module_asks_for_the_kind_of_a_sam():
    names = "|".join(SAM_FAMILIES)
    question = re.compile(rf"""[!=]= *["'](?:{names})["']|["'](?:{names})["'] *[!=]=""")
    asking = {file.name for file in PACKAGE.glob("*.py") if question.search(file.read_text(encoding="utf-8"))}
    assert asking == set()
