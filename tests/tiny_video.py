"""A video model small enough for hundreds of frames, whose weights follow from the golden rule."""

from copy import deepcopy

import torch
from torch import Tensor

from modeling_evf_sam.modeling_evf_sam_video import EvfSamVideoModel
from modeling_evf_sam.originals.converting import convert_state_dict, original_state_dict
from tests.golden import GOLDEN_SAM2, golden_config, ruled_tensor

SIDE = 64  # of SAM's view; masks have logits of 16 x 16
PRESENCE = "visual_model.sam_mask_decoder.pred_obj_score_head.layers.2.bias"

TINY_SAM2 = deepcopy(GOLDEN_SAM2)
TINY_SAM2["vision_config"]["backbone_config"]["image_size"] = [SIDE, SIDE]
TINY_SAM2["vision_config"]["backbone_feature_sizes"] = [[SIDE // 4] * 2, [SIDE // 8] * 2, [SIDE // 16] * 2]
TINY_SAM2["prompt_encoder_config"] = {"image_size": SIDE}
STRETCH = {"sam_config": TINY_SAM2, "image_layout": "stretch", "mask_selection": "best_iou"}
FIRST_RELEASE = {"sam_config": TINY_SAM2, "image_layout": "pad_stretch", "mask_selection": "stability"}


def tiny_video_model(presence: float = 4.0, **changes) -> EvfSamVideoModel:
    """In evaluation mode, in float32; `presence` is the bias of the score that the object is there."""
    model = EvfSamVideoModel(golden_config(**{**STRETCH, **changes})).float().eval()
    shapes = {key: tuple(tensor.shape) for key, tensor in original_state_dict(model.state_dict()).items()}
    weights = {key: ruled_tensor(key, shape) for key, shape in shapes.items()}
    weights[PRESENCE].fill_(presence)
    model.load_state_dict(convert_state_dict(weights, video=True))
    return model


def tiny_film(count: int) -> Tensor:
    """(count, 3, S, S) of SAM's view: noise on which a bright square goes from left to right."""
    film = torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 0.3
    for index, frame in enumerate(film):
        left = index % (SIDE - 24)
        frame[:, 20:44, left : left + 24] += 2
    return film
