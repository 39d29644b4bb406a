"""One photo -> SAM's view and the multimodal encoder's view; and mask logits back to the photo's size."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from transformers.image_processing_utils import BaseImageProcessor, BatchFeature
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD
from transformers.processing_utils import ImagesKwargs

from .configuration_evf_sam import IMAGE_LAYOUTS
from .photos import Photo, to_rgb

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

    image_size: int
    image_layout: str
    multimodal_image_size: int
    multimodal_image_mean: list[float]
    multimodal_image_std: list[float]
    multimodal_antialias: bool


class EvfSamImageProcessor(BaseImageProcessor):
    """Turns photos into the two views that EVF-SAM looks at.

    SAM's view keeps the original's arithmetic: Pillow's bilinear resize on 8-bit values, then `image_mean` and
    `image_std` in units of 0..255. "pad" resizes the longer side to `image_size` and fills up with zeros at the
    right and bottom (SAM-1); "stretch" resizes both sides to it (SAM-2, EfficientSAM); "pad_stretch" resizes the
    longer side to it and then, as float, stretches the other (the first release over SAM-2). The multimodal view
    is stretched with bicubic interpolation from values 0..1: for BEIT-3 without antialiasing and without clamping,
    as the original does, otherwise by Pillow on 8-bit values. The whole photo becomes a square for every encoder, as
    a centre crop would cut away what a sentence may ask for.

    Args:
        image_size: side S of SAM's view.
        image_layout: "pad", "stretch" or "pad_stretch".
        image_mean: mean per channel of SAM's view, 0..255.
        image_std: standard deviation per channel of SAM's view, 0..255.
        multimodal_image_size: side s of the multimodal view; 0 for an encoder that reads the sentence alone.
        multimodal_image_mean: mean per channel of the multimodal view, 0..1.
        multimodal_image_std: standard deviation per channel of the multimodal view, 0..1.
        multimodal_antialias: whether Pillow resizes the multimodal view, with antialiasing.

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

    def __init__(
        self,
        *,
        image_size: int = 1024,
        image_layout: str = "pad",
        image_mean: Sequence[float] = (123.675, 116.28, 103.53),
        image_std: Sequence[float] = (58.395, 57.12, 57.375),
        multimodal_image_size: int = 224,
        multimodal_image_mean: Sequence[float] = (0.5, 0.5, 0.5),
        multimodal_image_std: Sequence[float] = (0.5, 0.5, 0.5),
        multimodal_antialias: bool = False,
        **kwargs: Any,
    ):
        if image_layout not in IMAGE_LAYOUTS:
            raise ValueError(f"image_layout {image_layout!r} is unknown: use one of {', '.join(IMAGE_LAYOUTS)}")
        if image_size < 1:
            raise ValueError(f"image_size must be at least 1, got {image_size}")
        if multimodal_image_size < 0:
            raise ValueError(f"multimodal_image_size must be at least 1, or 0 for none, got {multimodal_image_size}")
        super().__init__(**kwargs)
        self.image_size = image_size
        self.image_layout = image_layout
        self.image_mean = list(image_mean)
        self.image_std = list(image_std)
        self.multimodal_image_size = multimodal_image_size
        self.multimodal_image_mean = list(multimodal_image_mean)
        self.multimodal_image_std = list(multimodal_image_std)
        self.multimodal_antialias = multimodal_antialias

    def preprocess(self, images: Photo | Sequence[Photo], return_tensors: str = "pt") -> BatchFeature:
        """Prepares one photo or a list of B photos of any sizes, as `photos.to_rgb` accepts them.

        Returns:
            pixel_values (B, 3, S, S) and, if there is such a view, multimodal_pixel_values (B, 3, s, s), float32;
            original_sizes and reshaped_input_sizes (B, 2), int64: (height, width) of the photo, and of its part of
            SAM's view.

        Raises:
            ValueError: no photos, or one that `photos.to_rgb` refuses; the message gives its index.
        """
        if return_tensors != "pt":
            raise ValueError(f"return_tensors={return_tensors!r} is not available: use 'pt'")
        photos = _rgb_photos(images)
        sizes = [(photo.height, photo.width) for photo in photos]
        inputs = BatchFeature({"pixel_values": torch.stack([self.sam_view(photo) for photo in photos])})
        if self.multimodal_image_size:
            inputs["multimodal_pixel_values"] = torch.stack([self.multimodal_view(photo) for photo in photos])
        inputs["original_sizes"] = torch.tensor(sizes)
        inputs["reshaped_input_sizes"] = torch.tensor([self.reshaped_size(*size) for size in sizes])
        return inputs

    def reshaped_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) that a photo takes up in SAM's view, before padding."""
        if self.image_layout == "pad":
            return resized_size(height, width, self.image_size)
        return self.image_size, self.image_size

    def sam_view(self, photo: Image.Image) -> Tensor:
        """(3, S, S) float32 of one RGB photo."""
        height = width = self.image_size
        if self.image_layout != "stretch":
            height, width = resized_size(photo.height, photo.width, self.image_size)
        pixels = _pixels(photo.resize((width, height), Image.Resampling.BILINEAR))
        pixels = _normalize(pixels, self.image_mean, self.image_std)
        if self.image_layout == "pad_stretch":
            return _bilinear(pixels[None], (self.image_size, self.image_size))[0]
        return F.pad(pixels, (0, self.image_size - width, 0, self.image_size - height))

    def multimodal_view(self, photo: Image.Image) -> Tensor:
        """(3, s, s) float32 of one RGB photo, for an encoder that sees it."""
        size = (self.multimodal_image_size, self.multimodal_image_size)
        if self.multimodal_antialias:
            pixels = _pixels(photo.resize(size, Image.Resampling.BICUBIC)) / 255
        else:
            pixels = F.interpolate(_pixels(photo)[None] / 255, size, mode="bicubic", align_corners=False)[0]
        return _normalize(pixels, self.multimodal_image_mean, self.multimodal_image_std)


def _rgb_photos(images: Photo | Sequence[Photo]) -> list[Image.Image]:
    photos = []
    for index, image in enumerate(images if isinstance(images, (list, tuple)) else [images]):
        try:
            photos.append(to_rgb(image))
        except ValueError as error:
            raise ValueError(f"photo {index}: {error}") from error
    if not photos:
        raise ValueError("no photos given: pass at least one")
    return photos


def _pixels(photo: Image.Image) -> Tensor:
    pixels = torch.from_numpy(np.array(photo))  # (height, width, 3), uint8
    return pixels.permute(2, 0, 1).contiguous().float()


def _normalize(pixels: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    return (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
