"""`evf-sam tokenizer`: BEIT-3's sentencepiece model as a tokenizer that transformers loads without sentencepiece."""

from pathlib import Path
from typing import Annotated

import typer

from evf_sam_cli.conversion_options import HubOption, OutputOption, VerifyOption


def run(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="BEIT-3's beit3.spm.")],
    output: OutputOption,
    semantic: Annotated[
        bool, typer.Option("--semantic", help='Add "[semantic]" as a token of its own.', show_default=False)
    ] = False,
    verify: VerifyOption = False,
    push_to_hub: HubOption = None,
) -> None:
    """Converts BEIT-3's sentencepiece model into a tokenizer.

    Writes tokenizer.json and tokenizer_config.json, a card and conversion_report.json.
    """
    from modeling_evf_sam.originals.tokenizer_conversion import write_tokenizer

    write_tokenizer(source, output, semantic=semantic, verify=verify, push_to_hub=push_to_hub)
