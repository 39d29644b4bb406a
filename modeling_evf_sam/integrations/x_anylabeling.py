"""A model of X-AnyLabeling-Server: a file in its app/models imports this one, which its registry then knows.

`from modeling_evf_sam.integrations.x_anylabeling import EvfSam`
"""

from typing import Any

import numpy as np
from app.core.registry import register_model
from app.models import BaseModel

from modeling_evf_sam.inference.polygons import outlines
from modeling_evf_sam.integrations.labeller import Labeller, read_sentences


@register_model("evf_sam")
class EvfSam(BaseModel):
    """Polygons of what `text_prompt` names; `params` of its YAML file may say model, device and dtype."""

    def load(self) -> None:
        """Loads the checkpoint."""
        self.labeller = Labeller(**{name: self.params.get(name) for name in ("device", "dtype")}, **self._model())

    def _model(self) -> dict[str, str]:
        return {"model": self.params["model"]} if "model" in self.params else {}

    def predict(self, image: np.ndarray, params: dict[str, Any]) -> dict[str, Any]:
        """A photo (H, W, 3) in blue, green, red -> a polygon for each part of each object."""
        least = params.get("conf_threshold", 0.0)
        shapes = [
            {
                "label": found.label,
                "shape_type": "polygon",
                "points": [*zip(ring[::2], ring[1::2], strict=True), (ring[0], ring[1])],
                "score": min(max(found.score, 0.0), 1.0),  # the server refuses others, and SAM's estimates go beyond
            }
            for found in self.labeller(np.ascontiguousarray(image[..., ::-1]), self._sentences(params))
            if found.score >= least
            for ring in outlines(found.mask)
        ]
        return {"shapes": shapes, "description": ""}

    def _sentences(self, params: dict[str, Any]) -> list[str]:
        return read_sentences(params.get("text_prompt") or "")

    def unload(self) -> None:
        """Forgets the checkpoint."""
        del self.labeller
