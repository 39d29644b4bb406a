"""An auto-annotation function of CVAT (cvat-sdk, extra `cvat`): it runs beside the CVAT client, on this machine.

`cvat-cli task auto-annotate ID --function-module modeling_evf_sam.integrations.cvat -p sentences=str:'the cup; sky'`
"""

import cvat_sdk.auto_annotation as cvataa
from cvat_sdk import models
from cvat_sdk.masks import encode_mask
from PIL import Image

from modeling_evf_sam.inference.polygons import outlines
from modeling_evf_sam.integrations.labeller import Labeller, read_sentences


class CvatFunction:
    """Masks of what sentences name; labels of the task have the sentences' names."""

    def __init__(self, sentences: str, labeller: Labeller):
        self.sentences, self.labeller = read_sentences(sentences), labeller

    @property
    def spec(self) -> cvataa.DetectionFunctionSpec:
        """The labels, in the order of the sentences."""
        labels = [cvataa.label_spec(text, index, type="mask") for index, text in enumerate(self.sentences)]
        return cvataa.DetectionFunctionSpec(labels=labels)

    def detect(self, context: cvataa.DetectionFunctionContext, image: Image.Image) -> list[models.LabeledShapeRequest]:
        """A mask for each object that is there, of at least the client's confidence; or polygons of its parts."""
        least = context.conf_threshold or 0.0
        objects = [found for found in self.labeller(image, self.sentences) if found.score >= least]
        number = self.sentences.index
        if context.conv_mask_to_poly:
            return [cvataa.polygon(number(found.label), ring) for found in objects for ring in outlines(found.mask)]
        return [cvataa.mask(number(found.label), encode_mask(found.mask, found.box)) for found in objects]


def create(sentences: str, model: str = "rendered_scenes", device: str = "") -> CvatFunction:
    """What cvat-cli calls with the parameters given by `-p`."""
    return CvatFunction(sentences, Labeller(model, device))
