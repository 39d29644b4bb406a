"""The film with the masks drawn in."""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import cycle, groupby, islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream
from PIL import Image
from pycocotools import mask as coco_mask

from modeling_evf_sam.inference.labelling import Entry, draw_labels
from modeling_evf_sam.inference.outlining import COLOURS, draw_masks
from modeling_evf_sam.segment_video.film import Film

# encoder, its options, and the finest division of a second that it takes; the first that PyAV was built with
ENCODERS = (
    ("libx264", {"crf": "18"}, 1_000_000),
    ("mpeg4", {"qmin": "2", "qmax": "4"}, 65_535),
)
ITU601, LIMITED_RANGE = 6, 1  # the colours that FFmpeg makes of RGB


def draw_frame(photo: Image.Image, masks: np.ndarray, sentences: Sequence[str]) -> Image.Image:
    """Draws every mask over a frame as over a photo, with its sentence beside it where there is room.

    Args:
        photo: RGB, of size (H, W).
        masks: (P, H, W) bool, P at least 1.
        sentences: P of them; each has a colour of its own in all frames.

    Returns:
        An RGB picture of the same size.
    """
    colours = list(islice(cycle(COLOURS), len(sentences)))
    picture = draw_masks(photo, masks, colours)
    entries = [Entry(sentence, "", colour) for sentence, colour in zip(sentences, colours, strict=True)]
    draw_labels(picture, masks, entries)
    return picture.resize(photo.size, Image.Resampling.LANCZOS)


def draw_film(film: Film, rows: Sequence[dict[str, Any]], sentences: Sequence[str]) -> Iterator[Image.Image]:
    """Yields each frame of a film with its masks, from the rows of `rows_of`."""
    found = {number: list(group) for number, group in groupby(rows, key=lambda row: row["frame"])}
    for index, stamp in enumerate(film.stamps):
        photo = film[index]
        masks = np.zeros((len(sentences), photo.height, photo.width), dtype=bool)
        for row in found.get(stamp.number, []):
            masks[row["object"] - 1] = coco_mask.decode(row["rle"])
        yield draw_frame(photo, masks, sentences)


def write_film(file: Path, film: Film, pictures: Iterable[Image.Image]) -> None:
    """Writes pictures as a film with the times of another one, and without sound."""
    with av.open(str(file), "w") as container:
        stream = _add_stream(container, film)
        last = -1
        for stamp, picture in zip(film.stamps, pictures, strict=True):
            frame = av.VideoFrame.from_image(picture)
            frame.time_base = stream.codec_context.time_base
            frame.pts = last = max(round(stamp.time / frame.time_base), last + 1)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _add_stream(container: OutputContainer, film: Film) -> VideoStream:
    name, options, finest = next(encoder for encoder in ENCODERS if _has(encoder[0]))
    stream = container.add_stream(name, rate=film.rate, options=options)
    assert isinstance(stream, VideoStream)
    stream.width, stream.height = film.size
    whole = all(side % 2 == 0 for side in film.size)
    stream.pix_fmt = "yuv420p" if whole or name != "libx264" else "yuv444p"  # halved colours need even sides
    context = stream.codec_context
    context.sample_aspect_ratio = film.pixel_aspect
    context.colorspace, context.color_range = ITU601, LIMITED_RANGE
    context.time_base = Fraction(1, _division(film, finest))
    return stream


def _division(film: Film, finest: int) -> int:
    """Into how many parts a second is divided: so that all times are whole numbers of them, where that is possible."""
    common = np.lcm.reduce([stamp.time.denominator for stamp in film.stamps] + [film.rate.numerator])
    return int(common) if 0 < common <= finest else finest


def _has(name: str) -> bool:
    try:
        return av.codec.Codec(name, "w").is_encoder
    except ValueError:
        return False
