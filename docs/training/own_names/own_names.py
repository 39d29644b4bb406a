"""Photos of one's own in miniature: what docs/training.md says about sentences of other photos.

    python docs/training/own_names/own_names.py FOLDER

writes drawn scenes with the names of the shapes in them: `train.jsonl` and `test.jsonl`; and `start`, the embedded
checkpoint without its presence head, as a release has none.
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from modeling_evf_sam import DEFAULT_CHECKPOINT, EvfSamModel, EvfSamProcessor
from modeling_evf_sam.data.segmentations import run_lengths
from modeling_evf_sam.rendered_scenes.dataset import RenderedScenes

PHOTOS = {"train": 120, "test": 100}


def write_photos(folder: Path, split: str) -> None:
    """Each line names all things of one shape."""
    lines = []
    (folder / split).mkdir(parents=True)
    scenes = RenderedScenes(split, PHOTOS[split], seed=1)
    for index in range(PHOTOS[split]):
        scene, image = scenes.scene(index), f"{split}/{index}.png"
        Image.fromarray(scene.photo).save(folder / image)
        for shape in sorted({thing.shape for thing in scene.objects}):
            mask = np.any([thing.mask for thing in scene.objects if thing.shape == shape], axis=0)
            lines.append({"image": image, "text": shape, "mask": run_lengths(mask), "semantic": True})
    (folder / f"{split}.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def write_start(folder: Path) -> None:
    """The embedded checkpoint, as if it had never heard of what is not there."""
    model = EvfSamModel.from_pretrained(DEFAULT_CHECKPOINT)
    model.presence_head = model.config.presence = model.config.quality = None
    model.save_pretrained(folder)
    EvfSamProcessor.from_pretrained(DEFAULT_CHECKPOINT).save_pretrained(folder)


if __name__ == "__main__":
    for split in PHOTOS:
        write_photos(Path(sys.argv[1]), split)
    write_start(Path(sys.argv[1]) / "start")
