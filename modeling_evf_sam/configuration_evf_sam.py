"""Configurations of EVF-SAM and of its multimodal encoder, BEIT-3."""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

IMAGE_LAYOUTS = ("pad", "stretch")
PADDING = -10  # a point, its label, or a box that is not there, as in transformers' SAM


@strict
class Beit3Config(PreTrainedConfig):
    """Sizes of BEIT-3's multiway encoder; the defaults are BEIT-3 large (EVF-SAM paper, section 3.2).

    Attributes:
        vocab_size: rows of the text embedding; BEIT-3 has more rows than its tokenizer has tokens.
        hidden_size: width of every token.
        num_hidden_layers: number of fused layers.
        num_attention_heads: heads of each self-attention.
        intermediate_size: width inside the feed-forward networks.
        image_size: side of the encoder's view, in pixels.
        patch_size: side of a patch, in pixels.
        num_channels: channels of the view.
        max_position_embeddings: rows of the text position table; the first two are never used, so a sentence
            has at most `max_position_embeddings - 2` tokens.
        hidden_act: activation of the feed-forward networks.
        layer_norm_eps: epsilon of every LayerNorm.
        initializer_range: standard deviation of fresh weights.
    """

    model_type = "beit3"
    base_config_key = "multimodal_config"

    vocab_size: int = 64010
    hidden_size: int = 1024
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    intermediate_size: int = 4096
    image_size: int = 224
    patch_size: int = 16
    num_channels: int = 3
    max_position_embeddings: int = 1024
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-5
    initializer_range: float = 0.02
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2

    def __post_init__(self, **kwargs: Any) -> None:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}"
            )
        if self.image_size % self.patch_size:
            raise ValueError(f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}")
        super().__post_init__(**kwargs)

    @property
    def num_patches(self) -> int:
        """Patches of one view."""
        return (self.image_size // self.patch_size) ** 2


@strict
class EvfSamConfig(PreTrainedConfig):
    """An EVF-SAM: a multimodal encoder, a projector, and a SAM.

    Attributes:
        multimodal_config: configuration of the multimodal encoder; its class follows from its `model_type`.
        sam_config: configuration of the SAM; its class follows from its `model_type`.
        image_layout: how a photo becomes SAM's square view: "pad" (longest side to the view's side, then padded
            to the right and below, as SAM-1 was trained) or "stretch" (both sides to the view's side).
        bce_loss_weight: weight of the binary cross-entropy in the loss.
        dice_loss_weight: weight of the dice loss.
    """

    model_type = "evf_sam"
    sub_configs_defaults = {  # noqa: RUF012
        "multimodal_config": SubConfigSpec(config_class=AutoConfig, model_type="beit3"),
        "sam_config": SubConfigSpec(config_class=AutoConfig, model_type="sam"),
    }
    keys_to_ignore_at_inference = ["loss_dict", "prompt_embeds", "image_embeddings"]  # noqa: RUF012

    multimodal_config: Any = None
    sam_config: Any = None
    image_layout: str = "pad"
    bce_loss_weight: float = 1.0
    dice_loss_weight: float = 1.0
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs: Any) -> None:
        if self.image_layout not in IMAGE_LAYOUTS:
            raise ValueError(f"image_layout is {self.image_layout!r}, expected one of {', '.join(IMAGE_LAYOUTS)}")
        super().__post_init__(**kwargs)
        # SAM draws its Fourier matrix from N(0, 1); transformers' default of hidden_size / 2 gives neighbouring
        # points unrelated codes, and fresh weights never learn to place a prompt.
        self.sam_config.vision_config.scale = 1.0

    @property
    def view_size(self) -> int:
        """Side of SAM's view, in pixels."""
        return self.sam_config.vision_config.image_size
