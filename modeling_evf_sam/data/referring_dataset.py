"""What all datasets of annotated photos share: lazy reading, a choice of sentences, errors that name the file."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image

from modeling_evf_sam.data.referring_sample import ReferringSample

ABSENT = "absent"  # the kind of a sentence that was taken from another photo
ATTEMPTS = 20  # to find one whose categories a photo does not show
# A sentence of these words alone says where and not what: in most photos it means something.
PLACES = frozenset(
    "a and at back behind bottom by center centre close closer closest corner far farthest first front furthest from "
    "guess in is it last left leftmost lower middle most near nearest next of on one only other right rightmost "
    "second side that the thing third this to top upper very which with".split()
)


@dataclass(frozen=True, kw_only=True)
class Target:
    """One sentence about a photo, its mask not yet drawn.

    Attributes:
        sentence: without the `[semantic]` prefix.
        draw: gives its mask, (H, W) bool; called once where several sentences of a photo share it.
        semantic: whether every pixel of a category is meant.
        kind: the group that it is scored in, or "".
        categories: of what it means, as its dataset tells them apart; empty where it means nothing in its photo.
    """

    sentence: str
    draw: Callable[[], np.ndarray]
    semantic: bool = False
    kind: str = ""
    categories: frozenset[Hashable] = frozenset()


class ReferringDataset(ABC):
    """A map-style dataset whose item i is photo i with its sentences; the same in every process, at any time."""

    @abstractmethod
    def __len__(self) -> int:
        """The number of photos."""

    @abstractmethod
    def read(self, index: int) -> tuple[Image.Image, list[Target]]:
        """Opens photo `index`, in [0, length), with all that is said about it."""

    def targets(self, index: int) -> list[Target]:
        """All that is said about photo `index`; quicker than `read` where this needs no look at the photo."""
        return self.read(index)[1]

    def categories(self, index: int) -> frozenset[Hashable]:
        """Every category that photo `index` shows, spoken of or not; by default those of its sentences.

        Raises:
            ValueError: the annotations do not say.
        """
        return frozenset().union(*(target.categories for target in self.targets(index)))

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
        self,
        index: int,
        *,
        max_sentences: int | None = None,
        negatives: float = 0.0,
        rng: np.random.Generator | None = None,
    ) -> ReferringSample:
        """Returns photo `index` with some of its sentences, and some of other photos.

        Args:
            index: which photo.
            max_sentences: at the most; `rng` chooses where there are more.
            negatives: how likely a sentence gives its place to one of another photo, all of whose categories are
                missing from this one: its mask is empty, its kind "absent". A sentence that means nothing in its own
                photo stays, and so do all where no such sentence is found.
            rng: needed for a choice.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"photo {index} is outside the {len(self)} photos of this dataset")
        photo, targets = self.read(index)
        if max_sentences is not None and len(targets) > max_sentences:
            assert rng is not None
            targets = [targets[i] for i in rng.choice(len(targets), max_sentences, replace=False)]
        if negatives:
            assert rng is not None
            targets = [
                self._absent_from(index, photo, rng) or target
                if target.categories and rng.random() < negatives
                else target
                for target in targets
            ]
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

    def _absent_from(self, index: int, photo: Image.Image, rng: np.random.Generator) -> Target | None:
        """A sentence of another photo about what photo `index` does not show."""
        shown = self.categories(index)
        for _ in range(ATTEMPTS):
            others = self.targets(int(rng.integers(len(self))))
            target = others[rng.integers(len(others))] if others else None
            if target and target.categories and shown.isdisjoint(target.categories) and naming_words(target.sentence):
                empty = partial(np.zeros, (photo.height, photo.width), dtype=bool)
                return Target(sentence=target.sentence, draw=empty, semantic=target.semantic, kind=ABSENT)
        return None


def naming_words(sentence: str) -> frozenset[str]:
    """The words of a sentence that say what is meant, not where; a plural's s is left out."""
    words = frozenset(re.findall(r"\w+", sentence.lower())) - PLACES
    return frozenset(word.rstrip("s") or word for word in words)
