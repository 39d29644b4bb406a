"""A model of FiftyOne's zoo: it knows this folder once a copy lies in its `model_zoo_dir`."""

from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.core.models as fom
import numpy as np

from modeling_evf_sam.integrations.labeller import Labeller


def download_model(model_name: str, model_path: str) -> None:
    """Nothing is to be fetched beforehand: checkpoints come when they are loaded."""
    Path(model_path).touch()


def load_model(model_name: str | None = None, model_path: str | None = None, **options: Any) -> "EvfSamModel":
    """The model; options are `classes` (sentences), and `model`, `device` and `dtype` of the labeller."""
    return EvfSamModel(**options)


class EvfSamModel(fom.Model):
    """Masks of what sentences name, as detections.

    Args:
        classes: sentences.
        options: of the labeller.
    """

    def __init__(self, classes: list[str], **options: Any):
        self.classes, self.labeller = list(classes), Labeller(**options)

    @property
    def media_type(self) -> str:
        """What it reads."""
        return "image"

    @property
    def ragged_batches(self) -> bool:
        """Photos may have different sizes."""
        return True

    @property
    def transforms(self) -> None:
        """None: it takes photos as they are."""

    @property
    def preprocess(self) -> bool:
        """Whether transforms are applied."""
        return False

    def predict(self, arg: np.ndarray) -> fo.Detections:
        """A photo (H, W, 3) -> its objects, with boxes and masks in parts of the photo."""
        height, width = arg.shape[:2]
        detections = []
        for found in self.labeller(arg, self.classes):
            x0, y0, x1, y1 = map(int, found.box)
            box = [x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height]
            mask = found.mask[y0:y1, x0:x1]
            detections.append(fo.Detection(label=found.label, bounding_box=box, mask=mask, confidence=found.score))
        return fo.Detections(detections=detections)
