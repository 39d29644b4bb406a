"""What SAM-1, SAM-2 and EfficientSAM do differently: a table with a row for each.

All three have a `vision_encoder`, a `prompt_encoder` and a `mask_decoder` that are called alike. Where they part, ask
`sam_family(config.sam_config)`. The classes are in `sam_models`.

Shapes: B photos, D prompt width, S side of SAM's view.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SamFamily:
    """One kind of SAM. `sam_config` is the configuration of the SAM, `sam` the model.

    Attributes:
        title: what people call it.
        image_layout: how its image encoder was trained to see a photo.
        mask_selections: what `EvfSamConfig.mask_selection` may be.
        encoder_weights: prefixes of all weights, in `EvfSamModel`, that make the image embeddings.
        view_size: `sam_config` -> S.
        encode: (`sam`, views (B, 3, S, S)) -> the image embeddings that `EvfSamModel.get_image_embeddings` returns.
        decoder_inputs: the embeddings, as a list from fine to coarse -> arguments of the mask decoder.
        score_tokens: tokens of the mask decoder that stand before those of its masks: of its scores.
    """

    title: str
    image_layout: Any
    mask_selections: tuple[str, ...]
    encoder_weights: tuple[str, ...]
    view_size: Callable[[Any], int]
    encode: Callable[[Any, Tensor], Tensor | list[Tensor]]
    decoder_inputs: Callable[[list[Tensor]], dict[str, Any]]
    score_tokens: int = 1


def as_levels(image_embeddings: Tensor | list[Tensor]) -> list[Tensor]:
    """The embeddings of any family as a list, from fine to coarse."""
    return [image_embeddings] if isinstance(image_embeddings, Tensor) else image_embeddings


def _encode_single_level(sam: Any, pixel_values: Tensor) -> Tensor:
    return sam.vision_encoder(pixel_values).last_hidden_state


def _encode_sam2(sam: Any, pixel_values: Tensor) -> list[Tensor]:
    # Sam2Model.get_image_embeddings, but with gradients for the decoder's two convolutions
    levels = sam.vision_encoder(pixel_values).fpn_hidden_states
    finest, fine, coarse = (level.to(pixel_values.dtype) for level in levels)
    decoder, no_memory = sam.mask_decoder, sam.no_memory_embedding  # (1, 1, D)
    return [decoder.conv_s0(finest), decoder.conv_s1(fine), coarse + no_memory.transpose(1, 2)[..., None]]


def _single_level(levels: list[Tensor]) -> dict[str, Any]:
    return {"image_embeddings": levels[0]}


def _three_levels(levels: list[Tensor]) -> dict[str, Any]:
    return {"image_embeddings": levels[-1], "high_resolution_features": levels[:-1]}


ENCODER_WEIGHTS = ("sam.vision_encoder.",)

SAM_FAMILIES: dict[str, SamFamily] = {  # by the `model_type` of their configurations
    "sam": SamFamily(
        title="SAM",
        image_layout="pad",
        mask_selections=("first", "best_iou"),
        encoder_weights=ENCODER_WEIGHTS,
        view_size=lambda sam_config: sam_config.vision_config.image_size,
        encode=_encode_single_level,
        decoder_inputs=_single_level,
    ),
    "sam2": SamFamily(
        title="SAM-2",
        image_layout="stretch",
        mask_selections=("first", "best_iou", "stability"),
        encoder_weights=(
            *ENCODER_WEIGHTS,
            "sam.mask_decoder.conv_s0.",
            "sam.mask_decoder.conv_s1.",
            "sam.no_memory_embedding",
        ),
        view_size=lambda sam_config: sam_config.vision_config.backbone_config.image_size[0],
        encode=_encode_sam2,
        decoder_inputs=_three_levels,
        score_tokens=2,  # whether the object is there, and its IoU
    ),
    "efficient_sam": SamFamily(
        title="EfficientSAM",
        image_layout="stretch",
        mask_selections=("first", "best_iou"),
        encoder_weights=ENCODER_WEIGHTS,
        view_size=lambda sam_config: sam_config.vision_config.image_size,
        encode=_encode_single_level,
        decoder_inputs=_single_level,
    ),
}


def sam_family(sam_config: Any) -> SamFamily:
    """The row of a SAM's configuration.

    Raises:
        ValueError: it is the configuration of something else; the message lists what there is.
    """
    if sam_config.model_type not in SAM_FAMILIES:
        raise ValueError(f"sam_config is of type {sam_config.model_type!r}, expected one of {', '.join(SAM_FAMILIES)}")
    return SAM_FAMILIES[sam_config.model_type]
