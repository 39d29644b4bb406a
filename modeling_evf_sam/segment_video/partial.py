"""What a run has found so far, on disk, so that a stopped one can go on."""

import json
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from modeling_evf_sam.files import refuse_other_settings

NAME = ".partial.jsonl"


class Partial:
    """A hidden file with the settings of the run, and a line for each frame; one that was cut short does not count.

    Args:
        output: the folder of results.
        settings: what the results are made with.

    Attributes:
        frames: what `walk` yielded so far.

    Raises:
        ValueError: the folder holds a part of a run with other settings.
    """

    def __init__(self, output: Path, settings: dict[str, Any]):
        self._file = output / NAME
        self._settings = settings = json.loads(json.dumps(settings))  # as it is read back
        content = self._file.read_bytes() if self._file.exists() else b""
        self._length = content.rfind(b"\n") + 1  # bytes of whole lines
        begun, *self.frames = [json.loads(line) for line in content[: self._length].splitlines()] or [settings]
        refuse_other_settings(output, begun, settings)

    def forget(self) -> None:
        """Begins anew."""
        self.frames, self._length = [], 0

    def keep(self, frames: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Writes each further frame before it is passed on.

        The file appears with the first frame, so that a run that fails before leaves nothing.
        """
        frames = iter(frames)
        for first in frames:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("ab") as stream:
                stream.truncate(self._length)
                if not self._length:
                    stream.write(_line(self._settings))
                for frame in chain([first], frames):
                    self.frames.append(frame)
                    stream.write(_line(frame))
                    stream.flush()
                    yield frame

    def remove(self) -> None:
        """The run is finished."""
        self._file.unlink(missing_ok=True)


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record).encode() + b"\n"
