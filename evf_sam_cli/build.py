"""`evf-sam build`: a SAM and a BEIT-3 become an EVF-SAM that is ready to be trained."""

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


def run(
    sam: Annotated[Path, typer.Option(metavar="FILE", help="Weights of SAM, SAM-2, SAM-2.1 or EfficientSAM.")],
    beit3: Annotated[Path, typer.Option(metavar="FILE", help="Weights of BEIT-3, base or large, for any view.")],
    output: OutputOption,
    tokenizer: TokenizerOption = None,
    seed: Annotated[int, typer.Option(help="Another seed gives another projector.")] = 0,
    dtype: DtypeOption = None,
    max_shard_size: ShardOption = "50GB",
    verify: VerifyOption = False,
    push_to_hub: HubOption = None,
) -> None:
    """Builds an untrained EVF-SAM from published parts; their sizes follow from the files.

    Writes weights, configuration, processor (where there is a tokenizer), a model card and conversion_report.json.
    """
    from modeling_evf_sam.originals.foundations import from_foundations
    from modeling_evf_sam.originals.writing import write_model

    converted = from_foundations(sam, beit3, tokenizer=tokenizer, seed=seed)
    write_model(converted, output, dtype=dtype, max_shard_size=max_shard_size, verify=verify, push_to_hub=push_to_hub)
