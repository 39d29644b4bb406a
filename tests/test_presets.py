import pytest
import torch

from modeling_evf_sam import EvfSamModel
from modeling_evf_sam.presets import PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_the_size_of_the_paper(name):
    with torch.device("meta"):
        model = EvfSamModel.from_preset(name)
    fourier = model.sam.shared_image_embedding.positional_embedding  # a parameter here, a buffer in the original
    assert sum(parameter.numel() for parameter in model.parameters()) - fourier.numel() == 1_315_105_072
    assert model.config.sam_config.mask_decoder_config.layer_norm_eps == 1e-5
    assert model.config.view_size == 1024


def test_unknown_preset():
    with pytest.raises(ValueError, match="no preset 'evf-sam3': choose one of evf-sam"):
        EvfSamModel.from_preset("evf-sam3")
