"""`evf-sam demo`: a page to try a checkpoint in the browser."""

from typing import Annotated

import typer

from evf_sam_cli.models import find_model
from evf_sam_cli.options import DEFAULT_MODEL, DeviceOption, DtypeOption, ModelOption


def run(
    model: ModelOption = DEFAULT_MODEL,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Where to listen.", show_default="the first free one from 7860"),
    ] = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
) -> None:
    """Opens a page: a photo or a film, sentences; masks.

    It needs the extra `demo`. Photos and films stay on this machine.
    """
    source = find_model(model)

    from modeling_evf_sam.extras import require

    require("gradio", extra="demo", what="the page")
    from modeling_evf_sam.demo.page import build_page, open_page
    from modeling_evf_sam.demo.segmenting import SharedModel
    from modeling_evf_sam.inference.loading import load_model

    page = build_page(SharedModel(*load_model(source, device, dtype, for_films=True), model))
    try:
        address = open_page(page, host=host, port=port)
    except OSError:
        where = "the ports from 7860 on" if port is None else f"port {port}"
        raise ValueError(f"cannot listen on {host}, {where}: give another --port, or --host") from None
    print(f"Open {address} in a browser; Ctrl+C ends it.", flush=True)
    page.block_thread()
