"""A start for position tables that tells near from far.

Released encoders come with positions that were learned on millions of photos. From random ones a small encoder needs
very long to find out which patches are neighbours; from sines and cosines (Vaswani et al., 2017; in two dimensions as
in MAE, He et al., 2022) it knows at once. The tables are trained on from there.
"""

import torch
from torch import Tensor

from modeling_evf_sam.modeling_beit3 import POSITION_OFFSET
from modeling_evf_sam.modeling_evf_sam import EvfSamModel

STRENGTH = 0.5


def grid_positions(side: int, width: int) -> Tensor:
    """Sines and cosines of the row and of the column of each cell: (side, side, width)."""
    frequencies = 1 / 100 ** (torch.arange(width // 4) / (width // 4))
    angles = torch.arange(side)[:, None] * frequencies * (torch.pi / 2)  # (side, width / 4)
    line = torch.cat([angles.sin(), angles.cos()], dim=1)  # (side, width / 2)
    return torch.cat([line[:, None].expand(-1, side, -1), line[None].expand(side, -1, -1)], dim=2)


@torch.no_grad()
def init_positions(model: EvfSamModel) -> None:
    """Give the image encoders of a fresh model positions that they can compare."""
    if model.config.fusion != "text":
        encoder = model.multimodal_encoder
        patches = {
            "beit3": lambda: encoder.embeddings.vision_positions.weight[POSITION_OFFSET + 1 :],
            "clip": lambda: encoder.vision_model.embeddings.position_embedding.weight[1:],
            "vilt": lambda: encoder.embeddings.position_embeddings[0, 1:],
        }[model.config.multimodal_config.model_type]()
        patches.copy_(STRENGTH * grid_positions(round(len(patches) ** 0.5), patches.shape[1]).flatten(0, 1))
    pos_embed = model.sam.vision_encoder.pos_embed  # (1, side, side, width)
    pos_embed.copy_(STRENGTH * grid_positions(pos_embed.shape[1], pos_embed.shape[3])[None])
