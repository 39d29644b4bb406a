"""Tensor names of the original EVF-SAM releases and of the files that they were built from, and ours.

`RENAMES` is applied in order to every name; the result must be known to `EvfSamModel`. Sources: hustvl/EVF-SAM,
facebookresearch/segment-anything, microsoft/unilm (BEIT-3).
"""

import re
from collections.abc import Mapping

from torch import Tensor

BEIT3_RENAMES = (
    (r"^(mm_extractor\.)?beit3\.", "multimodal_encoder."),
    (r"^multimodal_encoder\.text_embed\.", "multimodal_encoder.embeddings.word_embeddings."),
    (r"^multimodal_encoder\.vision_embed\.proj\.", "multimodal_encoder.embeddings.patch_projection."),
    (r"^multimodal_encoder\.vision_embed\.", "multimodal_encoder.embeddings."),
    (r"\.encoder\.embed_positions\.A\.", ".embeddings.vision_positions."),
    (r"\.encoder\.embed_positions\.B\.", ".embeddings.text_positions."),
    (r"^multimodal_encoder\.encoder\.", "multimodal_encoder."),
    (r"\.self_attn_layer_norm\.", ".attention_layer_norm."),
    (r"\.final_layer_norm\.", ".mlp_layer_norm."),
    (r"\.self_attn\.inner_attn_ln\.", ".attention.inner_layer_norm."),
    (r"^(multimodal_encoder.*)\.self_attn\.", r"\1.attention."),
    (r"\.ffn\.([AB])\.ffn_layernorm\.", r".ffn.\1.layer_norm."),
    (r"\.ffn\.", ".mlp."),
    (r"^(multimodal_encoder.*)\.A\.", r"\1.vision."),
    (r"^(multimodal_encoder.*)\.B\.", r"\1.text."),
)

PROJECTOR_RENAMES = (
    (r"^text_hidden_fcs\.0\.0\.", "projector.fc1."),
    (r"^text_hidden_fcs\.0\.2\.", "projector.fc2."),
)

SAM_RENAMES = (
    (r"^(visual_model\.)?(?=(image_encoder|prompt_encoder|mask_decoder)\.)", "sam."),
    (r"^sam\.image_encoder\.", "sam.vision_encoder."),
    (r"^(sam\.vision_encoder)\.blocks\.", r"\1.layers."),
    (r"^(sam\.vision_encoder.*)\.norm([12])\.", r"\1.layer_norm\2."),
    (r"\.patch_embed\.proj\.", ".patch_embed.projection."),
    (r"\.neck\.0\.", ".neck.conv1."),
    (r"\.neck\.1\.", ".neck.layer_norm1."),
    (r"\.neck\.2\.", ".neck.conv2."),
    (r"\.neck\.3\.", ".neck.layer_norm2."),
    (r"\.pe_layer\.positional_encoding_gaussian_matrix$", ".shared_embedding.positional_embedding"),
    (r"\.point_embeddings\.", ".point_embed."),
    (r"\.mask_downscaling\.0\.", ".mask_embed.conv1."),
    (r"\.mask_downscaling\.1\.", ".mask_embed.layer_norm1."),
    (r"\.mask_downscaling\.3\.", ".mask_embed.conv2."),
    (r"\.mask_downscaling\.4\.", ".mask_embed.layer_norm2."),
    (r"\.mask_downscaling\.6\.", ".mask_embed.conv3."),
    (r"\.output_upscaling\.0\.", ".upscale_conv1."),
    (r"\.output_upscaling\.1\.", ".upscale_layer_norm."),
    (r"\.output_upscaling\.3\.", ".upscale_conv2."),
    (r"^(sam\.mask_decoder.*)\.norm_final_attn\.", r"\1.layer_norm_final_attn."),
    (r"^(sam\.mask_decoder.*)\.norm([1-4])\.", r"\1.layer_norm\2."),
    (r"(iou_prediction_head|output_hypernetworks_mlps\.\d+)\.layers\.0\.", r"\1.proj_in."),
    (r"(iou_prediction_head|output_hypernetworks_mlps\.\d+)\.layers\.1\.", r"\1.layers.0."),
    (r"(iou_prediction_head|output_hypernetworks_mlps\.\d+)\.layers\.2\.", r"\1.proj_out."),
)

RENAMES = BEIT3_RENAMES + PROJECTOR_RENAMES + SAM_RENAMES
KNOWN_PREFIXES = ("multimodal_encoder.", "projector.", "sam.")
# Heads of BEIT-3's pretraining, and constants that the code computes itself.
IGNORED = re.compile(r"^(mlm_head|mim_head|vision_head|language_head)\.|^logit_scale$|(^|\.)pixel_(mean|std)$")
FOURIER = "sam.prompt_encoder.shared_embedding.positional_embedding"


def convert_state_dict(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the tensors of an original file the names of `EvfSamModel.state_dict()`.

    Works for a whole EVF-SAM release and for a single SAM or BEIT-3 file. Tensors are not copied.

    Raises:
        ValueError: for names that are not known; the message lists them.
    """
    converted, unknown = {}, []
    for original, tensor in state_dict.items():
        if IGNORED.search(original):
            continue
        name = original
        for pattern, replacement in RENAMES:
            name = re.sub(pattern, replacement, name)
        if not name.startswith(KNOWN_PREFIXES):
            unknown.append(original)
        converted[name] = tensor
    if unknown:
        raise ValueError(f"{len(unknown)} tensors have unknown names: {', '.join(sorted(unknown)[:10])}")
    if FOURIER in converted:  # transformers keeps SAM's Fourier matrix in two places
        converted["sam.shared_image_embedding.positional_embedding"] = converted[FOURIER]
    return converted
