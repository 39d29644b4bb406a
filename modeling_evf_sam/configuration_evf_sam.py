"""Configurations of EVF-SAM and of its multimodal encoder, BEIT-3."""

import math
from itertools import pairwise
from typing import Any, Literal, get_args

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig, SamMaskDecoderConfig, SamVisionConfig
from transformers.configuration_utils import SubConfigSpec

from .checked_loading import BoundedConfigMixin
from .pretrained_evf_sam import HOOKS
from .sam_families import sam_family

ImageLayout = Literal["pad", "stretch", "pad_stretch"]
MaskSelection = Literal["first", "stability", "best_iou"]
Fusion = Literal["early", "late", "text"]
PromptFeature = Literal["image_cls", "text_cls", "image_mean", "concat"]

IMAGE_LAYOUTS = get_args(ImageLayout)
FUSIONS = {  # how each kind of multimodal encoder can read a photo and a sentence
    "beit3": ("early", "late", "text"),
    "vilt": ("early", "late", "text"),
    "clip": ("late", "text"),
}
# What each fusion can give to the projector; the first is its default.
PROMPT_FEATURES: dict[str, tuple[PromptFeature, ...]] = {
    "early": ("image_cls", "text_cls", "image_mean", "concat"),
    "late": ("concat",),
    "text": ("text_cls",),
}
TINY_VISION = {"hidden_size": 192, "num_attention_heads": 3, "initializer_range": 0.02}  # EfficientSAM-Ti


@strict
class Beit3Config(BoundedConfigMixin, PreTrainedConfig):
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

    def validate_architecture(self) -> None:
        """Refuse sizes that do not divide."""
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}"
            )
        if self.image_size % self.patch_size:
            raise ValueError(f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}")

    @property
    def num_patches(self) -> int:
        """Patches of one view."""
        return (self.image_size // self.patch_size) ** 2


@strict
class EfficientSamMaskDecoderConfig(SamMaskDecoderConfig):
    """Sizes of EfficientSAM's mask decoder: those of SAM's, and the channels of its two upscaling steps.

    Attributes:
        upscaling_channels: channels after each doubling of the mask's resolution.
    """

    model_type = "efficient_sam_mask_decoder"

    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-5
    upscaling_channels: list[int] | tuple[int, ...] = (64, 32)


@strict
class EfficientSamConfig(BoundedConfigMixin, PreTrainedConfig):
    """An EfficientSAM; what is not given is as in EfficientSAM-Ti.

    Attributes:
        vision_config: transformers' configuration of SAM's image encoder. Every layer sees the whole view, and none
            has relative positions: `window_size`, `global_attn_indexes` and `use_rel_pos` are what follows from it.
        mask_decoder_config: sizes of the mask decoder; its `hidden_size` is the width of every prompt token.
        initializer_range: standard deviation of fresh weights outside the image encoder.
    """

    model_type = "efficient_sam"
    sub_configs_defaults = {  # noqa: RUF012
        "vision_config": SamVisionConfig,
        "mask_decoder_config": EfficientSamMaskDecoderConfig,
    }

    vision_config: Any = None
    mask_decoder_config: Any = None
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs: Any) -> None:
        vision, decoder = self.vision_config or {}, self.mask_decoder_config or {}
        if isinstance(vision, PreTrainedConfig):
            vision = vision.to_dict()
        if not isinstance(decoder, PreTrainedConfig):
            decoder = EfficientSamMaskDecoderConfig(**decoder)
        vision = {**TINY_VISION, **vision}
        self.mask_decoder_config = decoder
        self.vision_config = {
            **vision,
            "use_rel_pos": False,
            "window_size": 0,
            "global_attn_indexes": list(range(vision.get("num_hidden_layers", SamVisionConfig.num_hidden_layers))),
            "scale": 1.0,  # the Fourier matrix (2, width / 2) is drawn from N(0, 1)
            "num_pos_feats": decoder.hidden_size // 2,
        }
        super().__post_init__(**kwargs)

    def validate_architecture(self) -> None:
        """Refuse sizes that do not fit together."""
        vision, width = self.vision_config, self.mask_decoder_config.hidden_size
        if vision.output_channels != width:
            raise ValueError(
                f"output_channels {vision.output_channels} of the vision_config must equal hidden_size {width} "
                "of the mask_decoder_config"
            )
        if vision.image_size % vision.patch_size:
            raise ValueError(f"image_size {vision.image_size} is not a multiple of patch_size {vision.patch_size}")
        if len(self.mask_decoder_config.upscaling_channels) != 2:
            raise ValueError(f"upscaling_channels {self.mask_decoder_config.upscaling_channels} must be two numbers")


@strict
class EvfSamConfig(BoundedConfigMixin, PreTrainedConfig):
    """An EVF-SAM: a multimodal encoder, a projector, and a SAM.

    Attributes:
        multimodal_config: configuration of the multimodal encoder; its class follows from its `model_type`.
        sam_config: configuration of the SAM; its class follows from its `model_type`.
        fusion: how the encoder reads (paper, Table 3): "early" (photo and sentence attend to each other), "late"
            (each is read alone, and both features are concatenated) or "text" (the sentence alone).
        num_fusion_layers: in how many of its first layers an early-fusion BEIT-3 attends across modalities; in the
            later ones photo and sentence each attend to themselves. Default: in all.
        prompt_feature: what the projector turns into a prompt (paper, Table 5): "image_cls" (the image's [CLS]; the
            default of early fusion), "text_cls" (the sentence's; that of "text"), "image_mean" (the mean of the
            patches) or "concat" (both [CLS] tokens; that of late fusion).
        image_layout: how a photo becomes SAM's square view: "pad" (longest side to the view's side, then padded
            to the right and below; the default of SAM-1), "stretch" (both sides to the view's side; the default of
            SAM-2 and EfficientSAM) or "pad_stretch" (longest side first, then both; the first SAM-2 release).
        mask_selection: which of SAM's masks is the answer: "first" (its single mask), "best_iou" (of its three, the
            one with the highest score) or "stability" (SAM-2 alone: the single mask, unless it is unstable).
        semantic_prompts: whether the weights were trained on prompts for every pixel of a category.
        bce_loss_weight: weight of the binary cross-entropy in the loss.
        dice_loss_weight: weight of the dice loss.
        presence: of the head that says whether what a sentence names is in the photo: its "hidden_size", the
            "temperature" that its logits are divided by, and the "shift" that is added then, default 0; None for a
            model without it.
        quality: points [score, IoU] of a rising line that turns SAM's scores into IoUs to be expected, from scores
            below all to scores above all; None where it was not measured.
        trained_on: "rendered_scenes" where the weights have seen nothing but drawn shapes.
    """

    model_type = "evf_sam"
    sub_configs_defaults = {  # noqa: RUF012
        "multimodal_config": SubConfigSpec(config_class=AutoConfig, model_type="beit3"),
        "sam_config": SubConfigSpec(config_class=AutoConfig, model_type="sam"),
    }
    keys_to_ignore_at_inference = [  # noqa: RUF012
        "loss_dict",
        "presence_logits",
        "quality",
        "object_score_logits",
        "prompt_embeds",
        "image_embeddings",
        "hidden_states",
        "attentions",
    ]

    multimodal_config: Any = None
    sam_config: Any = None
    fusion: Fusion = "early"
    num_fusion_layers: int | None = None
    prompt_feature: PromptFeature | None = None
    image_layout: ImageLayout | None = None
    mask_selection: MaskSelection = "first"
    semantic_prompts: bool = False
    bce_loss_weight: float = 1.0
    dice_loss_weight: float = 1.0
    presence: dict[str, Any] | None = None
    quality: list[list[float | int]] | None = None
    trained_on: str | None = None
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs: Any) -> None:
        if self._auto_class is None:
            # A repository names the pipeline in its code, which `pipeline` runs where it is trusted. This class is
            # the installed package's, which registers its own.
            kwargs.pop("custom_pipelines", None)
        super().__post_init__(**kwargs)
        self.prompt_feature = self.prompt_feature or PROMPT_FEATURES[self.fusion][0]
        self.image_layout = self.image_layout or sam_family(self.sam_config).image_layout

    def validate_architecture(self) -> None:
        """Refuse parts and switches that do not fit together."""
        encoder, selections = self.multimodal_config.model_type, sam_family(self.sam_config).mask_selections
        if encoder not in FUSIONS:
            raise ValueError(f"multimodal_config is of type {encoder!r}, expected one of {', '.join(FUSIONS)}")
        if self.fusion not in FUSIONS[encoder]:
            raise ValueError(f"fusion is {self.fusion!r}, for {encoder} use one of {', '.join(FUSIONS[encoder])}")
        if self.prompt_feature not in PROMPT_FEATURES[self.fusion]:
            features = " or ".join(PROMPT_FEATURES[self.fusion])
            raise ValueError(f"prompt_feature is {self.prompt_feature!r}, for {self.fusion} fusion use {features}")
        if self.mask_selection not in selections:
            raise ValueError(f"mask_selection is {self.mask_selection!r}, for this SAM use {' or '.join(selections)}")
        if self.num_fusion_layers is not None:
            self._check_fusion_layers(self.num_fusion_layers)
        if self.presence is not None:
            _check_presence(self.presence)
        if self.quality is not None:
            _check_rising(self.quality)

    def _check_fusion_layers(self, count: int) -> None:
        if (self.multimodal_config.model_type, self.fusion) != ("beit3", "early"):
            raise ValueError('num_fusion_layers belongs to BEIT-3 with fusion "early": leave it out')
        layers = self.multimodal_config.num_hidden_layers
        if not 1 <= count <= layers:
            raise ValueError(f'num_fusion_layers is {count}, expected 1 to {layers}; none is "late"')

    @classmethod
    def get_config_dict(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> tuple[dict, dict]:
        """Read a configuration as transformers does; that of an original release follows from its tensors."""
        release = HOOKS.find_release(pretrained_model_name_or_path, **kwargs)
        if release is None:
            return super().get_config_dict(pretrained_model_name_or_path, **kwargs)
        return release.config_dict(), kwargs

    def get_text_config(self, decoder: bool | None = None, encoder: bool | None = None) -> PreTrainedConfig:
        """The configuration with the vocabulary, which `resize_token_embeddings` changes."""
        return self.multimodal_config.get_text_config()

    @property
    def loss_weights(self) -> dict[str, float]:
        """Weight of each part of the loss."""
        return {"bce": self.bce_loss_weight, "dice": self.dice_loss_weight, "presence": 1.0}

    @property
    def view_size(self) -> int:
        """Side of SAM's view, in pixels."""
        return sam_family(self.sam_config).view_size(self.sam_config)

    @property
    def multimodal_view_size(self) -> int:
        """Side of the multimodal encoder's view, in pixels; 0 where it reads the sentence alone."""
        if self.fusion == "text":
            return 0
        return getattr(self.multimodal_config, "vision_config", self.multimodal_config).image_size

    @property
    def max_tokens(self) -> int:
        """Tokens that a sentence can have, its start and end included."""
        unused = 2 if self.multimodal_config.model_type == "beit3" else 0
        return self.get_text_config().max_position_embeddings - unused

    @property
    def prompt_size(self) -> int:
        """Width D of SAM's prompt tokens."""
        return self.sam_config.mask_decoder_config.hidden_size


def _check_presence(presence: dict[str, Any]) -> None:
    size, temperature, shift = presence.get("hidden_size"), presence.get("temperature"), presence.get("shift", 0.0)
    known = set(presence) <= {"hidden_size", "temperature", "shift"}
    if not (known and isinstance(size, int) and isinstance(temperature, float) and isinstance(shift, float)):
        raise ValueError(
            f"presence is {presence}: give hidden_size, a whole number, and temperature, such as 1.0; shift may follow"
        )
    if size < 1 or not 0 < temperature < math.inf or not math.isfinite(shift):
        raise ValueError(f"presence is {presence}: hidden_size and temperature must be above 0, shift a number")


def _check_rising(points: list[list[float | int]]) -> None:
    if len(points) < 2 or any(len(point) != 2 or not all(map(math.isfinite, point)) for point in points):
        raise ValueError(f"quality is {points!s:.80}: give two or more points [score, IoU]")
    for (x, y), (next_x, next_y) in pairwise(points):
        if not (x < next_x and y <= next_y):
            raise ValueError(f"quality must rise from point to point: {[x, y]} comes before {[next_x, next_y]}")


# Sub-configurations are found by their `model_type`. Registered here and not with the other classes, as this file is
# also loaded on its own, from a repository that carries the code.
for _config in (Beit3Config, EfficientSamConfig):
    AutoConfig.register(_config.model_type, _config, exist_ok=True)
