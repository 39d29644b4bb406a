"""Which photos, and which sentences for each.

IMAGES is a folder, a glob, or a list: a text file with a path on each line, or parquet with a column `image`.
PROMPTS is a text file with a sentence for all photos on each line, or JSONL or parquet with `image`, `text` and, where
you like, `semantic`.
"""

import glob
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modeling_evf_sam.quoting import quoted

PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"}


@dataclass(frozen=True)
class Prompt:
    """A sentence about a photo.

    Attributes:
        text: the sentence.
        semantic: whether every pixel of a category is meant.
    """

    text: str
    semantic: bool = False


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be segmented.

    Attributes:
        root: where the names start.
        names: of the photos, each once, in alphabetical order.
        shared: sentences for every photo.
        own: name -> sentences for this photo alone.
    """

    root: Path
    names: list[str]
    shared: list[Prompt]
    own: dict[str, list[Prompt]]

    def prompts(self, name: str) -> list[Prompt]:
        """The sentences for one photo."""
        return self.shared or self.own.get(name, [])


def read_job(images: str, prompts: Path) -> Job:
    """Reads both lists.

    Raises:
        FileNotFoundError: one of them does not exist.
        ValueError: one of them is empty, or an entry is wrong, or no photo has a sentence.
    """
    root, names = _photos(images)
    if not names:
        raise ValueError(f"'{images}' has no photos: give a folder or a glob with some, or a list of paths")
    if not prompts.is_file():
        raise FileNotFoundError(f"prompts '{prompts}' do not exist: give a text, JSONL or parquet file")
    shared: list[Prompt] = []
    own: dict[str, list[Prompt]] = {}
    if prompts.suffix in (".jsonl", ".parquet"):
        for where, entry in _entries(prompts):
            name, texts, semantic = _checked_entry(entry, where)
            own.setdefault(name, []).extend(Prompt(text, semantic) for text in texts)
    else:
        shared = [Prompt(line) for line in _lines(prompts)]
    job = Job(root=root.absolute(), names=sorted(set(names)), shared=shared, own=own)
    if not any(job.prompts(name) for name in job.names):
        raise ValueError(f"'{prompts}' has no sentence for a photo of '{images}', such as '{job.names[0]}'")
    return job


def _photos(images: str) -> tuple[Path, list[str]]:
    path = Path(images)
    if path.is_dir():
        files = (file for file in path.rglob("*") if file.suffix.lower() in PHOTO_SUFFIXES)
        return path, [file.relative_to(path).as_posix() for file in files]
    if path.suffix == ".parquet" and path.is_file():
        return path.parent, [str(entry.get("image")) for _, entry in _entries(path)]
    if path.is_file():
        return path.parent, _lines(path)
    if glob.has_magic(images):
        return Path(), [file for file in glob.glob(images, recursive=True) if Path(file).is_file()]
    raise FileNotFoundError(f"images '{images}' do not exist: give a folder, a glob, or a list of paths")


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"'{path}' is not UTF-8 text ({error}): save it as such") from None
    return [line.strip() for line in lines if line.strip()]


def _entries(path: Path) -> Iterator[tuple[str, Any]]:
    """Yields where each entry stands, and the entry."""
    if path.suffix == ".parquet":
        from pyarrow import parquet

        rows = (row for batch in parquet.ParquetFile(path).iter_batches() for row in batch.to_pylist())
        yield from ((f"{path}, row {index}", row) for index, row in enumerate(rows))
        return
    for number, line in enumerate(_lines(path), start=1):
        try:
            yield f"{path}, entry {number}", json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}, entry {number}: not JSON ({error}): write one object on each line") from None


def _checked_entry(entry: Any, where: str) -> tuple[str, list[str], bool]:
    if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
        raise ValueError(f'{where}: {quoted(entry)} names no photo: write {{"image": ..., "text": ...}}')
    texts = [entry["text"]] if isinstance(entry.get("text"), str) else entry.get("text")
    if not isinstance(texts, list) or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError(f"{where}: text is {quoted(texts)}: write a sentence with words, or a list of such")
    semantic = entry.get("semantic") or False
    if not isinstance(semantic, bool):
        raise ValueError(f"{where}: semantic is {quoted(semantic)}: write true or false")
    return entry["image"], texts, semantic
