"""`evf-sam review`: look at what segment-dataset found, correct it, and write what is right."""

import json
from pathlib import Path
from typing import Annotated

import typer

from evf_sam_cli.data_sets import FormatOption, check_formats
from evf_sam_cli.models import find_model
from evf_sam_cli.options import DeviceOption, DtypeOption


def run(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What segment-dataset wrote.", show_default=False)],
    photos: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the photos are.", show_default="where segment-dataset found them"),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for what is right.", show_default="DIR/reviewed")
    ] = None,
    format: FormatOption = None,
    port: Annotated[
        int | None, typer.Option(help="Where to serve.", show_default="the first free one from 7860")
    ] = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
) -> None:
    """Opens a page on this machine, by which answers are accepted, corrected, renamed or denied.

    The most doubtful come first. Decisions are kept in DIR/review.jsonl as they are made. *Write* makes a folder with
    train.jsonl, which the recipe finetune_own_data reads, the photos, the rows as parquet, and other data sets. See
    docs/review.md.
    """
    check_formats(format or ())
    from modeling_evf_sam.extras import require

    require("gradio", extra="demo", what="review")
    require("pyarrow", extra="bulk", what="review")

    from modeling_evf_sam.demo.page import open_page
    from modeling_evf_sam.demo.segmenting import SharedModel
    from modeling_evf_sam.inference.loading import load_model
    from modeling_evf_sam.review.answers import Review
    from modeling_evf_sam.review.page import SCRIPT, ReviewPage
    from modeling_evf_sam.segment_dataset.results import SETTINGS

    review = Review(folder)
    settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    root = photos or Path(settings.get("root", ""))
    if not (root / review.answers[0].image).is_file():
        raise ValueError(f"'{root}' has no {review.answers[0].image}: name the photos' folder by --photos")
    model = SharedModel(*load_model(find_model(settings["model"]), device, dtype), settings["model"])
    page = ReviewPage(review, model, root.absolute(), output or folder / "reviewed", format or ()).page
    try:
        address = open_page(page, host="127.0.0.1", port=port, head=SCRIPT)
    except OSError:
        raise ValueError(f"cannot listen on port {port or 'from 7860 on'}: give another --port") from None
    print(f"Open {address} in a browser; Ctrl+C ends it. Decisions: {review.file}", flush=True)
    page.block_thread()
