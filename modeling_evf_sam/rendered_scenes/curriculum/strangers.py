"""What no rendered scene shows: photos of the world, and what people say of it."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from modeling_evf_sam.data.referring_dataset import ReferringDataset
from modeling_evf_sam.rendered_scenes.curriculum.tokenizer import english_sentences
from modeling_evf_sam.rendered_scenes.expressions import Expression
from modeling_evf_sam.rendered_scenes.scene import Scene, pick

SIDES = (112, 193)  # of a photo's longer side, in pixels, as those of scenes
LEAST_CROP = 0.5  # of each side of the photo
WORDS = (2, 5)  # of a piece of a sentence


class Strangers:
    """Puts photos in the place of scenes, and sentences of the world beside those about scenes.

    Args:
        photos: which show none of the scenes' shapes; their own sentences are about things that no scene shows.
    """

    def __init__(self, photos: Sequence[ReferringDataset]) -> None:
        self.photos = [(dataset, index) for dataset in photos for index in range(len(dataset))]
        self.english = english_sentences()

    def show(self, rng: np.random.Generator, expressions: list[Expression]) -> tuple[Scene, list[Expression]]:
        """A piece of a photo as a scene without objects, and sentences that are untrue of it."""
        dataset, index = pick(rng, self.photos)
        photo, _ = dataset.read(index)
        width, height = (int(side * rng.uniform(LEAST_CROP, 1)) for side in photo.size)
        left, top = int(rng.integers(photo.width - width + 1)), int(rng.integers(photo.height - height + 1))
        scale = rng.integers(*SIDES) / max(width, height)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        piece = photo.resize(size, Image.Resampling.BILINEAR, (left, top, left + width, top + height))
        nothing = np.full(size[::-1], -1, np.int16)
        return Scene(photo=np.asarray(piece), objects=[], object_map=nothing), [_untrue(one) for one in expressions]

    def speak(self, rng: np.random.Generator, expression: Expression) -> Expression:
        """A sentence, or a piece of one, in the place of another: the name of a thing in a photo, or plain English."""
        if self.photos and rng.random() < 0.5:
            dataset, index = pick(rng, self.photos)
            _, targets = dataset.read(index)
            if targets:
                return replace(_untrue(expression), text=pick(rng, targets).sentence)
        words = pick(rng, self.english).strip(".").split()
        length = int(rng.integers(WORDS[0], WORDS[1] + 1))
        start = int(rng.integers(max(1, len(words) - length + 1)))
        return replace(_untrue(expression), text=" ".join(words[start : start + length]))


def _untrue(expression: Expression) -> Expression:
    return replace(expression, kind="absent", targets=frozenset())
