"""What the command lines of the scripts have in common. Nothing here is slow to import."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.exceptions import TyperException

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


def main(command: Callable[..., Any], arguments: Sequence[str] | None = None) -> int:
    """Runs one script.

    Args:
        command: its function, with typer's annotations.
        arguments: what follows the script's name; None takes the arguments of this process.

    Returns:
        The exit status: 0, or 2 after bad input, which is told in one line on standard error.
    """
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(command)
    try:
        return app(arguments, standalone_mode=False) or 0
    except TyperException as error:
        message = f"{error.format_message().rstrip('.')}: see --help"
    except (ValueError, OSError) as error:
        message = str(error)
    print("error:", " ".join(message.split()), file=sys.stderr)
    return 2
