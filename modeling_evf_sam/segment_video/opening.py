"""A film by its path."""

from pathlib import Path

from modeling_evf_sam.extras import require
from modeling_evf_sam.segment_video.film import Film
from modeling_evf_sam.segment_video.frame_folder import FrameFolder


def check_av() -> None:
    """Raises a ValueError that names the extra if PyAV is missing, which reads and writes film files."""
    require("av", extra="video", what="a film file")


def open_film(path: Path, *, limit: int | None = None, skip_damaged: bool = False) -> Film:
    """Looks through a film file, or a folder of frames.

    Args:
        path: an existing file or folder.
        limit: frames to look at; None for all.
        skip_damaged: go on without the frames that cannot be read, and list them in `Film.damage`.

    Raises:
        ValueError: it is no film, it is damaged, or PyAV is missing.
    """
    if path.is_dir():
        return FrameFolder(path, limit=limit, skip_damaged=skip_damaged)
    check_av()
    from modeling_evf_sam.segment_video.film_file import FilmFile

    return FilmFile(path, limit=limit, skip_damaged=skip_damaged)
