"""`evf-sam convert`: a release of EVF-SAM's authors in our format, or a model of ours in theirs."""

from pathlib import Path
from typing import Annotated

import typer

from evf_sam_cli.conversion_options import (
    DtypeOption,
    HubOption,
    OutputOption,
    ShardOption,
    TokenizerOption,
    VerifyOption,
)
from evf_sam_cli.models import find_model


def run(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A folder, a weight file, a Hub id, or evf-sam-multitask and such.")
    ],
    output: OutputOption,
    tokenizer: TokenizerOption = None,
    dtype: DtypeOption = None,
    max_shard_size: ShardOption = "50GB",
    use_pickle: Annotated[
        bool,
        typer.Option("--use-pickle", help="Also read .bin and .pth files, their tensors alone.", show_default=False),
    ] = False,
    multitask: Annotated[
        bool | None,
        typer.Option(
            "--multitask/--no-multitask",
            help="Whether [semantic] prompts were trained.",
            show_default="as the tokenizer or the name tells",
        ),
    ] = None,
    to_original: Annotated[
        bool, typer.Option("--to-original", help="From our format to the original's.", show_default=False)
    ] = False,
    memory: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="An original SAM-2 file, for its video modules; with --to-original."),
    ] = None,
    verify: VerifyOption = False,
    push_to_hub: HubOption = None,
) -> None:
    """Converts a whole EVF-SAM between the original's format and ours.

    Writes weights, configuration, processor (where there is a tokenizer), a model card and conversion_report.json.
    """
    if memory is not None and not to_original:
        raise ValueError("--memory goes with --to-original: our own format has what the source has")
    source = find_model(source)

    from modeling_evf_sam.originals.release_conversion import from_original, to_original_release
    from modeling_evf_sam.originals.writing import write_model

    if to_original:
        converted = to_original_release(Path(source), memory=memory, tokenizer=tokenizer)
    else:
        converted = from_original(source, tokenizer=tokenizer, use_pickle=use_pickle, multitask=multitask)
    write_model(converted, output, dtype=dtype, max_shard_size=max_shard_size, verify=verify, push_to_hub=push_to_hub)
