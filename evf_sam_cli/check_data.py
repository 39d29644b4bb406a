"""`evf-sam check-data`: what is wrong with a dataset, entry by entry."""

from collections.abc import Iterator
from typing import Annotated

import typer

from evf_sam_cli.paths import printable

SHOWN_FAULTS = 20


def run(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER|DATASET",
            help="A folder with JSONL files, or a name as for evaluate --dataset.",
            show_default=False,
        ),
    ],
    split: Annotated[
        str | None, typer.Option(help="The part to check.", show_default="each JSONL file of the folder")
    ] = None,
) -> None:
    """Opens every photo and draws every mask of a dataset.

    Prints each fault with its file and line or entry. The exit status is 2 if there are any.
    """
    from pathlib import Path

    from rich.console import Console

    if dataset == "rendered_scenes":
        print("rendered_scenes: no faults, as it is drawn anew each time and has no files")
        return
    folder = dataset.removeprefix("jsonl:")
    is_folder = dataset.startswith("jsonl:") or Path(dataset).is_dir()
    with Console(stderr=True).status("reading every photo"):
        faults = list(_folder_faults(folder, split) if is_folder else _dataset_faults(dataset, split))
    for fault in faults[:SHOWN_FAULTS]:
        print(printable(fault))
    if len(faults) > SHOWN_FAULTS:
        print(f"... and {len(faults) - SHOWN_FAULTS} more")
    if faults:
        raise ValueError(f"{dataset} has {len(faults)} fault{'s' if len(faults) > 1 else ''}: correct what is listed")
    print(printable(f"{dataset}: no faults"))


def _folder_faults(folder: str, split: str | None) -> Iterator[str]:
    from modeling_evf_sam.data.jsonl_folder import JsonlDataset, find_faults, find_splits

    splits = [split] if split else find_splits(folder)
    if not splits:
        raise ValueError(f"'{folder}' holds no .jsonl file: write one, such as '{folder}/train.jsonl'")
    for name in splits:
        faults = list(find_faults(folder, name))
        yield from faults
        if not faults:
            dataset = JsonlDataset(folder, name)
            targets = [target for index in range(len(dataset)) for target in dataset.targets(index)]
            absent = sum(not target.categories for target in targets)
            if absent:
                print(
                    f"{printable(name)}: {absent} of {len(targets)} sentences mean nothing in their photo (mask null)"
                )


def _dataset_faults(name: str, split: str | None) -> Iterator[str]:
    from modeling_evf_sam.data.open_dataset import open_dataset
    from modeling_evf_sam.data.references import ReferenceDataset

    dataset = open_dataset(name, split)
    for index in range(len(dataset)):
        try:
            dataset[index]
        except (ValueError, OSError) as error:
            yield str(error)
    if isinstance(dataset, ReferenceDataset):
        published = dataset.published_sizes
        verdict = "as published" if dataset.sizes == published else f"published: {_sizes(published)}"
        print(f"{_sizes(dataset.sizes)}; {verdict}")


def _sizes(sizes: tuple[int, ...] | None) -> str:
    if sizes is None:
        return "unknown"
    return ", ".join(f"{size} {name}" for size, name in zip(sizes, ("objects", "photos", "sentences"), strict=True))
