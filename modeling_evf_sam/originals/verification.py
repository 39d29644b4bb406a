"""Whether files are still what was written: by a conversion's report, or by the names that the Hub's cache gives."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from modeling_evf_sam.originals.weights import file_sha256
from modeling_evf_sam.originals.writing import REPORT

SHA256 = re.compile("[0-9a-f]{64}")


def recorded_files(folder: Path) -> dict[str, str]:
    """The files of a checkpoint, and the sha256 that each has to have.

    Args:
        folder: what `evf-sam convert` wrote, or a snapshot in the Hub's cache, whose large files have their sha256 as
            the name of what they link to.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it has no record, or a damaged one.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"'{folder}' is no folder: give the folder of a checkpoint")
    report = folder / REPORT
    if report.is_file():
        try:
            rows = {row["file"]: row["sha256"] for row in json.loads(report.read_bytes())["results"]}
            if all(Path(name).name == name and SHA256.fullmatch(digest) for name, digest in rows.items()):
                return rows
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        raise ValueError(f"'{report}' is damaged: convert again")
    links = ((file.name, file.resolve().name) for file in sorted(folder.iterdir()) if file.is_symlink())
    found = {name: target for name, target in links if SHA256.fullmatch(target)}
    if not found:
        raise ValueError(
            f"'{folder}' has no {REPORT} and is no snapshot of the Hub's cache: there is nothing to compare"
        )
    return found


def changed_files(folder: Path, recorded: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yields each file, and what is wrong with it: "missing", "changed", or nothing."""
    for name, digest in recorded.items():
        file = folder / name
        yield name, "missing" if not file.is_file() else "changed" if file_sha256(file) != digest else ""
