"""One photo -> the two views of `EvfSamImageProcessor`, and logits back to its size, in numpy and Pillow."""

import json
from dataclasses import asdict, dataclass

import numpy as np
from PIL import Image

from modeling_evf_sam.exported.arrays import Arrays
from modeling_evf_sam.exported.resizing import bicubic, bilinear


@dataclass(frozen=True, kw_only=True)
class Views:
    """The settings of an `EvfSamImageProcessor` under its names, those of rescaling and normalising as numbers.

    Attributes:
        image_size: side S of SAM's view.
        image_layout: "pad", "stretch" or "pad_stretch".
        resample: Pillow's filter for SAM's view.
        unit: what values 0..255 are divided by.
        image_mean: mean per channel of SAM's view, in values 0..1.
        image_std: deviation per channel of SAM's view, in values 0..1.
        multimodal_image_size: side s of the multimodal view; 0 for an encoder that reads the sentence alone.
        multimodal_image_mean: mean per channel of the multimodal view.
        multimodal_image_std: deviation per channel of the multimodal view.
        multimodal_antialias: whether Pillow resizes the multimodal view.
    """

    image_size: int
    image_layout: str
    resample: int
    unit: float
    image_mean: list[float]
    image_std: list[float]
    multimodal_image_size: int
    multimodal_image_mean: list[float]
    multimodal_image_std: list[float]
    multimodal_antialias: bool

    def to_json_string(self) -> str:
        """All settings in one line."""
        return json.dumps(asdict(self))

    def prepare(self, photos: list[Image.Image]) -> Arrays:
        """What `EvfSamImageProcessor.preprocess` makes of RGB photos, as numpy arrays."""
        inputs = Arrays(pixel_values=np.stack([self.sam_view(photo) for photo in photos]))
        if self.multimodal_image_size:
            inputs["multimodal_pixel_values"] = np.stack([self.multimodal_view(photo) for photo in photos])
        sizes = [(photo.height, photo.width) for photo in photos]
        inputs["original_sizes"] = np.array(sizes)
        inputs["reshaped_input_sizes"] = np.array([self.reshaped_size(*size) for size in sizes])
        return inputs

    def reshaped_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) that a photo takes up in SAM's view, before padding."""
        return self._longest_side(height, width) if self.image_layout == "pad" else (self.image_size,) * 2

    def _longest_side(self, height: int, width: int) -> tuple[int, int]:
        scale = self.image_size / max(height, width)
        return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))

    def sam_view(self, photo: Image.Image) -> np.ndarray:
        """(3, S, S) float32 of one RGB photo."""
        side = self.image_size
        height, width = side, side
        if self.image_layout != "stretch":
            height, width = self._longest_side(photo.height, photo.width)
        pixels = _pixels(photo.resize((width, height), Image.Resampling(self.resample)))
        pixels = _normalize(pixels, self.image_mean, self.image_std, self.unit)
        if self.image_layout == "pad_stretch":
            return bilinear(pixels, (side, side))
        return np.pad(pixels, ((0, 0), (0, side - height), (0, side - width)))

    def multimodal_view(self, photo: Image.Image) -> np.ndarray:
        """(3, s, s) float32 of one RGB photo."""
        size = (self.multimodal_image_size,) * 2
        unit = np.float32(self.unit)
        if self.multimodal_antialias:
            pixels = _pixels(photo.resize(size, Image.Resampling.BICUBIC)) / unit
        else:
            pixels = bicubic(_pixels(photo) / unit, size)
        return _normalize(pixels, self.multimodal_image_mean, self.multimodal_image_std)

    def resize_logits(self, logits: np.ndarray, size: tuple[int, int], reshaped: tuple[int, int] | None) -> np.ndarray:
        """Mask logits (h, w) at the photo's size (height, width), as `resize_mask_logits` brings them there."""
        if self.image_layout == "pad":
            height, width = reshaped or self._longest_side(*size)
            logits = bilinear(logits, (self.image_size, self.image_size))[:height, :width]
        return bilinear(logits, size)


def _pixels(photo: Image.Image) -> np.ndarray:
    """(3, height, width) float32, 0..255."""
    return np.ascontiguousarray(np.array(photo).transpose(2, 0, 1)).astype(np.float32)


def _normalize(pixels: np.ndarray, mean: list[float], std: list[float], unit: float = 1.0) -> np.ndarray:
    less, by = ((np.array(value) * unit).astype(np.float32).reshape(-1, 1, 1) for value in (mean, std))
    return (pixels - less) / by
