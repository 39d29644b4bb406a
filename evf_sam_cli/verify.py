"""`evf-sam verify`: whether the files of a checkpoint are still what was written."""

from pathlib import Path
from typing import Annotated

import typer


def run(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What `convert` wrote, or a snapshot.")],
) -> None:
    """Compares the files of a checkpoint with the sha256 that was recorded of each.

    Loading cannot see a single wrong bit in a weight; this does. For what was downloaded from the Hub,
    `hf cache verify` asks the Hub itself.
    """
    from modeling_evf_sam.originals.verification import changed_files, recorded_files

    bad = []
    for name, fault in changed_files(folder, recorded_files(folder)):
        print(f"{name}: {fault or 'as recorded'}", flush=True)
        bad += [f"{name} ({fault})"] if fault else []
    if bad:
        raise ValueError(f"{len(bad)} files of '{folder}' are not what was written: {', '.join(bad[:5])}")
