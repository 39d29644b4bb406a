"""What a Hugging Face inference endpoint runs: a photo and sentences in, masks out."""

import base64
import io
from typing import Any

from PIL import Image
from transformers import pipeline

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")


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
            For each sentence what the pipeline gives, with the mask as a PNG file in base64; nothing for one whose
            mask is empty, such as that of what is taken not to be there.

        Raises:
            ValueError: there is no photo or no sentence, or the pipeline refuses what is asked.
        """
        inputs = data.get("inputs")
        if not isinstance(inputs, dict) or not inputs.keys() >= {"image", "text"}:
            raise ValueError('"inputs" lacks something: give it "image", a photo in base64, and "text"')
        found = self.segment(_photo(inputs["image"]), text=inputs["text"], **data.get("parameters", {}))
        return [{**entry, "mask": _png(entry["mask"])} for entry in found if entry["mask"].getbbox()]


def _photo(text: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=FORMATS)
    except Exception:  # no base64, or whatever Pillow's readers raise on damaged files
        raise ValueError(f'"image" is no photo: give a file of type {", ".join(FORMATS)} in base64') from None


def _png(mask: Image.Image) -> str:
    file = io.BytesIO()
    mask.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")
