"""What all datasets of annotated photos share: lazy reading, a choice of sentences, errors that name the file."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from modeling_evf_sam.data.referring_sample import ReferringSample


@dataclass(frozen=True, kw_only=True)
class Target:
    """One sentence about a photo, its mask not yet drawn.

    Attributes:
        sentence: without the `[semantic]` prefix.
        draw: gives its mask, (H, W) bool; called once where several sentences of a photo share it.
        semantic: whether every pixel of a category is meant.
        kind: the group that it is scored in, or "".
    """

    sentence: str
    draw: Callable[[], np.ndarray]
    semantic: bool = False
    kind: str = ""


class ReferringDataset(ABC):
    """A map-style dataset whose item i is photo i with its sentences; the same in every process, at any time."""

    @abstractmethod
    def __len__(self) -> int:
        """The number of photos."""

    @abstractmethod
    def read(self, index: int) -> tuple[Image.Image, list[Target]]:
        """Opens photo `index`, in [0, length), with all that is said about it."""

    def photo_name(self, index: int) -> str:
        """Which photo that is, in reports: the path of its file within the folder of photos, where there is one."""
        return str(index)

    def __getitem__(self, index: int) -> ReferringSample:
        """Returns photo `index` with all its sentences.

        Raises:
            IndexError: `index` is not in [0, length).
            ValueError, OSError: the files are missing, damaged, or do not fit together; names file and entry.
        """
        return self.draw(index)

    def draw(
        self, index: int, *, max_sentences: int | None = None, rng: np.random.Generator | None = None
    ) -> ReferringSample:
        """Returns photo `index` with at most `max_sentences` of its sentences; `rng` chooses where there are more."""
        if not 0 <= index < len(self):
            raise IndexError(f"photo {index} is outside the {len(self)} photos of this dataset")
        photo, targets = self.read(index)
        if max_sentences is not None and len(targets) > max_sentences:
            assert rng is not None
            targets = [targets[i] for i in rng.choice(len(targets), max_sentences, replace=False)]
        masks = np.empty((len(targets), photo.height, photo.width), dtype=bool)
        drawn: dict[Callable[[], np.ndarray], np.ndarray] = {}
        for mask, target in zip(masks, targets, strict=True):
            if target.draw not in drawn:
                drawn[target.draw] = target.draw()
            mask[:] = drawn[target.draw]
        return ReferringSample(
            photo=photo,
            sentences=[target.sentence for target in targets],
            masks=masks,
            semantic=[target.semantic for target in targets],
            kinds=[target.kind for target in targets],
            name=self.photo_name(index),
        )
