"""What a Hugging Face inference endpoint runs: a photo and sentences in, masks out."""

import base64
import io
from typing import Any

from PIL import Image
from transformers import pipeline


class EndpointHandler:
    """The pipeline of the repository that this file lies in.

    Args:
        path: its folder.
    """

    def __init__(self, path: str = ""):
        self.segment = pipeline("referring-image-segmentation", model=path, trust_remote_code=True)

    def __call__(self, data: dict[str, Any]) -> list[dict[str, Any]]:
        """Answers one request.

        Args:
            data: `inputs` with `image`, a photo in base64, and `text`, a sentence or a list of them; and options of
                the pipeline in `parameters`.

        Returns:
            For each sentence what the pipeline gives, with the mask as a PNG file in base64.
        """
        inputs = data["inputs"]
        photo = Image.open(io.BytesIO(base64.b64decode(inputs["image"], validate=True)))
        found = self.segment(photo, text=inputs["text"], **data.get("parameters", {}))
        return [{**entry, "mask": _png(entry["mask"])} for entry in found]


def _png(mask: Image.Image) -> str:
    file = io.BytesIO()
    mask.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")
