"""`evf-sam demo`: a page to try a checkpoint in the browser."""

from typing import Annotated

import typer

from evf_sam_cli.options import DeviceOption, DtypeOption, ModelOption
from modeling_evf_sam import DEFAULT_CHECKPOINT


def run(
    model: ModelOption = DEFAULT_CHECKPOINT,
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
    """Opens a page: a photo, sentences, clicks; masks.

    It needs the extra `demo`. The photos stay on this machine.
    """
    try:
        from modeling_evf_sam.demo.page import build_page, open_page
    except ModuleNotFoundError as error:
        raise ValueError(f"the page needs {error.name}: pip install 'evf-sam[demo]'") from None
    from modeling_evf_sam.demo.segmenting import Segmenter
    from modeling_evf_sam.inference.loading import load_model

    page = build_page(Segmenter(*load_model(model, device, dtype), model))
    try:
        address = open_page(page, host=host, port=port)
    except OSError:
        where = "the ports from 7860 on" if port is None else f"port {port}"
        raise ValueError(f"cannot listen on {host}, {where}: give another --port, or --host") from None
    print(f"Open {address} in a browser; Ctrl+C ends it.", flush=True)
    page.block_thread()
