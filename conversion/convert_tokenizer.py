"""Convert BEIT-3's sentencepiece model into a tokenizer that transformers loads without sentencepiece.

python conversion/convert_tokenizer.py beit3.spm --output beit3-tokenizer --semantic --verify
"""

import sys
from pathlib import Path
from typing import Annotated

import typer
from _options import HubOption, OutputOption, main


def convert(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="BEIT-3's beit3.spm.")],
    output: OutputOption,
    semantic: Annotated[
        bool, typer.Option("--semantic", help='Add "[semantic]" as a token of its own.', show_default=False)
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Load the result and compare it with the source.", show_default=False)
    ] = False,
    push_to_hub: HubOption = None,
) -> None:
    """Writes tokenizer.json and tokenizer_config.json, a card and conversion_report.json."""
    from modeling_evf_sam.originals.tokenizer_conversion import write_tokenizer

    write_tokenizer(source, output, semantic=semantic, verify=verify, push_to_hub=push_to_hub)


if __name__ == "__main__":
    sys.exit(main(convert))
