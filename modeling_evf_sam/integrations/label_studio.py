"""An ML backend of Label Studio (label-studio-ml): `python -m modeling_evf_sam.integrations.label_studio`.

The environment says what it loads: EVF_SAM_MODEL and EVF_SAM_DEVICE.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from label_studio_ml.model import LabelStudioMLBase
from label_studio_ml.response import ModelResponse

from modeling_evf_sam.annotations.annotation import AnnotatedPhoto
from modeling_evf_sam.annotations.label_studio import IMAGE, LABELS, task
from modeling_evf_sam.integrations.labeller import Labeller, read_sentences
from modeling_evf_sam.photos import open_photo

PORT = 9090


class EvfSamBackend(LabelStudioMLBase):
    """Brushes for each label of the interface; or for what a user types beside the photo, in the first of them."""

    labeller: Labeller | None = None  # one for all projects

    def setup(self) -> None:
        """Loads the checkpoint once."""
        if EvfSamBackend.labeller is None:
            name, device = os.environ.get("EVF_SAM_MODEL", "rendered_scenes"), os.environ.get("EVF_SAM_DEVICE")
            EvfSamBackend.labeller = Labeller(name, device)
        self.set("model_version", "evf-sam")

    def predict(self, tasks: list[dict], context: dict | None = None, **_: Any) -> ModelResponse:
        """A prediction for each task."""
        tag, image_name, value = self.get_first_tag_occurence("BrushLabels", "Image")
        typed = (context or {}).get("result") or []
        texts = [text for region in typed for text in region["value"].get("text", [])]
        labels = list(self.parsed_label_config[tag]["labels"])
        sentences = read_sentences("\n".join(texts)) if texts else labels
        predictions = []
        for one in tasks:
            file = Path(self.get_local_path(one["data"][value], task_id=one.get("id")))
            photo = open_photo(file)
            assert self.labeller is not None
            found = self.labeller(photo, sentences)
            found = [own if own.label in labels else replace(own, label=labels[0]) for own in found]
            drawn = AnnotatedPhoto(file=file, name=file.name, size=photo.size[::-1], annotations=found)
            (prediction,) = task(drawn)["predictions"]
            names = {LABELS: tag, IMAGE: image_name}
            for region in prediction["result"]:
                region |= {key: names[region[key]] for key in ("from_name", "to_name")}
            predictions.append(prediction)
        return ModelResponse(predictions=predictions)


if __name__ == "__main__":
    from label_studio_ml.api import init_app

    init_app(model_class=EvfSamBackend).run(host="127.0.0.1", port=PORT)
