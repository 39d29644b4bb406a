"""Writes small films for tests."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from modeling_evf_sam.rendered_scenes.films import RenderedFilms

CLOCKWISE = [0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30]  # the display matrix of a phone held upright


def squares(count: int, size: tuple[int, int] = (96, 64)) -> list[np.ndarray]:
    """Frames of width and height `size`, each of another grey, with a bright square in the upper left corner."""
    frames = [np.full((size[1], size[0], 3), 5 * number, np.uint8) for number in range(count)]
    for frame in frames:
        frame[:20, :20] = 250
    return frames


def rendered_frames(count: int) -> list[np.ndarray]:
    """Frames of a rendered film, with even sides."""
    film = RenderedFilms("test", 1, frames=count)[0]
    height, width = (side // 2 * 2 for side in film.photo_size)
    return [frame[:height, :width] for frame in film.frames()]


def write_film(
    path: Path,
    frames: Sequence[np.ndarray],
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
    times: Sequence[int] | None = None,
    matrix: Sequence[int] | None = None,
    fast_start: bool = False,
) -> Path:
    """Writes a film of 25 frames per second, or one with times in hundredths of a second."""
    import av

    muxing: dict[str, Any] = {"options": {"movflags": "faststart"}} if fast_start else {}
    with av.open(str(path), "w", **muxing) as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        if matrix is not None:
            stream.set_display_matrix(matrix)
        stream.codec_context.time_base = Fraction(1, 100)
        for time, pixels_of in zip(times or range(0, 4 * len(frames), 4), frames, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels_of))
            frame.pts, frame.time_base = time, Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
