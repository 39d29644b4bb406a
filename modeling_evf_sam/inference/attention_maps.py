"""Where BEIT-3 looks when it makes a prompt (paper, Fig. 5)."""

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor
from transformers import PreTrainedModel

from modeling_evf_sam.modeling_evf_sam import EvfSamModel


@torch.no_grad()
def attention_maps(model: EvfSamModel, inputs: Mapping[str, Tensor]) -> Tensor:
    """How much the [CLS] that becomes the prompt attends to each patch of the photo: last layer, heads summed.

    It is the sentence's [CLS] where the configuration's `prompt_feature` is "text_cls", otherwise the image's.

    Args:
        model: one whose BEIT-3 reads photo and sentence together.
        inputs: the processor's output, of which multimodal_pixel_values (B, 3, s, s), input_ids and attention_mask
            (B, P, L) are read.

    Returns:
        (B, P, g, g) weights, the patches row by row; zero for absent sentences.

    Raises:
        ValueError: the encoder is another one, or its last layer sees no photo for the sentence.
    """
    config, encoder = model.config, model.multimodal_encoder
    if (config.multimodal_config.model_type, config.fusion) != ("beit3", "early"):
        raise ValueError("this model has no attention from a sentence to the photo: use one of BEIT-3, fusion 'early'")
    apart = (config.num_fusion_layers or len(encoder.layers)) < len(encoder.layers)
    if apart and config.prompt_feature == "text_cls":
        raise ValueError("in the last layer of this model the sentence does not attend to the photo")
    present = inputs["attention_mask"].any(-1)  # (B, P)
    attentions = _eager_twin(encoder)(
        pixel_values=inputs["multimodal_pixel_values"][present.nonzero()[:, 0]],
        input_ids=inputs["input_ids"][present],
        attention_mask=inputs["attention_mask"][present],
        num_fusion_layers=config.num_fusion_layers,
        output_attentions=True,
    ).attentions
    patches = config.multimodal_config.num_patches
    weights = attentions[-2 if apart else -1]  # (N, H, T, T); a layer without fusion has the photo's before the text's
    query = 1 + patches if config.prompt_feature == "text_cls" else 0
    maps = weights[:, :, query, 1 : 1 + patches].float().sum(1)  # (N, patches)
    out = maps.new_zeros(*present.shape, patches)
    out[present] = maps
    return out.unflatten(-1, 2 * [round(patches**0.5)])


def _eager_twin(encoder: PreTrainedModel) -> PreTrainedModel:
    """The encoder with the one attention that returns its weights; it shares the tensors, and nothing else.

    Other threads may be using the encoder, so its configuration and its hooks are left alone.
    """
    shared = {id(tensor): tensor for tensor in [*encoder.parameters(), *encoder.buffers()]}
    twin = deepcopy(encoder, shared)
    twin.set_attn_implementation("eager")
    return twin


__all__ = ["attention_maps"]
