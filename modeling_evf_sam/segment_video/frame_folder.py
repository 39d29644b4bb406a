"""A film as a folder of photos."""

import re
from fractions import Fraction
from pathlib import Path

from PIL import Image

from modeling_evf_sam.photos import open_photo
from modeling_evf_sam.segment_video.film import Film, Stamp

SUFFIXES = {".png", ".jpg", ".jpeg"}
RATE = Fraction(25)  # nothing in a folder tells


class FrameFolder(Film):
    """PNG and JPEG files, in the order of the numbers in their names: frame 2 comes before frame 10.

    Args:
        path: the folder.
        limit: frames to look at; None for all.
        skip_damaged: go on without the frames that cannot be read.

    Raises:
        ValueError: there is no frame, or one is damaged.
    """

    rate = RATE

    def __init__(self, path: Path, *, limit: int | None = None, skip_damaged: bool = False):
        super().__init__(path, skip_damaged=skip_damaged)
        files = sorted((file for file in path.iterdir() if file.suffix.lower() in SUFFIXES), key=_natural)
        for number, file in enumerate(files[:limit]):
            problem = self._problem(file)
            if problem:
                self._note(f"frame {number} is damaged ({problem})")
            else:
                self.stamps.append(Stamp(number=number, time=number / RATE, name=file.name))
        self._check_frames()

    def __getitem__(self, index: int) -> Image.Image:
        return open_photo(self.path / self.stamps[index].name)

    def _problem(self, file: Path) -> str:
        try:
            size = open_photo(file).size
        except (ValueError, OSError) as error:
            return str(error)
        if not self._has_size(*size):
            return f"'{file.name}' has {size[0]} x {size[1]} pixels, the first frame {self.size[0]} x {self.size[1]}"
        return ""


def _natural(file: Path) -> list[tuple[int, str]]:
    """Numbers in the name count as such."""
    parts = re.findall(r"\d+|\D+", file.name.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
