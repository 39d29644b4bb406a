"""The `evf-sam` command. One file per verb; a verb imports what is slow to import when it runs."""

import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer
from typer.exceptions import TyperException

from evf_sam_cli import (
    ablate,
    annotate_boxes,
    bench,
    build,
    card,
    check_data,
    compare,
    convert,
    demo,
    evaluate,
    export,
    review,
    segment,
    segment_dataset,
    segment_video,
    serve,
    tokenizer,
    train,
    verify,
)
from evf_sam_cli.paths import printable

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print("evf-sam", version("evf-sam"))
        raise typer.Exit


@app.callback()
def _options(
    wanted: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version.", show_default=False
        ),
    ] = False,
) -> None:
    """EVF-SAM: a sentence in, a mask out."""


app.command("segment", cls=segment.SegmentCommand)(segment.run)
app.command("demo")(demo.run)
app.command("segment-dataset")(segment_dataset.run)
app.command("segment-video")(segment_video.run)
app.command("review")(review.run)
app.command("serve")(serve.run)
app.command("compare")(compare.run)
app.command("train")(train.run)
app.command("ablate")(ablate.run)
app.command("evaluate")(evaluate.run)
app.command("check-data")(check_data.run)
app.command("annotate-boxes")(annotate_boxes.run)
app.command("card")(card.run)
app.command("convert")(convert.run)
app.command("build")(build.run)
app.command("tokenizer")(tokenizer.run)
app.command("verify")(verify.run)
app.command("bench")(bench.run)
app.command("export")(export.run)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb.

    Args:
        arguments: what follows `evf-sam`; None takes the arguments of this process.

    Returns:
        The exit status: 0, or 2 after bad input, which is told in one line on standard error.
    """
    try:
        return app(arguments, prog_name="evf-sam", standalone_mode=False) or 0
    except TyperException as error:
        message = f"{error.format_message().rstrip('.')}: see --help"
    except (ValueError, OSError, _configuration_error()) as error:
        message = str(error)
    print("error:", printable(" ".join(message.split())), file=sys.stderr)
    return 2


def _configuration_error() -> type[Exception]:
    """What transformers' configurations raise; asked for after an error, when that library is imported anyway."""
    from huggingface_hub.errors import StrictDataclassError

    return StrictDataclassError
