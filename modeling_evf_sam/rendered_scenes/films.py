"""Films of rendered scenes: objects that move, hide one another and leave the picture, with exact masks.

A film is a scene whose objects are cut out and moved over the one background. Its sentences name attributes alone, so
that each is true of the same object from the first frame to the last.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count as count_from

import numpy as np

from modeling_evf_sam.rendered_scenes.arranging import arrange
from modeling_evf_sam.rendered_scenes.dataset import SCENE_SPLITS
from modeling_evf_sam.rendered_scenes.expressions import draw_expressions
from modeling_evf_sam.rendered_scenes.motion import FILM_KINDS, centres
from modeling_evf_sam.rendered_scenes.painting import paint
from modeling_evf_sam.rendered_scenes.scene import Arrangement, SceneObject

MIN_FRAMES = 8
PLAIN_SHARE, PLAIN_FRAMES = 0.65, 2 / 3  # each named object shows this share of itself in this share of the frames
GAP = 2  # pixels between two objects of one colour: nearer, they would melt into one another

Pixels = tuple[np.ndarray, np.ndarray]  # rows, columns


@dataclass(frozen=True, kw_only=True)
class CutOut:
    """An object on its own.

    Attributes:
        item: its names and its extent.
        inside: (h, w) bool, its pixels.
        outline: (h, w) bool, those of them that are outline.
    """

    item: SceneObject
    inside: np.ndarray
    outline: np.ndarray

    @property
    def box(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        height, width = self.inside.shape
        return width, height

    def place(self, center: np.ndarray, photo_size: tuple[int, int]) -> tuple[Pixels, Pixels]:
        """Returns the object's pixels inside the picture, with the box's centre at (x, y): there, and in `inside`."""
        left, top = np.rint(center - (np.array(self.box) - 1) / 2).astype(int)
        y, x = np.nonzero(self.inside)
        kept = (0 <= y + top) & (y + top < photo_size[0]) & (0 <= x + left) & (x + left < photo_size[1])
        y, x = y[kept], x[kept]
        return (y + top, x + left), (y, x)


@dataclass(frozen=True, kw_only=True)
class Film:
    """One film; `len(film)` is the number of its frames.

    Attributes:
        name: the split and the number.
        kind: one of `FILM_KINDS`.
        sentences: P of them, each about an object of its own.
        targets: for each sentence the index of its object.
        photo_size: (height, width) of every frame.
        cut_outs: the N objects, in the order of painting.
        centres: (T, N, 2), where each object's box has its centre in each frame: (x, y) in pixels.
        flat: as in `Arrangement`.
        paint_seed: what the colours, the background and the camera effects follow from.
    """

    name: str
    kind: str
    sentences: list[str]
    targets: list[int]
    photo_size: tuple[int, int]
    cut_outs: list[CutOut]
    centres: np.ndarray
    flat: bool
    paint_seed: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.centres)

    def frames(self) -> Iterator[np.ndarray]:
        """Yields each frame, (H, W, 3) uint8, RGB; drawn when it is asked for."""
        for index in range(len(self)):
            # The same seed paints the same background, texture, light and noise below the moved objects.
            yield paint(np.random.default_rng(self.paint_seed), self.arrangement(index))

    def masks(self) -> Iterator[np.ndarray]:
        """Yields for each frame the visible pixels (P, H, W) bool of what each sentence means."""
        for index in range(len(self)):
            objects = self.arrangement(index).objects
            yield np.stack([objects[target].mask for target in self.targets])

    def visible_shares(self) -> np.ndarray:
        """Returns (T, P), the share of its pixels that each sentence's object shows in each frame."""
        areas = [self.cut_outs[target].inside.sum() for target in self.targets]
        return np.stack([masks.sum(axis=(1, 2)) / areas for masks in self.masks()])

    def outside(self) -> np.ndarray:
        """Returns (T, P) bool, where each sentence's object is out of the picture."""
        sides = np.array(self.photo_size[::-1])
        boxes = np.array([self.cut_outs[target].box for target in self.targets])
        from_middle = np.abs(self.centres[:, self.targets] - (sides - 1) / 2)
        return (from_middle >= (sides + boxes) / 2).any(axis=-1)

    def arrangement(self, index: int) -> Arrangement:
        """Returns the objects in their places in frame `index`."""
        object_map, outline_map = np.full(self.photo_size, -1, np.int16), np.zeros(self.photo_size, bool)
        for number, cut_out in enumerate(self.cut_outs):
            there, here = cut_out.place(self.centres[index, number], self.photo_size)
            object_map[there] = number
            outline_map[there] = cut_out.outline[here]
        objects = [
            replace(cut_out.item, center=tuple(center.tolist()), mask=object_map == number)
            for number, (cut_out, center) in enumerate(zip(self.cut_outs, self.centres[index], strict=True))
        ]
        return Arrangement(objects=objects, object_map=object_map, outline_map=outline_map, flat=self.flat)


class RenderedFilms:
    """A sequence of films; film i follows from (seed, split, i), and its kind is the next one in turn.

    Args:
        split: "train", "validation" or "test"; their seeds are disjoint.
        size: number of films.
        frames: frames of each film, at least 8.
        kinds: which of `FILM_KINDS` to show, default all.
        seed: different films for each seed.

    Raises:
        ValueError: for an unknown split or kind, a size below 0, or too few frames.
    """

    def __init__(
        self, split: str, size: int, *, frames: int = 24, kinds: Sequence[str] = tuple(FILM_KINDS), seed: int = 0
    ) -> None:
        if split not in SCENE_SPLITS:
            raise ValueError(f"split {split!r} is unknown; choose one of {', '.join(SCENE_SPLITS)}")
        if not kinds or not set(kinds) <= set(FILM_KINDS):
            raise ValueError(f"kinds {list(kinds)} do not fit; choose at least one of {', '.join(FILM_KINDS)}")
        if size < 0 or frames < MIN_FRAMES:
            raise ValueError(f"size {size} must be >= 0 and frames {frames} must be >= {MIN_FRAMES}")
        self.split, self.size, self.frames, self.kinds, self.seed = split, size, frames, tuple(kinds), seed

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Film:
        """Returns film `index`.

        Raises:
            IndexError: if `index` is not in [0, size).
        """
        if not 0 <= index < self.size:
            raise IndexError(f"film {index} is outside the {self.size} films of this data set")
        attempts = (self._draw(index, attempt) for attempt in count_from())
        return next(film for film in attempts if film is not None)

    def _draw(self, index: int, attempt: int) -> Film | None:
        """One attempt at film `index`; None where the scene or its paths do not allow one."""
        entropy = (self.seed, SCENE_SPLITS.index(self.split), index, attempt, 2)
        rng = np.random.default_rng(entropy)
        arrangement = arrange(rng)
        objects, photo_size = arrangement.objects, arrangement.object_map.shape
        starts, cut_outs = np.array([item.center for item in objects]), _cut_out(arrangement)
        boxes = np.array([cut_out.box for cut_out in cut_outs])
        drawn = draw_expressions(rng, objects, photo_size, count=2 * len(objects), kinds={"attribute": 1.0})
        named = {min(expression.targets): expression.text for expression in drawn}
        if not named or _touching(starts[None], boxes).any():  # an object that is hidden in part is not cut out whole
            return None
        kind = self.kinds[index % len(self.kinds)]
        paths = FILM_KINDS[kind].plan(rng, starts, boxes, np.array(photo_size[::-1]))
        film = Film(
            name=f"{self.split}/{index}",
            kind=kind,
            sentences=list(named.values()),
            targets=list(named),
            photo_size=photo_size,
            cut_outs=cut_outs,
            centres=centres(paths, np.linspace(0, 1, self.frames)),
            flat=arrangement.flat,
            paint_seed=(*entropy, 1),
        )
        colours = np.array([item.colour for item in objects])
        melting = _touching(film.centres, boxes) & (colours[:, None] == colours)
        return None if melting.any() or not _shows_its_kind(film) else film


def _cut_out(arrangement: Arrangement) -> list[CutOut]:
    """Cuts the objects out along the boxes of their visible pixels."""
    found = []
    for item in arrangement.objects:
        rows, columns = (np.flatnonzero(item.mask.any(axis=axis)) for axis in (1, 0))
        window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        inside = item.mask[window]
        found.append(CutOut(item=item, inside=inside, outline=arrangement.outline_map[window] & inside))
    return found


def _touching(middles: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Which boxes, of sizes (N, 2) around middles (T, N, 2), come too near each other in any frame: (N, N) bool."""
    distances = np.abs(middles[:, :, None] - middles[:, None])
    near = (distances < (boxes[:, None] + boxes) / 2 + GAP).all(axis=-1).any(axis=0)
    return near & ~np.eye(len(boxes), dtype=bool)


def _shows_its_kind(film: Film) -> bool:
    """Whether objects are hidden as the film's kind wants it, and each is plain to see in most of the frames."""
    kind, shares = FILM_KINDS[film.kind], film.visible_shares()
    least, most = kind.least_visible
    plain = (shares >= PLAIN_SHARE).mean(axis=0) >= PLAIN_FRAMES
    return bool(plain.all() and least <= shares.min() <= most and film.outside().any() == kind.leaves)
