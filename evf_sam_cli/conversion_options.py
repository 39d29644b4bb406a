"""Options that `convert`, `build` and `tokenizer` share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Dtype = Literal["float32", "float16", "bfloat16"]

OutputOption = Annotated[Path, typer.Option("--output", metavar="DIR", help="Folder for the result, new or empty.")]
TokenizerOption = Annotated[
    Path | None, typer.Option("--tokenizer", metavar="FILE", help="BEIT-3's beit3.spm.", show_default=False)
]
DtypeOption = Annotated[
    Dtype | None, typer.Option("--dtype", help="Float type of the result.", show_default="as in the source")
]
ShardOption = Annotated[str, typer.Option("--max-shard-size", metavar="SIZE", help="Largest weight file, as 5GB.")]
VerifyOption = Annotated[
    bool, typer.Option("--verify", help="Load the result and compare it with the source.", show_default=False)
]
HubOption = Annotated[
    str | None, typer.Option("--push-to-hub", metavar="REPO", help="Upload the result to this Hub repository.")
]
