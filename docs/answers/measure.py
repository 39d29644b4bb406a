"""Writes measures.json: instances and label maps of the embedded checkpoint against rendered scenes, known exactly."""

import argparse
import json
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from unittest import mock

import numpy as np

from modeling_evf_sam import DEFAULT_CHECKPOINT, EvfSamModel, EvfSamProcessor
from modeling_evf_sam.inference import instances
from modeling_evf_sam.inference.components import label_components
from modeling_evf_sam.inference.instances import Instance
from modeling_evf_sam.inference.label_maps import label_map
from modeling_evf_sam.inference.segmenting import segment
from modeling_evf_sam.rendered_scenes.dataset import RenderedScenes
from modeling_evf_sam.rendered_scenes.scene import COLOURS, SHAPES, Scene

Loaded = tuple[EvfSamModel, EvfSamProcessor]
CATEGORIES = {
    "shapes": list(SHAPES),
    "colours and shapes": [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES],
}


@cache
def load(source: str) -> Loaded:
    """A checkpoint by its folder."""
    return EvfSamModel.from_pretrained(source).eval(), EvfSamProcessor.from_pretrained(source)


def iou(first: np.ndarray, second: np.ndarray) -> float:
    """Of two masks (H, W)."""
    return float((first & second).sum() / max(1, (first | second).sum()))


def several_objects(size: int) -> Iterator[tuple[Scene, str, list[np.ndarray]]]:
    """Scenes with sentences for two to four objects of a category, and the mask of each."""
    scenes = RenderedScenes("test", size, kinds=["semantic"], sentences_per_scene=1)
    for index in range(size):
        scene, expressions = scenes.draw(index)
        for expression in expressions:
            if 2 <= len(expression.targets) <= 4:
                yield scene, expression.text, [scene.object_map == target for target in sorted(expression.targets)]


def panoptic_quality(found: Sequence[list[Instance]], truth: Sequence[list[np.ndarray]]) -> dict[str, float]:
    """Panoptic quality (Kirillov et al. 2019) of all answers, its parts, and how often the number is right."""
    hits = [score for own, true in zip(found, truth, strict=True) for score in matched(own, true)]
    predicted, real = sum(map(len, found)), sum(map(len, truth))
    counts = [len(own) == len(true) for own, true in zip(found, truth, strict=True)]
    parts = [label_components(np.any(true, axis=0)).max() for true in truth]
    apart = [right for right, own, true in zip(counts, parts, truth, strict=True) if own == len(true)]
    return {
        "panoptic quality": sum(hits) / ((predicted + real) / 2),
        "IoU of those found": float(np.mean(hits)) if hits else 0.0,
        "precision": len(hits) / max(1, predicted),
        "recall": len(hits) / real,
        "right number": float(np.mean(counts)),
        "of which apart": len(apart),
        "right number of those apart": float(np.mean(apart)),
    }


def matched(found: list[Instance], truth: list[np.ndarray]) -> list[float]:
    """IoUs above a half; where masks do not overlap, there is one for each object at the most."""
    best = [max((iou(instance.mask, true) for instance in found), default=0.0) for true in truth]
    return [score for score in best if score > 0.5]


def measure_instances(loaded: Loaded, size: int, agreement: float) -> dict[str, float]:
    """What instances are worth where SAM's own mask takes the place of a part at this IoU."""
    found, truth = [], []
    for scene, sentence, masks in several_objects(size):
        with mock.patch.object(instances, "AGREEMENT", agreement):
            (result,) = segment(*loaded, [scene.photo], [[sentence]], semantic=True, instances=True)
        found.append(result.instances[0])
        truth.append(masks)
    return {"sentences": len(truth), **panoptic_quality(found, truth)}


def true_map(scene: Scene, categories: Sequence[str]) -> np.ndarray:
    """(H, W) the number of the category that an object's name ends with, counted from 1; 0 elsewhere."""
    names = [f"{item.colour} {item.shape}" for item in scene.objects]
    numbers = [next(k for k, category in enumerate(categories, 1) if name.endswith(category)) for name in names]
    return np.array([*numbers, 0])[scene.object_map]  # -1, the background, is the last


def measure_label_maps(loaded: Loaded, size: int, categories: list[str]) -> dict[str, float]:
    """Mean IoU of the categories, each over all scenes, in maps of all of them; and the share of right pixels."""
    scenes = RenderedScenes("test", size)
    confusion = np.zeros((len(categories) + 1,) * 2)  # [true, found]
    for scene in map(scenes.scene, range(size)):
        found = label_map(*loaded, scene.photo, categories).indices
        np.add.at(confusion, (true_map(scene, categories), found), 1)
    hits = confusion.diagonal()
    ious = (hits / (confusion.sum(0) + confusion.sum(1) - hits))[1:]
    return {"scenes": size, "mean IoU": float(np.nanmean(ious)), "right pixels": float(hits.sum() / confusion.sum())}


def measure(source: str, size: int) -> dict:
    """All figures, rounded."""
    loaded = load(source)
    parts = {f"SAM's mask at IoU {at}": measure_instances(loaded, size, at) for at in (0.5, 0.8, 0.9, 1.01)}
    maps = {name: measure_label_maps(loaded, size, categories) for name, categories in CATEGORIES.items()}
    return json.loads(json.dumps({"instances": parts, "label maps": maps}), parse_float=lambda x: round(float(x), 3))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=DEFAULT_CHECKPOINT)
    parser.add_argument("--size", type=int, default=100, help="scenes")
    options = parser.parse_args()
    measures = measure(str(options.model), options.size)
    print(json.dumps(measures, indent=2))
    Path(__file__).with_name("measures.json").write_text(json.dumps(measures, indent=2) + "\n", encoding="utf-8")
