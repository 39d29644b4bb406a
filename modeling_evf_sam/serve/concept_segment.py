"""The request and the answer of Roboflow's /sam3/concept_segment, so that its clients need another address alone."""

import time
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from modeling_evf_sam.data.segmentations import run_lengths
from modeling_evf_sam.inference.polygons import outlines
from modeling_evf_sam.inference.segmentation import Segmentation
from modeling_evf_sam.serve.engine import Asked
from modeling_evf_sam.serve.messages import MAX_SENTENCES, Sentence


class Base64Image(BaseModel):
    """A photo; addresses are not fetched."""

    model_config = ConfigDict(extra="ignore")
    type: Literal["base64"]
    value: str


class TextPrompt(BaseModel):
    """A concept by its name."""

    model_config = ConfigDict(extra="ignore")
    type: Literal["text"] = "text"
    text: Sentence


class ConceptRequest(BaseModel):
    """A photo and concepts; what else such clients send, such as api_key and model_id, is not looked at."""

    model_config = ConfigDict(extra="ignore")
    image: Base64Image
    prompts: Annotated[list[TextPrompt], Field(min_length=1, max_length=MAX_SENTENCES)]
    output_prob_thresh: Annotated[float, Field(ge=0, le=1)] = 0.5
    format: Literal["polygon", "rle"] = "polygon"

    def asked(self, semantic: bool) -> Asked:
        """All objects of each concept.

        Args:
            semantic: whether the checkpoint can be asked for all of a kind.
        """
        count = len(self.prompts)
        return Asked(
            sentences=[prompt.text for prompt in self.prompts],
            semantic=[semantic] * count,
            points=[[] for _ in range(count)],
            point_labels=[[] for _ in range(count)],
            boxes=[None] * count,
            exclude=[[] for _ in range(count)],
            instances=True,
        )

    def answer(self, found: Segmentation, start: float) -> dict[str, Any]:
        """What its clients read: the objects of each prompt whose score is high enough; `start` is when it came."""
        results = [
            {
                "prompt_index": index,
                "echo": {"prompt_index": index, "type": "text", "text": prompt.text, "num_boxes": 0},
                "predictions": [
                    {
                        "format": self.format,
                        "confidence": instance.score,
                        "masks": _polygons(instance.mask) if self.format == "polygon" else run_lengths(instance.mask),
                    }
                    for instance in instances
                    if instance.score >= self.output_prob_thresh
                ],
            }
            for index, (prompt, instances) in enumerate(zip(self.prompts, found.instances or [], strict=True))
        ]
        return {"prompt_results": results, "time": time.perf_counter() - start}


def _polygons(mask: Any) -> list[list[list[float]]]:
    return [[[x, y] for x, y in zip(ring[::2], ring[1::2], strict=True)] for ring in outlines(mask)]
