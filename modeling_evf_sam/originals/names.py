"""Tensor names of the original files of EVF-SAM and of its parts, and ours, both ways.

A table maps original names to ours. In its templates `#` stands for the index of a layer, `{a,b}` for each of the
words in turn (the n-th braces on the left go with the n-th on the right), and a full stop at the end for a weight and
a bias. Sources: hustvl/EVF-SAM, facebookresearch/segment-anything and /sam2, yformer/EfficientSAM, microsoft/unilm
(BEIT-3).
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from modeling_evf_sam.originals.reading import listed

Table = dict[str, str]

BEIT3: Table = {
    "text_embed.weight": "embeddings.word_embeddings.weight",
    "vision_embed.{cls_token,mask_token}": "embeddings.{cls_token,mask_token}",
    "vision_embed.proj.": "embeddings.patch_projection.",
    "encoder.embed_positions.{A,B}.weight": "embeddings.{vision,text}_positions.weight",
    "encoder.layers.#.self_attn_layer_norm.{A,B}.": "layers.#.attention_layer_norm.{vision,text}.",
    "encoder.layers.#.self_attn.{q,k,v,out}_proj.{A,B}.": "layers.#.attention.{q,k,v,out}_proj.{vision,text}.",
    "encoder.layers.#.self_attn.inner_attn_ln.{A,B}.": "layers.#.attention.inner_layer_norm.{vision,text}.",
    "encoder.layers.#.final_layer_norm.{A,B}.": "layers.#.mlp_layer_norm.{vision,text}.",
    "encoder.layers.#.ffn.{A,B}.{fc1,ffn_layernorm,fc2}.": "layers.#.mlp.{vision,text}.{fc1,layer_norm,fc2}.",
    "encoder.layer_norm.{A,B}.": "layer_norm.{vision,text}.",
}
PROJECTOR: Table = {"{0,2}.": "{fc1,fc2}."}

FOURIER: Table = {
    "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix": (
        "prompt_encoder.shared_embedding.positional_embedding"
    ),
}
VIT: Table = {
    "image_encoder.pos_embed": "vision_encoder.pos_embed",
    "image_encoder.patch_embed.proj.": "vision_encoder.patch_embed.projection.",
    "image_encoder.blocks.#.norm{1,2}.": "vision_encoder.layers.#.layer_norm{1,2}.",
    "image_encoder.blocks.#.attn.{qkv,proj}.": "vision_encoder.layers.#.attn.{qkv,proj}.",
    "image_encoder.neck.{0,2}.weight": "vision_encoder.neck.{conv1,conv2}.weight",
    "image_encoder.neck.{1,3}.": "vision_encoder.neck.{layer_norm1,layer_norm2}.",
}
PROMPT_ENCODER: Table = {
    **FOURIER,
    "prompt_encoder.point_embeddings.#.weight": "prompt_encoder.point_embed.#.weight",
    "prompt_encoder.{not_a_point,no_mask}_embed.weight": "prompt_encoder.{not_a_point,no_mask}_embed.weight",
    "prompt_encoder.mask_downscaling.{0,1,3,4,6}.": (
        "prompt_encoder.mask_embed.{conv1,layer_norm1,conv2,layer_norm2,conv3}."
    ),
}
MASK_DECODER: Table = {
    "mask_decoder.{iou_token,mask_tokens}.weight": "mask_decoder.{iou_token,mask_tokens}.weight",
    "mask_decoder.transformer.norm_final_attn.": "mask_decoder.transformer.layer_norm_final_attn.",
    "mask_decoder.transformer.layers.#.norm{1,2,3,4}.": "mask_decoder.transformer.layers.#.layer_norm{1,2,3,4}.",
}
ATTENTIONS = (
    "mask_decoder.transformer.layers.#.self_attn",
    "mask_decoder.transformer.layers.#.cross_attn_token_to_image",
    "mask_decoder.transformer.layers.#.cross_attn_image_to_token",
    "mask_decoder.transformer.final_attn_token_to_image",
)
UPSCALING: Table = {
    "mask_decoder.output_upscaling.{0,1,3}.": "mask_decoder.{upscale_conv1,upscale_layer_norm,upscale_conv2}.",
}
HEADS = ("mask_decoder.output_hypernetworks_mlps.#", "mask_decoder.iou_prediction_head")

SAM: Table = {
    **VIT,
    "image_encoder.blocks.#.attn.rel_pos_{h,w}": "vision_encoder.layers.#.attn.rel_pos_{h,w}",
    "image_encoder.blocks.#.mlp.lin{1,2}.": "vision_encoder.layers.#.mlp.lin{1,2}.",
    **PROMPT_ENCODER,
    **MASK_DECODER,
    **UPSCALING,
    **{f"{name}.{{q,k,v,out}}_proj.": f"{name}.{{q,k,v,out}}_proj." for name in ATTENTIONS},
    "mask_decoder.transformer.layers.#.mlp.lin{1,2}.": "mask_decoder.transformer.layers.#.mlp.lin{1,2}.",
    **{f"{name}.layers.{{0,1,2}}.": f"{name}.{{proj_in,layers.0,proj_out}}." for name in HEADS},
}
MEMORY_ATTENTIONS = ("memory_attention.layers.#.self_attn", "memory_attention.layers.#.cross_attn_image")
DOWNSAMPLER = "memory_encoder.mask_downsampler"
# What SAM-2 (and, in the last two rows, 2.1) has for videos alone: a memory of earlier frames, pointers to objects.
SAM2_MEMORY: Table = {
    **{f"{name}.{{q,k,v,out}}_proj.": f"{name}.{{q,k,v,o}}_proj." for name in MEMORY_ATTENTIONS},
    "memory_attention.layers.#.linear{1,2}.": "memory_attention.layers.#.linear{1,2}.",
    "memory_attention.layers.#.norm{1,2,3}.": "memory_attention.layers.#.layer_norm{1,2,3}.",
    "memory_attention.norm.": "memory_attention.layer_norm.",
    f"{DOWNSAMPLER}.encoder.{{0,3,6,9}}.": f"{DOWNSAMPLER}.layers.{{0,1,2,3}}.conv.",
    f"{DOWNSAMPLER}.encoder.{{1,4,7,10}}.": f"{DOWNSAMPLER}.layers.{{0,1,2,3}}.layer_norm.",
    f"{DOWNSAMPLER}.encoder.12.": f"{DOWNSAMPLER}.final_conv.",
    "memory_encoder.{pix_feat_proj,out_proj}.": "memory_encoder.{feature_projection,projection}.",
    "memory_encoder.fuser.layers.#.{dwconv,norm,pwconv1,pwconv2}.": (
        "memory_encoder.memory_fuser.layers.#.{depthwise_conv,layer_norm,pointwise_conv1,pointwise_conv2}."
    ),
    "memory_encoder.fuser.layers.#.weight": "memory_encoder.memory_fuser.layers.#.scale",
    "maskmem_tpos_enc": "memory_temporal_positional_encoding",
    "no_mem_pos_enc": "no_memory_positional_encoding",
    "no_obj_ptr": "no_object_pointer",
    "mask_downsample.": "mask_downsample.",
    "obj_ptr_proj.layers.{0,1,2}.": "object_pointer_proj.{proj_in,layers.0,proj_out}.",
    "no_obj_embed_spatial": "occlusion_spatial_embedding_parameter",
    "obj_ptr_tpos_proj.": "temporal_positional_encoding_projection_layer.",
}
SAM2: Table = {
    **SAM2_MEMORY,
    "no_mem_embed": "no_memory_embedding",
    "image_encoder.trunk.pos_embed{,_window}": "vision_encoder.backbone.pos_embed{,_window}",
    "image_encoder.trunk.patch_embed.proj.": "vision_encoder.backbone.patch_embed.projection.",
    "image_encoder.trunk.blocks.#.norm{1,2}.": "vision_encoder.backbone.blocks.#.layer_norm{1,2}.",
    "image_encoder.trunk.blocks.#.attn.{qkv,proj}.": "vision_encoder.backbone.blocks.#.attn.{qkv,proj}.",
    "image_encoder.trunk.blocks.#.mlp.layers.{0,1}.": "vision_encoder.backbone.blocks.#.mlp.{proj_in,proj_out}.",
    "image_encoder.trunk.blocks.#.proj.": "vision_encoder.backbone.blocks.#.proj.",
    "image_encoder.neck.convs.#.conv.": "vision_encoder.neck.convs.#.",
    **{f"sam_{theirs}": ours for theirs, ours in (PROMPT_ENCODER | MASK_DECODER | UPSCALING).items()},
    "sam_mask_decoder.obj_score_token.weight": "mask_decoder.obj_score_token.weight",
    "sam_mask_decoder.conv_s{0,1}.": "mask_decoder.conv_s{0,1}.",
    **{f"sam_{name}.{{q,k,v,out}}_proj.": f"{name}.{{q,k,v,o}}_proj." for name in ATTENTIONS},
    "sam_mask_decoder.transformer.layers.#.mlp.layers.{0,1}.": (
        "mask_decoder.transformer.layers.#.mlp.{proj_in,proj_out}."
    ),
    **{
        f"sam_{name}.layers.{{0,1,2}}.": f"{name}.{{proj_in,layers.0,proj_out}}."
        for name in (*HEADS, "mask_decoder.pred_obj_score_head")
    },
}
EFFICIENT_SAM: Table = {
    **VIT,
    "image_encoder.blocks.#.mlp.fc{1,2}.": "vision_encoder.layers.#.mlp.lin{1,2}.",
    **FOURIER,
    "prompt_encoder.{invalid_points,point_embeddings}.weight": "prompt_encoder.{not_a_point,point}_embed.weight",
    "prompt_encoder.bbox_{top_left,bottom_right}_embeddings.weight": (
        "prompt_encoder.bbox_{top_left,bottom_right}_embed.weight"
    ),
    **MASK_DECODER,
    **{f"{name}.{{q,k,v,out}}_proj.": f"{name}.{{q,k,v,out}}_proj." for name in ATTENTIONS},
    "mask_decoder.transformer.layers.#.mlp.{layers.0.0,fc}.": "mask_decoder.transformer.layers.#.mlp.{lin1,lin2}.",
    "mask_decoder.final_output_upscaling_layers.{0.0,0.1,1.0}.": (
        "mask_decoder.{upscale_conv1,upscale_norm,upscale_conv2}."
    ),
    **{f"{name}.{{layers.0.0,layers.1.0,fc}}.": f"{name}.{{proj_in,layers.0,proj_out}}." for name in HEADS},
}

SAMS = {"sam": SAM, "sam2": SAM2, "efficient_sam": EFFICIENT_SAM}
# Names, original or ours, that only one family has; SAM-1 is what remains.
SIGNS = {
    "sam2": re.compile(r"\.(image_encoder\.trunk|sam_mask_decoder|vision_encoder\.backbone|mask_decoder\.conv_s0)\."),
    "efficient_sam": re.compile(r"prompt_encoder\.bbox_top_left_embed|image_encoder\.blocks\.0\.mlp\.fc1"),
}

# Heads of BEIT-3's pretraining, and constants that the code computes itself.
IGNORED = re.compile(
    r"^(mlm_head|mim_head|vision_head|language_head)\.|^logit_scale$|(^|\.)pixel_(mean|std)$|\.freqs_cis$"
)
# The original names that `SAM2_MEMORY` is about.
SAM2_VIDEO = re.compile(
    r"^visual_model\.(memory_attention\.|memory_encoder\.|maskmem_tpos_enc$|no_mem_pos_enc$|mask_downsample\."
    r"|no_obj_ptr$|no_obj_embed_spatial$|obj_ptr_proj\.|obj_ptr_tpos_proj\.)"
)


def release_name(name: str) -> str:
    """The name that a tensor of a single file has in an EVF-SAM release."""
    if name.startswith("beit3."):
        return f"mm_extractor.{name}"
    if name.startswith(("visual_model.", "mm_extractor.", "text_hidden_fcs.")):
        return re.sub(r"(fuser\.layers\.\d+)\.gamma$", r"\1.weight", name)
    return release_name(f"visual_model.{name}")


def has_memory(names: Iterable[str]) -> bool:
    """Whether a set of names, original or ours, has SAM-2's modules for videos."""
    return any(".memory_encoder." in name for name in names)


def family_of(names: Iterable[str]) -> str:
    """Which SAM a set of names, original or ours, belongs to."""
    names = list(names)
    return next((family for family, sign in SIGNS.items() if any(map(sign.search, names))), "sam")


def translate(names: list[str], family: str, back: bool = False) -> dict[str, str]:
    """Original names -> our names, or our names -> original names of a release (`back`).

    Raises:
        ValueError: for names that are in no table; the message lists them.
    """
    translated: dict[str, str] = {}
    for name in names:
        candidate = name if back else release_name(name)
        for pattern, target in _patterns(family, back):
            match = pattern.fullmatch(candidate)
            if match:
                translated[name] = target.format(*match.groups())
                break
    unknown = [name for name in names if name not in translated]
    if unknown:
        raise ValueError(f"{len(unknown)} tensors have unknown names: {listed(sorted(unknown))}")
    return translated


@lru_cache
def _patterns(family: str, back: bool) -> list[tuple[re.Pattern[str], str]]:
    """What to match, with a group for each layer's index, and the format string that takes these groups."""
    tables = (
        ("mm_extractor.beit3.", "multimodal_encoder.", BEIT3),
        ("text_hidden_fcs.0.", "projector.", PROJECTOR),
        ("visual_model.", "sam.", SAMS[family]),
    )
    pairs = [
        (theirs_prefix + theirs, ours_prefix + ours)
        for theirs_prefix, ours_prefix, table in tables
        for template in table.items()
        for theirs, ours in _spell_out(*template)
    ]
    if back:
        pairs = [(ours, theirs) for theirs, ours in pairs]
    return [
        (re.compile(re.escape(source).replace(r"\#", r"(\d+)")), target.replace("#", "{}")) for source, target in pairs
    ]


def _spell_out(theirs: str, ours: str) -> Iterator[tuple[str, str]]:
    """All pairs of names that one entry of a table stands for, with `#` left in."""
    if theirs.endswith("."):
        theirs, ours = theirs + "{weight,bias}", ours + "{weight,bias}"
    left, right = re.search(r"\{(.*?)\}", theirs), re.search(r"\{(.*?)\}", ours)
    if left is None or right is None:
        yield theirs, ours
        return
    for their_word, our_word in zip(left[1].split(","), right[1].split(","), strict=True):
        yield from _spell_out(theirs.replace(left[0], their_word, 1), ours.replace(right[0], our_word, 1))
