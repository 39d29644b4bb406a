"""Boxes -> masks, by a SAM or a SAM-2: the photo is encoded once for all its boxes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import PretrainedConfig, Sam2Model, SamModel

from modeling_evf_sam.image_processing_evf_sam import EvfSamImageProcessor, resize_mask_logits
from modeling_evf_sam.modeling_evf_sam import EvfSamModel

# The Fourier matrices stay in float32: in bfloat16, places are wrong by pixels. `EvfSamModel` does the same.
EXACT = {"positional_embedding"}


class ExactSam(SamModel):
    """SAM with exact places of prompts in every precision."""

    _keep_in_fp32_modules_strict = EXACT


class ExactSam2(Sam2Model):
    """The same of SAM-2."""

    _keep_in_fp32_modules_strict = EXACT


# model_type -> the class, and how a photo becomes its view; the files of SAM-2 on the Hub are those for video
SAMS: dict[str, tuple[Any, str]] = {
    "sam": (ExactSam, "pad"),
    "sam2": (ExactSam2, "stretch"),
    "sam2_video": (ExactSam2, "stretch"),
}


class BoxSegmenter:
    """Draws one mask for each box.

    Args:
        model: a `SamModel`, a `Sam2Model`, or an `EvfSamModel`, whose SAM is used without its sentences.
        image_size: side S of the model's view.
        image_layout: how a photo becomes that view, one of `IMAGE_LAYOUTS`.
        batch_size: boxes that are decoded at a time.
    """

    def __init__(
        self, model: SamModel | Sam2Model | EvfSamModel, *, image_size: int, image_layout: str, batch_size: int = 64
    ) -> None:
        self.model: Any = model.eval()
        self.batch_size = batch_size
        self.sam: Any = model.sam if isinstance(model, EvfSamModel) else model
        self.dtype = next(self.sam.mask_decoder.parameters()).dtype
        self.views = EvfSamImageProcessor(size=image_size, image_layout=image_layout, multimodal_image_size=0)

    @torch.no_grad()
    def __call__(self, photo: Image.Image, boxes: Sequence[Sequence[float]]) -> tuple[np.ndarray, list[float]]:
        """Segments what N boxes hold.

        Args:
            photo: RGB, of size (H, W).
            boxes: N times x0, y0, x1, y1 in pixels of the photo.

        Returns:
            Masks (N, H, W) bool, and N of SAM's own estimates of their IoU.
        """
        inputs = self.views.preprocess(photo).to(self.model.device)
        embeddings = self.model.get_image_embeddings(inputs["pixel_values"].to(self.dtype))
        return self.decode(embeddings, inputs["original_sizes"][0], inputs["reshaped_input_sizes"][0], boxes)

    @torch.no_grad()
    def decode(
        self,
        embeddings: Tensor | list[Tensor],
        original_size: Tensor,
        reshaped_size: Tensor,
        boxes: Sequence[Sequence[float]],
    ) -> tuple[np.ndarray, list[float]]:
        """The same for a photo that is encoded.

        Args:
            embeddings: what the model's `get_image_embeddings` returned for this photo alone.
            original_size: (2,) height and width of the photo.
            reshaped_size: (2,) height and width that it takes up in the view.
            boxes: N of them, as above.
        """
        scale = (reshaped_size / original_size).flip(0).repeat(2)  # (height, width) -> (x, y, x, y)
        corners = torch.tensor(boxes, dtype=torch.float32, device=scale.device).view(-1, 4) * scale
        masks, scores = [], []
        for some in corners.split(self.batch_size):
            coarse_logits, iou_scores = self._decode(embeddings, some)
            layout = (self.views.image_size, self.views.image_layout, reshaped_size)
            logits = resize_mask_logits(coarse_logits, original_size, *layout)  # (n, H, W)
            masks.append((logits > 0).cpu().numpy())
            scores += iou_scores.tolist()
        return np.concatenate(masks), scores

    def _decode(self, embeddings: Tensor | list[Tensor], boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (n, h, w) and scores (n,) of n boxes in pixels of the view.

        The boxes are not cast to the model's type: bfloat16 would round them by up to 4 pixels.
        """
        *fine, coarse = [embeddings] if isinstance(embeddings, Tensor) else embeddings
        sparse, dense = self.sam.prompt_encoder(
            input_points=None, input_labels=None, input_boxes=boxes[None], input_masks=None
        )
        masks, scores, *_ = self.sam.mask_decoder(
            image_embeddings=coarse,
            image_positional_embeddings=self.sam.get_image_wide_positional_embeddings().to(self.dtype),
            sparse_prompt_embeddings=sparse.to(self.dtype),
            dense_prompt_embeddings=dense.to(self.dtype),
            multimask_output=False,
            **({"high_resolution_features": fine} if fine else {}),
        )
        return masks[0, :, 0], scores[0, :, 0]


def load_sam(
    source: str, device: torch.device, dtype: torch.dtype = torch.float32, *, batch_size: int = 64
) -> BoxSegmenter | None:
    """Loads a checkpoint of transformers' SAM or SAM-2 from a folder or the Hub; None where it is something else.

    Args:
        source: the folder, or the id on the Hub.
        device: where to compute.
        dtype: to compute in.
        batch_size: boxes that are decoded at a time.

    Raises:
        ValueError: tensors are missing.
        OSError: there is no such checkpoint.
    """
    config, _ = PretrainedConfig.get_config_dict(source)
    if config.get("model_type") not in SAMS:
        return None
    kind, image_layout = SAMS[config["model_type"]]
    model, report = kind.from_pretrained(source, dtype=dtype, output_loading_info=True)
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise ValueError(f"'{source}' is no whole SAM: {len(missing)} tensors are missing ({', '.join(missing[:3])})")
    image_size = model.config.prompt_encoder_config.image_size
    return BoxSegmenter(model.to(device), image_size=image_size, image_layout=image_layout, batch_size=batch_size)
