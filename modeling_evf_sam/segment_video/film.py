"""A film, whatever it is stored as: frames in order, each with its number and its time."""

from abc import ABC, abstractmethod
from bisect import bisect_left
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """A frame that can be read.

    Attributes:
        number: its place in the film, from 0; damaged frames have numbers, too.
        time: seconds from the film's beginning.
        name: what an annotation file calls it.
    """

    number: int
    time: Fraction
    name: str


class Film(ABC):
    """The frames of a film that can be read: `len(film)` of them, `film[index]` in any order, upright and RGB.

    The whole film is looked at when it is opened, so that damage is known before the work begins.

    Attributes:
        path: the file or folder.
        size: (width, height) of every frame.
        rate: frames per second, on average.
        pixel_aspect: the width of a pixel over its height.
        stamps: one for each frame.
        damage: one line for each thing that cannot be read.
    """

    size: tuple[int, int]
    rate: Fraction
    pixel_aspect = Fraction(1)

    def __init__(self, path: Path, *, skip_damaged: bool):
        self.path = path
        self.stamps: list[Stamp] = []
        self.damage: list[str] = []
        self._skip_damaged = skip_damaged

    def __len__(self) -> int:
        return len(self.stamps)

    @abstractmethod
    def __getitem__(self, index: int) -> Image.Image:
        """Reads frame `index` of those that can be read."""

    def index(self, number: int) -> int:
        """Where the frame of that number stands among those that can be read.

        Raises:
            ValueError: the film has no such frame, or it is damaged.
        """
        place = bisect_left(self.stamps, number, key=lambda stamp: stamp.number)
        if place < len(self) and self.stamps[place].number == number:
            return place
        reason = f"its last one is {self.stamps[-1].number}" if place == len(self) else "it is damaged"
        raise ValueError(f"film '{self.path}' has no frame {number} ({reason}): choose another")

    def identity(self) -> dict[str, Any]:
        """What tells this film from others, ready for JSON."""
        files = [self.path / stamp.name for stamp in self.stamps] if self.path.is_dir() else [self.path]
        size = sum(file.stat().st_size for file in files)
        return {"path": str(self.path.absolute()), "bytes": size, "frames": len(self)}

    def _note(self, damage: str) -> None:
        """Remembers damage, or ends the work."""
        if not self._skip_damaged:
            raise ValueError(f"film '{self.path}': {damage}: repair it, or leave such frames out by --bad-frames skip")
        self.damage.append(damage)

    def _check_frames(self) -> None:
        if not self.stamps:
            raise ValueError(f"film '{self.path}' has no frame that can be read: give another")

    def _has_size(self, width: int, height: int) -> bool:
        """Whether a frame is as large as the first one."""
        if not self.stamps:
            self.size = (width, height)
        return self.size == (width, height)
