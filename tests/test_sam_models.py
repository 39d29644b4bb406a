import pytest
import torch

from modeling_evf_sam import EvfSamModel
from tests.golden import SYSTEMS, golden_config


@pytest.mark.parametrize("name", SYSTEMS)
def test_fresh_fourier_matrices_are_those_of_sam_and_never_trained(name):
    sam = EvfSamModel(golden_config(**SYSTEMS[name])).sam
    fourier = sam.prompt_encoder.shared_embedding.positional_embedding
    assert 0.5 < fourier.std() < 1.5
    assert not fourier.requires_grad
    if name != "evf_efficient_sam":  # which has one
        assert torch.equal(fourier, sam.shared_image_embedding.positional_embedding)
