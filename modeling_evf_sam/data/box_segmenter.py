"""Boxes -> masks, by a SAM or a SAM-2: the photo is encoded once for all its boxes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from transformers import PretrainedConfig, Sam2Model, SamModel

from modeling_evf_sam.image_processing_evf_sam import EvfSamImageProcessor, resize_mask_logits

if TYPE_CHECKING:
    from modeling_evf_sam.modeling_evf_sam import EvfSamModel

# model_type -> the class, and how a photo becomes its view; the files of SAM-2 on the Hub are those for video
SAMS = {"sam": (SamModel, "pad"), "sam2": (Sam2Model, "stretch"), "sam2_video": (Sam2Model, "stretch")}


class BoxSegmenter:
    """Draws one mask for each box.

    Args:
        model: a `SamModel`, a `Sam2Model`, or an `EvfSamModel`, whose SAM is used without its sentences.
        image_size: side S of the model's view.
        image_layout: how a photo becomes that view, one of `IMAGE_LAYOUTS`.
        batch_size: boxes that are decoded at a time.
    """

    def __init__(
        self, model: "SamModel | Sam2Model | EvfSamModel", *, image_size: int, image_layout: str, batch_size: int = 64
    ) -> None:
        self.model, self.batch_size = model.eval(), batch_size
        self.sam: Any = getattr(model, "sam", model)
        self.views = EvfSamImageProcessor(image_size=image_size, image_layout=image_layout, multimodal_image_size=0)

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
        original, reshaped = inputs["original_sizes"][0], inputs["reshaped_input_sizes"][0]
        embeddings = self.model.get_image_embeddings(inputs["pixel_values"].to(self.model.dtype))
        scale = (reshaped / original).flip(0).repeat(2)  # (height, width) -> (x, y, x, y)
        corners = torch.tensor(boxes, dtype=torch.float32, device=scale.device).view(-1, 4) * scale
        masks, scores = [], []
        for some in corners.split(self.batch_size):
            outputs = self.sam(
                image_embeddings=embeddings, input_boxes=some[None].to(self.model.dtype), multimask_output=False
            )
            layout = (self.views.image_size, self.views.image_layout, reshaped)
            logits = resize_mask_logits(outputs.pred_masks[0, :, 0], original, *layout)  # (n, H, W)
            masks.append((logits > 0).cpu().numpy())
            scores += outputs.iou_scores[0, :, 0].tolist()
        return np.concatenate(masks), scores


def load_sam(source: str, device: torch.device, *, batch_size: int = 64) -> BoxSegmenter | None:
    """Loads a checkpoint of transformers' SAM or SAM-2 from a folder or the Hub; None where it is something else.

    Raises:
        ValueError: tensors are missing.
        OSError: there is no such checkpoint.
    """
    config, _ = PretrainedConfig.get_config_dict(source)
    if config.get("model_type") not in SAMS:
        return None
    kind, image_layout = SAMS[config["model_type"]]
    model, report = kind.from_pretrained(source, output_loading_info=True)
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise ValueError(f"'{source}' is no whole SAM: {len(missing)} tensors are missing ({', '.join(missing[:3])})")
    image_size = model.config.prompt_encoder_config.image_size
    return BoxSegmenter(model.to(device), image_size=image_size, image_layout=image_layout, batch_size=batch_size)
