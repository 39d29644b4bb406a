"""Rendered scenes: simple shapes on backgrounds, with sentences whose meaning is known exactly.

A scene is arranged (which objects, where), talked about (`expressions`), and painted (`painting`). Every step follows
from one seed, so a data set of any size takes no room on disk.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count as count_from

import numpy as np
from PIL import Image

from modeling_evf_sam.data.referring_sample import ReferringSample
from modeling_evf_sam.rendered_scenes.arranging import arrange
from modeling_evf_sam.rendered_scenes.denying import deny
from modeling_evf_sam.rendered_scenes.expressions import KINDS, Expression, draw_expressions
from modeling_evf_sam.rendered_scenes.painting import paint
from modeling_evf_sam.rendered_scenes.scene import Scene

SCENE_SPLITS = ("train", "validation", "test")


class RenderedScenes:
    """A map-style data set of rendered scenes; item i is a `ReferringSample` that follows from (seed, split, i).

    Args:
        split: "train", "validation" or "test"; their seeds are disjoint.
        size: number of scenes.
        sentences_per_scene: sentences of one sample; fewer only where a scene does not give them, never none.
        kinds: which kinds of sentence to draw ("attribute", "superlative", "relation", "semantic"), default all; as
            a mapping, with the share of each.
        absent: share of the sentences that one word makes untrue: nothing in the scene is what they say. Their kind
            is "absent", and their mask empty.
        seed: a different data set for each seed.

    Raises:
        ValueError: for an unknown split or kind, or a size below 0 or fewer sentences than 1.
    """

    def __init__(
        self,
        split: str,
        size: int,
        *,
        sentences_per_scene: int = 4,
        kinds: Sequence[str] | Mapping[str, float] | None = None,
        absent: float = 0.0,
        seed: int = 0,
    ) -> None:
        if split not in SCENE_SPLITS:
            raise ValueError(f"split {split!r} is unknown; choose one of {', '.join(SCENE_SPLITS)}")
        unknown = sorted(set(kinds or ()) - set(KINDS))
        if unknown or (kinds is not None and not kinds):
            raise ValueError(f"kinds {unknown} are unknown; choose at least one of {', '.join(KINDS)}")
        if size < 0 or sentences_per_scene < 1:
            raise ValueError(f"size {size} must be >= 0 and sentences_per_scene {sentences_per_scene} must be >= 1")
        if not 0 <= absent <= 1:
            raise ValueError(f"absent is a share of the sentences, from 0 to 1, not {absent}")
        self.split, self.size, self.seed, self.absent = split, size, seed, absent
        self.sentences_per_scene = sentences_per_scene
        self.kinds = dict(kinds) if isinstance(kinds, Mapping) else {kind: KINDS[kind] for kind in kinds or KINDS}

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> ReferringSample:
        """Returns sample `index`: a photo with its sentences and their exact masks."""
        scene, expressions = self.draw(index)
        return ReferringSample(
            photo=Image.fromarray(scene.photo),
            sentences=[expression.text for expression in expressions],
            masks=np.stack([np.isin(scene.object_map, list(expression.targets)) for expression in expressions]),
            semantic=[expression.semantic for expression in expressions],
            kinds=[expression.kind for expression in expressions],
            name=f"{self.split}/{index}",
        )

    def scene(self, index: int) -> Scene:
        """Returns the scene below sample `index`, with its objects."""
        return self.draw(index)[0]

    def draw(self, index: int) -> tuple[Scene, list[Expression]]:
        """Returns scene `index` together with its expressions.

        Raises:
            IndexError: if `index` is not in [0, size).
        """
        if not 0 <= index < self.size:
            raise IndexError(f"scene {index} is outside the {self.size} scenes of this data set")
        entropy = (self.seed, SCENE_SPLITS.index(self.split), index)
        for attempt in count_from():
            rng = np.random.default_rng((*entropy, attempt))
            arrangement = arrange(rng)
            expressions = draw_expressions(
                np.random.default_rng((*entropy, attempt, 1)),
                arrangement.objects,
                arrangement.object_map.shape,
                count=self.sentences_per_scene,
                kinds=self.kinds,
            )
            if expressions:
                break
        scene = Scene(photo=paint(rng, arrangement), objects=arrangement.objects, object_map=arrangement.object_map)
        return scene, self._deny_some(np.random.default_rng((*entropy, attempt, 2)), scene, expressions)

    def _deny_some(self, rng: np.random.Generator, scene: Scene, expressions: list[Expression]) -> list[Expression]:
        """Some sentences, as many as `absent` says, give way to others that the scene makes untrue."""
        left = int(self.absent * len(expressions) + rng.random())
        sentences = list(expressions)
        for index in rng.permutation(len(sentences)) if left else ():
            untrue = deny(rng, sentences[index], scene.objects, scene.object_map.shape)
            if untrue is not None and left:
                sentences[index], left = untrue, left - 1
        return sentences


def expression_corpus(count: int, seed: int = 0) -> Iterator[str]:
    """Yields `count` sentences about scenes that are arranged but not painted, for training a tokenizer."""
    left = count
    for index in count_from():
        if left <= 0:
            return
        rng = np.random.default_rng((seed, len(SCENE_SPLITS), index))
        arrangement = arrange(rng)
        photo_size = arrangement.object_map.shape
        for expression in draw_expressions(rng, arrangement.objects, photo_size, count=min(left, 8)):
            left -= 1
            yield expression.text
