"""One photo -> SAM's view and the multimodal encoder's view; and mask logits back to the photo's size."""

import copy
from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from transformers.image_processing_utils import BaseImageProcessor, BatchFeature
from transformers.image_utils import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    IMAGENET_STANDARD_MEAN,
    IMAGENET_STANDARD_STD,
    OPENAI_CLIP_MEAN,
    OPENAI_CLIP_STD,
    ChannelDimension,
    SizeDict,
)
from transformers.processing_utils import ImagesKwargs

from .checked_loading import CheckedLoadingMixin
from .configuration_evf_sam import IMAGE_LAYOUTS, ImageLayout
from .photos import Photo, rgb_photos

MAX_VIEW = 4096  # pixels of a side; the paper's models have 1024
MULTIMODAL_VIEWS: dict[str, dict[str, Any]] = {  # what each kind of multimodal encoder was trained on
    "beit3": {},
    "vilt": {"multimodal_antialias": True},
    "clip": {
        "multimodal_antialias": True,
        "multimodal_image_mean": OPENAI_CLIP_MEAN,
        "multimodal_image_std": OPENAI_CLIP_STD,
    },
}


def resized_size(height: int, width: int, image_size: int) -> tuple[int, int]:
    """(height, width) of a photo whose longer side becomes `image_size`, rounded half up, at least 1 pixel a side."""
    scale = image_size / max(height, width)
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def resize_mask_logits(
    mask_logits: Tensor,
    original_size: Sequence[int] | Tensor,
    image_size: int,
    image_layout: str,
    reshaped_size: Sequence[int] | Tensor | None = None,
) -> Tensor:
    """Brings the decoder's mask logits to the photo's size, differentiably and in float32.

    The original's postprocess steps: bilinear, through SAM's view where that is padded ("pad"), otherwise
    straight to the photo.

    Args:
        mask_logits: (N, h, w).
        original_size: (height, width) of the photo.
        image_size: side of SAM's view.
        image_layout: one of `IMAGE_LAYOUTS`.
        reshaped_size: (height, width) that the photo takes up in a padded view; default `resized_size` of the photo.

    Returns:
        (N, height, width) logits.
    """
    height, width = (int(side) for side in original_size)
    logits = mask_logits.float()[:, None]  # (N, 1, h, w)
    if image_layout == "pad":
        used_height, used_width = resized_size(height, width, image_size) if reshaped_size is None else reshaped_size
        logits = _bilinear(logits, (image_size, image_size))[..., :used_height, :used_width]
    return _bilinear(logits, (height, width))[:, 0]


def _bilinear(images: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(images, size, mode="bilinear", align_corners=False)


class EvfSamImageProcessorKwargs(ImagesKwargs, total=False):  # type: ignore[call-arg]
    """Settings of `EvfSamImageProcessor` beyond the library's."""

    image_layout: ImageLayout
    multimodal_image_size: int
    multimodal_image_mean: list[float] | tuple[float, ...]
    multimodal_image_std: list[float] | tuple[float, ...]
    multimodal_antialias: bool


class EvfSamImageProcessor(CheckedLoadingMixin, BaseImageProcessor):
    """Turns photos into the two views that EVF-SAM looks at.

    SAM's view keeps the original's arithmetic: Pillow's bilinear resize on 8-bit values, then mean and standard
    deviation. "pad" resizes the longer side to the view's and fills up with zeros at the right and bottom (SAM-1);
    "stretch" resizes both sides to it (SAM-2, EfficientSAM); "pad_stretch" resizes the longer side to it and then, as
    float, stretches the other (the first release over SAM-2). The multimodal view is stretched with bicubic
    interpolation of floats: for BEIT-3 without antialiasing and without clamping, as the original does, otherwise by
    Pillow on 8-bit values. The whole photo becomes a square for every encoder, as a centre crop would cut away what a
    sentence may ask for.

    Every setting can be given here and, for one call, to the processor. Those of the library that have no meaning for
    these views are ignored.

    Args:
        size: side S of SAM's view, or a dict with it as "height" and "width".
        image_layout: "pad", "stretch" or "pad_stretch".
        do_resize: whether SAM's view is resized; without it, photos have the view's size, or with "pad" a smaller one.
        resample: Pillow's filter for SAM's view.
        do_rescale: whether the values of both views are multiplied by `rescale_factor`.
        rescale_factor: 1 / 255 for values 0..1.
        do_normalize: whether means are taken away from both views, and the rest divided by the deviations.
        image_mean: mean per channel of SAM's view, after rescaling.
        image_std: standard deviation per channel of SAM's view, after rescaling.
        multimodal_image_size: side s of the multimodal view; 0 for an encoder that reads the sentence alone.
        multimodal_image_mean: mean per channel of the multimodal view, after rescaling.
        multimodal_image_std: standard deviation per channel of the multimodal view, after rescaling.
        multimodal_antialias: whether Pillow resizes the multimodal view, with antialiasing.
        image_size: the former name of `size`. Where it stands instead, `image_mean` and `image_std` are in units of
            0..255, as they were then.

    Raises:
        ValueError: an unknown layout, or a side that is none.
    """

    model_input_names = [  # noqa: RUF012 - a plain list, as the library declares it
        "pixel_values",
        "multimodal_pixel_values",
        "original_sizes",
        "reshaped_input_sizes",
    ]
    valid_kwargs = EvfSamImageProcessorKwargs

    size = {"height": 1024, "width": 1024}  # noqa: RUF012 - as the library declares defaults
    image_layout = "pad"
    do_resize = True
    resample = Image.Resampling.BILINEAR
    do_rescale = True
    rescale_factor = 1 / 255
    do_normalize = True
    image_mean = IMAGENET_DEFAULT_MEAN
    image_std = IMAGENET_DEFAULT_STD
    multimodal_image_size = 224
    multimodal_image_mean = IMAGENET_STANDARD_MEAN
    multimodal_image_std = IMAGENET_STANDARD_STD
    multimodal_antialias = False

    def __init__(self, **kwargs: Unpack[EvfSamImageProcessorKwargs]):  # type: ignore[misc]
        settings = _settings_of_today(kwargs)
        super().__init__(**settings)
        self._set_attributes(**settings)

    @property
    def image_size(self) -> int:
        """Side S of SAM's view."""
        return self.size["height"]

    @image_size.setter
    def image_size(self, side: int) -> None:
        self.size = SizeDict(height=side, width=side)

    def _standardize_kwargs(self, **kwargs: Any) -> dict[str, Any]:
        """Brings settings into one form, and checks those that are this class's own."""
        settings = super()._standardize_kwargs(**kwargs)
        size, layout, side = settings["size"], settings["image_layout"], settings["multimodal_image_size"]
        if layout not in IMAGE_LAYOUTS:
            raise ValueError(f"image_layout {layout!r} is unknown: use one of {', '.join(IMAGE_LAYOUTS)}")
        if not size.height or size.height != size.width or not 1 <= size.height <= MAX_VIEW:
            raise ValueError(f"size must be one side of 1 to {MAX_VIEW}, or two equal ones, got {dict(size)}")
        if not 0 <= side <= MAX_VIEW:
            raise ValueError(f"multimodal_image_size must be 1 to {MAX_VIEW}, or 0 for none, got {side}")
        if settings.get("do_center_crop") or settings.get("data_format") == ChannelDimension.LAST:
            raise ValueError(
                "do_center_crop and data_format='channels_last' are not available: the views are "
                "(3, height, width) of the whole photo"
            )
        return settings

    def preprocess(
        self,
        images: Photo | Sequence[Photo],
        **kwargs: Unpack[EvfSamImageProcessorKwargs],  # type: ignore[misc]
    ) -> BatchFeature:
        """Prepares one photo or a list of B photos of any sizes, as `photos.to_rgb` accepts them.

        Args:
            images: the photos.
            **kwargs: settings of the class, for this call; and `return_tensors`, "pt" (the default) or "np".

        Returns:
            pixel_values (B, 3, S, S) and, if there is such a view, multimodal_pixel_values (B, 3, s, s), float32;
            original_sizes and reshaped_input_sizes (B, 2), int64: (height, width) of the photo, and of its part of
            SAM's view.

        Raises:
            FileNotFoundError: the path of a photo that does not exist.
            ValueError: no photos, or one that `photos.to_rgb` refuses; the message gives its index.
        """
        return super().preprocess(images, **kwargs)

    def _preprocess_image_like_inputs(
        self, images: Any, return_tensors: str | None = None, **kwargs: Any
    ) -> BatchFeature:
        settings = copy.copy(self)  # this class with the settings of one call
        settings.__dict__.update(kwargs)
        return settings._views(rgb_photos(images), return_tensors or "pt")

    def _views(self, photos: list[Image.Image], return_tensors: str) -> BatchFeature:
        sizes = [(photo.height, photo.width) for photo in photos]
        inputs = {"pixel_values": torch.stack([self.sam_view(photo) for photo in photos])}
        if self.multimodal_image_size:
            inputs["multimodal_pixel_values"] = torch.stack([self.multimodal_view(photo) for photo in photos])
        inputs["original_sizes"] = torch.tensor(sizes)
        inputs["reshaped_input_sizes"] = torch.tensor([self.reshaped_size(*size) for size in sizes])
        return BatchFeature(inputs, tensor_type=return_tensors)

    def reshaped_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) that a photo takes up in SAM's view, before padding."""
        if self.image_layout != "pad":
            return self.image_size, self.image_size
        return resized_size(height, width, self.image_size) if self.do_resize else (height, width)

    def sam_view(self, photo: Image.Image) -> Tensor:
        """(3, S, S) float32 of one RGB photo."""
        side = self.image_size
        if self.do_resize:
            height, width = (
                (side, side) if self.image_layout == "stretch" else resized_size(photo.height, photo.width, side)
            )
            photo = photo.resize((width, height), self.resample)
        fits = max(photo.size) <= side if self.image_layout == "pad" else photo.size == (side, side)
        if not self.do_resize and not fits:
            raise ValueError(
                f"a photo of {photo.width} x {photo.height} pixels is no view of {side} x {side}: resize it"
            )
        pixels, unit = _pixels(photo), self._unit
        if self.do_normalize:  # by rescaled numbers rather than of rescaled pixels, as the original does
            pixels = _normalize(pixels, self.image_mean, self.image_std, unit)
        else:
            pixels = pixels / unit
        if self.image_layout == "pad_stretch":
            return _bilinear(pixels[None], (side, side))[0]
        return F.pad(pixels, (0, side - photo.width, 0, side - photo.height))

    def multimodal_view(self, photo: Image.Image) -> Tensor:
        """(3, s, s) float32 of one RGB photo, for an encoder that sees it."""
        size = (self.multimodal_image_size, self.multimodal_image_size)
        if self.multimodal_antialias:
            pixels = _pixels(photo.resize(size, Image.Resampling.BICUBIC)) / self._unit
        else:  # channel by channel: as floats, a large photo would take more memory than all else
            pixels = torch.cat([self._shrink(photo.getchannel(channel), size) for channel in range(3)])
        if not self.do_normalize:
            return pixels
        return _normalize(pixels, self.multimodal_image_mean, self.multimodal_image_std)

    def _shrink(self, channel: Image.Image, size: tuple[int, int]) -> Tensor:
        """(1, height, width) of one channel, without antialiasing."""
        pixels = torch.from_numpy(np.array(channel)).float().div_(self._unit)  # (H, W)
        return F.interpolate(pixels[None, None], size, mode="bicubic", align_corners=False)[0]

    @property
    def _unit(self) -> float:
        """What a pixel's value is divided by."""
        return 1 / self.rescale_factor if self.do_rescale else 1.0


def _settings_of_today(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings that may have the former `image_size`, and with it means and deviations of values 0..255."""
    settings = dict(settings)
    side = settings.pop("image_size", None)
    if side is None:
        return settings
    for name in ("image_mean", "image_std"):
        if "size" not in settings and name in settings:
            settings[name] = [value / 255 for value in settings[name]]
    return {**settings, "size": {"height": side, "width": side}}


def _pixels(photo: Image.Image) -> Tensor:
    pixels = torch.from_numpy(np.array(photo))  # (height, width, 3), uint8
    return pixels.permute(2, 0, 1).contiguous().float()


def _normalize(pixels: Tensor, mean: Any, std: Any, unit: float = 1.0) -> Tensor:
    """Pixels (3, height, width) with mean and deviation, numbers or one for each channel, in these units."""
    mean, std = ((torch.tensor(value, dtype=torch.float64) * unit).float() for value in (mean, std))
    return (pixels - mean.reshape(-1, 1, 1)) / std.reshape(-1, 1, 1)
