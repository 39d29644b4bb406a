"""A film as a file of any usual type, read by PyAV."""

from bisect import bisect_right
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from PIL import Image

from modeling_evf_sam.photos import MAX_PIXELS
from modeling_evf_sam.segment_video.film import Film, Stamp

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# Files of pictures alone: FFmpeg takes text for one as well, and playlists that name files elsewhere.
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,apng,mpegts,mpeg,mpegvideo,flv,asf,ogg,mxf,nut,dv,h264,hevc"
USUAL_RATE = Fraction(25)
WINDOW = 16  # decoded frames that are kept, so that a walk backwards need not decode each one anew


class FilmFile(Film):
    """The first stream of pictures in a file.

    Frames are numbered as they are decoded. Reading in rising order decodes each once; a step back begins at the
    nearest frame that needs no other.

    Args:
        path: the file.
        limit: frames to look at; None for all.
        skip_damaged: go on without the frames that cannot be read.

    Raises:
        ValueError: it is no film, it has no frame, or one is damaged.
    """

    def __init__(self, path: Path, *, limit: int | None = None, skip_damaged: bool = False):
        super().__init__(path, skip_damaged=skip_damaged)
        self._places: list[int] = []  # of the frames that can be read, among those that decode
        self._starts: list[tuple[int, int]] = []  # place and timestamp of frames that need no other
        self._window: dict[int, VideoFrame] = {}
        self._open()
        self.rate = self._stream.average_rate or USUAL_RATE  # what a header says may be far off
        self._look_through(limit)
        self._check_frames()
        self._look_at_times()
        self._open()

    def __getitem__(self, index: int) -> Image.Image:
        place = self._places[index]
        if place not in self._window and place < self._next:
            self._go_back(place)
        while place not in self._window:
            frame = next(self._frames, None)
            if frame is None:
                raise ValueError(f"film '{self.path}' changed while it was read: begin again")
            self._window[self._next] = frame
            self._window.pop(self._next - WINDOW, None)
            self._next += 1
        return _upright(self._window[place])

    def _open(self) -> None:
        """Begins at the first frame."""
        self._container, self._stream = _open_stream(self.path)
        self._frames = (decoded for decoded in self._decode() if not isinstance(decoded, FFmpegError))
        self._next = 0
        self._window.clear()

    def _decode(self) -> "Iterator[VideoFrame | FFmpegError]":
        """Yields frames, and what went wrong in place of others."""
        self._packets = 0
        try:
            for packet in self._container.demux(self._stream):
                self._packets += packet.size > 0
                try:
                    yield from packet.decode()
                except FFmpegError as error:
                    yield error
        except FFmpegError as error:  # of the file, not of a frame
            yield error

    def _look_through(self, limit: int | None) -> None:
        place = 0
        for number, decoded in enumerate(self._decode()):
            if number == limit:
                return
            problem = self._problem(decoded)
            if problem:
                self._note(f"frame {number} is damaged ({problem})")
            elif not isinstance(decoded, FFmpegError):
                self._add(decoded, number, place)
            place += not isinstance(decoded, FFmpegError)
        indexed = "mp4" in self._container.format.name  # in other files the number may count something else
        if indexed and self._packets < self._stream.frames:
            self._note(f"it ends after {self._packets} of {self._stream.frames} frames")

    def _look_at_times(self) -> None:
        times = [stamp.time for stamp in self.stamps]
        if any(after <= before for before, after in pairwise(times)):
            self._starts.clear()  # a time may mean several frames
        elif len(times) > 1:
            self.rate = ((len(times) - 1) / (times[-1] - times[0])).limit_denominator(1001)

    def _add(self, frame: "VideoFrame", number: int, place: int) -> None:
        if not self.stamps and self._stream.sample_aspect_ratio:
            aspect = self._stream.sample_aspect_ratio
            self.pixel_aspect = 1 / aspect if _is_on_its_side(frame) else aspect
        if frame.pts is None or frame.time_base is None:
            time = number / self.rate
        else:
            time = frame.pts * frame.time_base
            if frame.key_frame:
                self._starts.append((place, frame.pts))
        self._places.append(place)
        self.stamps.append(Stamp(number=number, time=time, name=f"{number:06d}.jpg"))

    def _problem(self, decoded: "VideoFrame | FFmpegError") -> str:
        if isinstance(decoded, FFmpegError):
            return decoded.strerror or type(decoded).__name__
        if decoded.is_corrupt:
            return "parts of it are missing"
        size = (decoded.height, decoded.width) if _is_on_its_side(decoded) else (decoded.width, decoded.height)
        if not self._has_size(*size):
            return f"it has {size[0]} x {size[1]} pixels, the first frame {self.size[0]} x {self.size[1]}"
        return ""

    def _go_back(self, place: int) -> None:
        """Makes the next frames those from a start at or before `place`."""
        known = bisect_right(self._starts, place, key=lambda start: start[0])
        if known and self._seek(self._starts[known - 1][1]):
            self._next = self._starts[known - 1][0]
            self._window.clear()
        else:
            self._open()

    def _seek(self, pts: int) -> bool:
        """Makes the next frame that of the timestamp, or tells that it was not found."""
        try:
            self._container.seek(pts, stream=self._stream)
        except FFmpegError:
            return False
        frames = (decoded for decoded in self._decode() if not isinstance(decoded, FFmpegError))
        for frame in frames:
            if frame.pts == pts:
                self._frames = chain([frame], frames)  # type: ignore[assignment]
                return True
            if frame.pts is None or frame.pts > pts:
                return False
        return False


def _open_stream(path: Path) -> "tuple[InputContainer, VideoStream]":
    try:
        container = av.open(str(path), options={"format_whitelist": FORMATS})
    except (FFmpegError, OSError) as error:
        reason = error.strerror or type(error).__name__
        raise ValueError(f"'{path}' is no film, or a damaged one ({reason}): give an intact film file") from None
    pictures = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not pictures:  # the cover of a song is none
        raise ValueError(f"'{path}' has no pictures, only {_kinds(container)}: give a film")
    stream = pictures[0]
    if stream.width * stream.height > MAX_PIXELS:
        raise ValueError(
            f"film '{path}' has {stream.width} x {stream.height} pixels: make it smaller, up to {MAX_PIXELS}"
        )
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}  # the header may lie
    return container, stream


def _kinds(container: InputContainer) -> str:
    """What else there is in a file."""
    return " and ".join(sorted({stream.type for stream in container.streams})) or "a header"


def _is_on_its_side(frame: "VideoFrame") -> bool:
    return _turn(frame) in (90, 270)


def _turn(frame: "VideoFrame") -> int:
    """Degrees, anticlockwise, by which a frame is to be turned: 0, 90, 180 or 270."""
    return round(frame.rotation / 90) * 90 % 360


def _upright(frame: "VideoFrame") -> Image.Image:
    return frame.to_image().rotate(_turn(frame), expand=True)
